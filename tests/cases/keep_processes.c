/* What keep.c can keep of processes, signals, memory and System V's resources. */
#include "keep.h"
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static pthread_barrier_t barrier;
static volatile int counters[40];
static __thread int own;

static void *count(void *number)
{
	own = (int)(long)number;
	pthread_barrier_wait(&barrier);
	for (;; usleep(1000))
		counters[own]++;
	return NULL;
}

const char *threads(void)
{
	int before[40];
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 41);
	for (long i = 0; i < 40; i++)
		MUST(!pthread_create(&thread, NULL, count, (void *)i));
	pthread_barrier_wait(&barrier);
	dumped_here();
	memcpy(before, (void *)counters, sizeof(before));
	sleep(1);
	for (int i = 0; i < 40; i++)
		MUST(counters[i] > before[i]);
	return NULL;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_mutex(void *unused)
{
	pthread_mutex_lock(&mutex);
	counters[0] = 1;
	return unused;
}

const char *futex(void)
{
	pthread_t thread;

	pthread_mutex_lock(&mutex);
	MUST(!pthread_create(&thread, NULL, wait_for_mutex, NULL));
	usleep(50000);
	dumped_here();
	MUST(!counters[0]);
	pthread_mutex_unlock(&mutex);
	MUST(!pthread_join(thread, NULL) && counters[0]);
	return NULL;
}

/* A process that hands bytes on, to a child of its own that does the same, and the last of them to `to`. */
static void hand_on(int depth, int from, int to)
{
	int down[2] = { -1, to };
	char byte;

	if (depth && !pipe(down) && fork() == 0)
		hand_on(depth - 1, down[0], to);
	while (read(from, &byte, 1) == 1)
		(void)!write(down[1], &byte, 1);
	_exit(0);
}

const char *deep_tree(void)
{
	int first[2], last[2];

	MUST(!pipe(first) && !pipe(last));
	if (fork() == 0)
		hand_on(30, first[0], last[1]);
	dumped_here();
	MUST(writes(first[1], "x") && reads(last[0], "x"));
	return NULL;
}

const char *zombies(void)
{
	int status;
	pid_t children[5];
	siginfo_t info;

	for (int i = 0; i < 5; i++)
		if ((children[i] = fork()) == 0)
			_exit(7 + i);
	for (int i = 0; i < 5; i++)
		MUST(!waitid(P_PID, children[i], &info, WEXITED | WNOWAIT));
	dumped_here();
	for (int i = 0; i < 5; i++)
		MUST(waitpid(children[i], &status, 0) == children[i] && WEXITSTATUS(status) == 7 + i);
	return NULL;
}

