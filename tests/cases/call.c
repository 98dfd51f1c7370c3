/* call NUMBER [ARGUMENT ...]: makes a system call and prints its errno, 0 when it worked. "getpriority" is a name for its number;
 * "keyring" prints the number of the session keyring, and its label;
 * "x86:NUMBER" makes the call the way programs for that architecture do. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long long args[6] = { 0 };
	long result;

	for (int i = 2; i < argc && i < 8; i++)
		args[i - 2] = strtoull(argv[i], NULL, 0);
#ifdef __x86_64__
	if (argc > 1 && !strncmp(argv[1], "x86:", 4)) {
		__asm__ volatile("int $0x80"
				 : "=a"(result)
				 : "a"(strtol(argv[1] + 4, NULL, 0)), "b"(args[0]), "c"(args[1]), "d"(args[2])
				 : "memory", "r8", "r9", "r10", "r11");
		printf("%ld\n", result < 0 ? -result : 0);
		return 0;
	}
#endif
	if (argc > 1 && !strcmp(argv[1], "keyring")) {
		/* KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, KEYCTL_GET_SECURITY */
		char label[256] = "";

		result = syscall(SYS_keyctl, 0, -3, 0);
		syscall(SYS_keyctl, 17, result, label, sizeof(label) - 1);
		printf("%ld %s\n", result, label);
		return 0;
	}
	errno = 0;
	result = syscall(strcmp(argv[1], "getpriority") ? strtol(argv[1], NULL, 0) : SYS_getpriority,
			 args[0], args[1], args[2], args[3], args[4], args[5]);
	printf("%d\n", result < 0 ? errno : 0);
	return 0;
}
