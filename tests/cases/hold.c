/* hold WHAT [PATH]: gets hold of something that CRIU cannot dump, or not without leave; says so by making /ready; and stays. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int unix_socket(int type, const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strncpy(to.sun_path, path, sizeof(to.sun_path) - 1);
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static int io_uring(void)
{
	struct io_uring_params params = { 0 };

	return syscall(SYS_io_uring_setup, 8, &params);
}

static int lock(const char *path, int posix)
{
	struct flock whole = { .l_type = F_WRLCK };
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	return posix ? fcntl(fd, F_SETLK, &whole) : flock(fd, LOCK_EX);
}

static int watch_deleted(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600), watch = inotify_init();

	return fd < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0 ? -1 : unlink(path);
}

static int shared_memory(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	void *at = shmat(id, NULL, 0);

	/* It goes with the last process that uses it. */
	shmctl(id, IPC_RMID, NULL);
	return at == (void *)-1 ? -1 : 0;
}

static int deleted_mapping(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	static char block[4096] = { 1 };

	for (int i = 0; i < 512; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			return -1;
	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		return -1;
	close(fd);
	return unlink(path);
}

static int unread_messages(void)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg body;
	} request = { { sizeof(request), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC } };

	return send(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), &request, sizeof(request), 0);
}

static int waiting_connection(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(5000), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM, 0), caller = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(listener, 1) < 0)
		return -1;
	return connect(caller, (struct sockaddr *)&to, sizeof(to));
}

static int pending_trap(void)
{
	sigset_t traps;

	sigemptyset(&traps);
	sigaddset(&traps, SIGTRAP);
	return sigprocmask(SIG_BLOCK, &traps, NULL) || kill(getpid(), SIGTRAP);
}

static int get(const char *what, const char *path)
{
	if (!strcmp(what, "unix-stream"))
		return unix_socket(SOCK_STREAM, path);
	if (!strcmp(what, "unix-datagram"))
		return unix_socket(SOCK_DGRAM, path);
	if (!strcmp(what, "io-uring"))
		return io_uring();
	if (!strcmp(what, "flock"))
		return lock(path, 0);
	if (!strcmp(what, "posix-lock"))
		return lock(path, 1);
	if (!strcmp(what, "mptcp"))
		return socket(AF_INET, SOCK_STREAM, 262);
	if (!strcmp(what, "unread"))
		return unread_messages();
	if (!strcmp(what, "waiting"))
		return waiting_connection();
	if (!strcmp(what, "vsock"))
		return socket(AF_VSOCK, SOCK_STREAM, 0);
	if (!strcmp(what, "userfaultfd"))
		return syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	if (!strcmp(what, "watch"))
		return watch_deleted(path);
	if (!strcmp(what, "shared-memory"))
		return shared_memory();
	if (!strcmp(what, "mapping"))
		return deleted_mapping(path);
	if (!strcmp(what, "trap"))
		return pending_trap();
	if (!strcmp(what, "user-namespace"))
		return unshare(CLONE_NEWUSER);
	return -1;
}

int main(int argc, char **argv)
{
	if (argc < 2 || get(argv[1], argc > 2 ? argv[2] : "/held") < 0) {
		perror("hold");
		return 1;
	}
	if (mknod("/ready", S_IFREG | 0600, 0) < 0)
		perror("/ready");
	for (;;)
		pause();
}