/* A session and a process group whose leaders have ended. */
const char *lost_leaders(void)
{
	int ready[2], say[2];
	pid_t ids[2];

	MUST(!pipe(ready) && !pipe(say));
	if (fork() == 0) {
		setsid();
		if (fork() == 0) {
			if (fork() == 0) {
				pid_t now[2];

				now[0] = getsid(0), now[1] = getpgid(0);
				(void)!write(ready[1], now, sizeof(now));
				while (!shared->go)
					usleep(10000);
				now[0] = getsid(0), now[1] = getpgid(0);
				(void)!write(say[1], now, sizeof(now));
				_exit(0);
			}
			setpgid(0, 0);
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	wait(NULL);
	MUST(read(ready[0], ids, sizeof(ids)) == sizeof(ids));
	dumped_here();
	pid_t now[2];
	MUST(read(say[0], now, sizeof(now)) == sizeof(now));
	MUST(now[0] == ids[0] && now[1] == ids[1]);
	return NULL;
}

static int is_in_file_table(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Two processes that share their file table. */
static int in_shared_table(void *fd)
{
	while (!shared->go)
		usleep(10000);
	*(volatile int *)fd = open("/", O_RDONLY);
	for (;;)
		pause();
	return 0;
}

const char *shared_files(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	volatile int *fd = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = clone(in_shared_table, stack + sizeof(stack), CLONE_FILES | SIGCHLD, (void *)fd);

	MUST(child > 0);
	dumped_here();
	for (int i = 0; i < 500 && !*fd; i++)
		usleep(10000);
	MUST(*fd > 0 && is_in_file_table(*fd));
	return NULL;
}

const char *identity(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = { { 0 } }, now[2];
	uid_t uid[3];
	gid_t gid[3], groups[3] = { 7, 8, 9 }, have[3];

	caps[0].effective = 1 << CAP_KILL;
	caps[0].permitted = 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE;
	MUST(!prctl(PR_SET_KEEPCAPS, 1) && !setgroups(3, groups));
	MUST(!setresgid(1, 2, 3) && !setresuid(4, 5, 6) && !syscall(SYS_capset, &head, caps));
	dumped_here();
	MUST(!getresuid(uid, uid + 1, uid + 2) && uid[0] == 4 && uid[1] == 5 && uid[2] == 6);
	MUST(!getresgid(gid, gid + 1, gid + 2) && gid[0] == 1 && gid[1] == 2 && gid[2] == 3);
	MUST(getgroups(3, have) == 3 && !memcmp(groups, have, sizeof(have)));
	MUST(!syscall(SYS_capget, &head, now) && !memcmp(caps, now, sizeof(caps)));
	return NULL;
}

const char *attributes(void)
{
	struct rlimit limit = { 100, 200 }, have;
	struct sched_param none = { 0 };
	char name[16] = "";
	int subreaper = 0, death = 0;

	MUST(!prctl(PR_SET_NAME, "a name (odd)") && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_CHILD_SUBREAPER, 1));
	MUST(!prctl(PR_SET_PDEATHSIG, SIGUSR2) && !setrlimit(RLIMIT_NOFILE, &limit));
	MUST(!sched_setscheduler(0, SCHED_BATCH, &none) && setpriority(PRIO_PROCESS, 0, 5) == 0);
	umask(0123);
	dumped_here();
	MUST(!prctl(PR_GET_NAME, name) && !strcmp(name, "a name (odd)"));
	MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	MUST(!prctl(PR_GET_CHILD_SUBREAPER, &subreaper) && subreaper);
	MUST(!prctl(PR_GET_PDEATHSIG, &death) && death == SIGUSR2);
	MUST(!getrlimit(RLIMIT_NOFILE, &have) && have.rlim_cur == 100 && have.rlim_max == 200);
	MUST(sched_getscheduler(0) == SCHED_BATCH && getpriority(PRIO_PROCESS, 0) == 5);
	MUST(umask(0) == 0123);
	return NULL;
}

const char *other_root(void)
{
	MUST(!mkdir("/other", 0755) && !mkdir("/other/inner", 0755) && !chroot("/other") && !chdir("/inner"));
	char here[100];
	dumped_here();
	MUST(getcwd(here, sizeof(here)) && !strcmp(here, "/inner") && access("/bin", F_OK) < 0);
	return NULL;
}

const char *child_pidfd(void)
{
	pid_t child = fork();
	siginfo_t info;

	if (child == 0)
		for (;;)
			pause();
	int fd = syscall(SYS_pidfd_open, child, 0);
	MUST(fd >= 0);
	dumped_here();
	MUST(!syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
	MUST(!waitid(P_PIDFD, fd, &info, WEXITED) && info.si_pid == child && info.si_status == SIGKILL);
	return NULL;
}

static volatile int caught;

static void catch(int signal)
{
	caught = signal;
}

const char *queued_signals(void)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGUSR1);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	for (int i = 1; i <= 3; i++)
		MUST(!sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }));
	MUST(!kill(getpid(), SIGUSR1));
	dumped_here();
	MUST(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == getpid());
	for (int i = 1; i <= 3; i++)
		MUST(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == i);
	return NULL;
}

const char *signal_descriptor(void)
{
	struct signalfd_siginfo info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	int fd = signalfd(-1, &set, 0);
	MUST(fd >= 0 && !kill(getpid(), SIGUSR1));
	dumped_here();
	MUST(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1);
	return NULL;
}

const char *handlers(void)
{
	static char stack[65536];
	stack_t own_stack = { .ss_sp = stack, .ss_size = sizeof(stack) }, have;
	struct sigaction action = { .sa_handler = catch, .sa_flags = SA_ONSTACK | SA_RESTART }, now;

	sigaddset(&action.sa_mask, SIGTERM);
	MUST(!sigaltstack(&own_stack, NULL) && !sigaction(SIGUSR1, &action, NULL) && signal(SIGHUP, SIG_IGN) != SIG_ERR);
	dumped_here();
	MUST(!sigaltstack(NULL, &have) && have.ss_sp == stack && have.ss_size == sizeof(stack));
	MUST(!sigaction(SIGUSR1, NULL, &now) && now.sa_handler == catch && now.sa_flags & SA_ONSTACK && sigismember(&now.sa_mask, SIGTERM));
	MUST(!raise(SIGHUP) && !raise(SIGUSR1) && caught == SIGUSR1);
	return NULL;
}

