/* What the parts of keep.c share. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns what does not hold. */
#define MUST(holds)                                                                                                        \
	do {                                                                                                               \
		if (!(holds)) {                                                                                            \
			static char text[300];                                                                             \
			snprintf(text, sizeof(text), "line %d: %s (%s)", __LINE__, #holds, strerror(errno));               \
			return text;                                                                                       \
		}                                                                                                          \
	} while (0)

/* Shared by all processes: how many are ready, and whether they are to look. */
extern volatile struct shared { int ready, go; } *shared;

/* Here the checkpoint happens. */
static inline void dumped_here(void)
{
	__sync_add_and_fetch(&shared->ready, 1);
	while (!shared->go)
		usleep(10000);
	errno = 0;
}

static inline int reads(int fd, const char *expected)
{
	char buffer[4096] = "";
	ssize_t got = read(fd, buffer, sizeof(buffer) - 1);

	return got == (ssize_t)strlen(expected) && !memcmp(buffer, expected, got);
}

static inline int writes(int fd, const char *text)
{
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static inline int file_with(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	return writes(fd, text) ? fd : -1;
}
