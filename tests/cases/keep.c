/* keep WHAT...: a process for each WHAT gets hold of something that a restored process must still have. When all of them have, /ready is
 * made; when there is /go, each looks whether it has it still. /said then has a line for each: "WHAT: kept", or what is wrong. */
#include "keep.h"

#define KINDS                                                                                                               \
	KIND(threads) KIND(futex) KIND(deep_tree) KIND(zombies) KIND(lost_leaders) KIND(shared_files) KIND(identity) \
	KIND(attributes) KIND(other_root) KIND(child_pidfd) KIND(queued_signals) KIND(signal_descriptor) \
	KIND(handlers) KIND(timers) KIND(mappings) KIND(memory_file) KIND(shared_memory) KIND(system_v) \
	KIND(open_files) KIND(deleted) KIND(pipes) KIND(locks) KIND(watches) KIND(terminals) KIND(asynchronous) \
	KIND(unix_sockets) KIND(unix_datagrams) KIND(sent_descriptor) KIND(datagrams) KIND(listeners) \
	KIND(connections) KIND(closed_connections) KIND(raw_sockets)

#define KIND(name) const char *name(void);
KINDS
#undef KIND

static const struct { const char *name, *(*keeps)(void); } ALL[] = {
#define KIND(name) { #name, name },
	KINDS
};

volatile struct shared *shared;

static void keep(const char *what, int said)
{
	const char *wrong = "there is no such thing";
	char line[400];

	for (size_t i = 0; i < sizeof(ALL) / sizeof(*ALL); i++)
		if (!strcmp(ALL[i].name, what))
			wrong = ALL[i].keeps();
	snprintf(line, sizeof(line), "%s: %s\n", what, wrong ? wrong : "kept");
	_exit(!writes(said, line));
}

int main(int argc, char **argv)
{
	int said = open("/said", O_WRONLY | O_CREAT | O_APPEND, 0644);
	pid_t children[argc];

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 1; i < argc; i++)
		if ((children[i] = fork()) == 0)
			keep(argv[i], said);
	/* Who could not get hold of it has said so. */
	while (shared->ready < argc - 1 && !lseek(said, 0, SEEK_END))
		usleep(10000);
	close(file_with("/ready", ""));
	while (access("/go", F_OK))
		usleep(10000);
	shared->go = 1;
	for (int i = 1; i < argc; i++)
		waitpid(children[i], NULL, 0);
	rename("/said", "/done");
	for (;;)
		pause();
}