const char *timers(void)
{
	struct itimerspec soon = { { 0 }, { 1, 0 } }, often = { { 0, 50000000 }, { 0, 50000000 } };
	struct itimerval profile = { { 0 }, { 1000, 0 } }, left;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	uint64_t times = 0;
	timer_t timer;

	signal(SIGUSR2, catch);
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	MUST(fd >= 0 && !timerfd_settime(fd, 0, &often, NULL));
	MUST(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !setitimer(ITIMER_PROF, &profile, NULL));
	MUST(!timer_settime(timer, 0, &soon, NULL));
	dumped_here();
	for (int i = 0; i < 500 && !caught; i++)
		usleep(10000);
	MUST(caught == SIGUSR2);
	MUST(read(fd, &times, sizeof(times)) == sizeof(times) && times > 0);
	MUST(!getitimer(ITIMER_PROF, &left) && left.it_value.tv_sec > 900 && left.it_value.tv_sec <= 1000);
	return NULL;
}

const char *mappings(void)
{
	int fd = file_with("/mapped", "original");
	char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *shared_file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *sparse = mmap(NULL, 4UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *down = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
	char *none = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(private != MAP_FAILED && shared_file != MAP_FAILED && sparse != MAP_FAILED && down != MAP_FAILED);
	memcpy(private, "modified", 8);
	for (long i = 0; i < 4L << 30; i += 64 << 20)
		sparse[i] = 1 + i / (64 << 20);
	down[60000] = 9;
	none[0] = 5;
	MUST(!mprotect(none, 8192, PROT_NONE) && !madvise(none, 8192, MADV_DONTFORK));
	close(fd);
	dumped_here();
	MUST(!memcmp(private, "modified", 8) && !memcmp(shared_file, "original", 8));
	for (long i = 0; i < 4L << 30; i += 64 << 20)
		MUST(sparse[i] == (char)(1 + i / (64 << 20)) && !sparse[i + 4096]);
	int ends[2];
	MUST(down[60000] == 9 && !pipe(ends) && write(ends[1], none, 1) < 0 && errno == EFAULT);
	MUST(!mprotect(none, 8192, PROT_READ) && none[0] == 5);
	memcpy(shared_file, "written!", 8);
	MUST(reads(open("/mapped", O_RDONLY), "written!"));
	return NULL;
}

const char *memory_file(void)
{
	int fd = memfd_create("kept", MFD_ALLOW_SEALING);
	MUST(fd >= 0 && !ftruncate(fd, 2 << 20));
	char *map = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), link[100] = "", path[40];
	MUST(map != MAP_FAILED);
	map[1 << 20] = 'x';
	MUST(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	dumped_here();
	char byte = 0;
	MUST(map[1 << 20] == 'x' && pread(fd, &byte, 1, 1 << 20) == 1 && byte == 'x');
	MUST(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST(readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "memfd:kept"));
	return NULL;
}

const char *shared_memory(void)
{
	volatile char *both = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = open("/dev/shm/kept", O_RDWR | O_CREAT, 0600);
	MUST(fd >= 0 && !ftruncate(fd, 4096));
	volatile char *named = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(both != MAP_FAILED && named != MAP_FAILED);
	if (fork() == 0) {
		both[500000] = named[0] = 1;
		while (!shared->go)
			usleep(10000);
		both[500000] = named[0] = 2;
		for (;;)
			pause();
	}
	while (both[500000] != 1)
		usleep(1000);
	dumped_here();
	for (int i = 0; i < 500 && (both[500000] != 2 || named[0] != 2); i++)
		usleep(10000);
	MUST(both[500000] == 2 && named[0] == 2);
	return NULL;
}

const char *system_v(void)
{
	struct { long type; char text[8]; } message = { 3, "message" }, got;
	int memory = shmget(4711, 8192, IPC_CREAT | 0640), apart = shmget(4712, 4096, IPC_CREAT | 0600);
	int set = semget(4713, 3, IPC_CREAT | 0600), queue = msgget(4714, IPC_CREAT | 0600);
	char *at = shmat(memory, NULL, 0), *other = shmat(apart, NULL, 0);

	MUST(at != (void *)-1 && other != (void *)-1 && set >= 0 && queue >= 0);
	strcpy(at, "attached");
	strcpy(other, "detached");
	MUST(!shmdt(other) && !semctl(set, 1, SETVAL, 42) && !msgsnd(queue, &message, 8, 0));
	dumped_here();
	MUST(!strcmp(at, "attached") && shmget(4711, 0, 0) == memory && shmget(4712, 0, 0) == apart);
	other = shmat(apart, NULL, 0);
	MUST(other != (void *)-1 && !strcmp(other, "detached"));
	MUST(semget(4713, 0, 0) == set && semctl(set, 1, GETVAL) == 42);
	MUST(msgget(4714, 0) == queue && msgrcv(queue, &got, 8, 0, IPC_NOWAIT) == 8 && got.type == 3 && !strcmp(got.text, "message"));
	return NULL;
}
