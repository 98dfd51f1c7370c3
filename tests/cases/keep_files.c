/* What keep.c can keep of files and sockets. */
#include "keep.h"
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>

const char *open_files(void)
{
	int file = file_with("/kept", "0123456789"), appended = open("/kept", O_WRONLY | O_APPEND | O_CLOEXEC);
	int path = open("/kept", O_PATH), dir_path = open("/bin", O_PATH | O_DIRECTORY), dir = open("/bin", O_RDONLY);
	int status = open("/proc/self/status", O_RDONLY), null = open("/dev/null", O_RDWR), random = open("/dev/urandom", O_RDONLY);
	struct stat at, of;
	char byte;

	MUST(path >= 0 && dir_path >= 0 && dir >= 0 && status >= 0 && null >= 0 && random >= 0);
	MUST(lseek(file, 4, SEEK_SET) == 4 && dup2(file, 77) == 77 && !fstat(file, &of));
	dumped_here();
	MUST(reads(file, "456789") && lseek(77, 0, SEEK_CUR) == 10);
	MUST(writes(appended, "x") && fcntl(appended, F_GETFD) == FD_CLOEXEC && fcntl(appended, F_GETFL) & O_APPEND);
	MUST(!fstat(path, &at) && at.st_ino == of.st_ino && fcntl(path, F_GETFL) & O_PATH && read(path, &byte, 1) < 0);
	MUST(!faccessat(dir_path, "keep", F_OK, 0) && read(status, &byte, 1) == 1 && byte == 'N');
	MUST(writes(null, "x") && read(random, &byte, 1) == 1 && !fstat(dir, &at) && S_ISDIR(at.st_mode));
	return NULL;
}

const char *deleted(void)
{
	int fd = file_with("/deleted", "still here"), nameless = open("/", O_TMPFILE | O_RDWR, 0600);
	struct stat at;
	char here[100];

	MUST(fd >= 0 && nameless >= 0 && writes(nameless, "no name") && !unlink("/deleted") && lseek(fd, 0, SEEK_SET) == 0);
	MUST(!mkdir("/gone", 0755) && !chdir("/gone") && !rmdir("/gone"));
	dumped_here();
	MUST(reads(fd, "still here") && !fstat(fd, &at) && at.st_nlink == 0);
	MUST(lseek(nameless, 0, SEEK_CUR) == 7 && lseek(nameless, 0, SEEK_SET) == 0 && reads(nameless, "no name"));
	MUST(!getcwd(here, sizeof(here)) && errno == ENOENT);
	return NULL;
}

const char *pipes(void)
{
	static char big[200000], back[200000];
	int full[2], large[2], fifo;

	memset(big, 'y', sizeof(big));
	MUST(!pipe2(full, O_NONBLOCK) && !pipe(large) && fcntl(large[1], F_SETPIPE_SZ, 1 << 20) > 0);
	while (write(full[1], "0123456789abcdef", 16) == 16)
		;
	MUST(write(large[1], big, sizeof(big)) == sizeof(big));
	MUST(!mkfifo("/fifo-kept", 0600) && (fifo = open("/fifo-kept", O_RDWR)) >= 0 && writes(fifo, "in the fifo"));
	dumped_here();
	MUST(write(full[1], "x", 1) < 0 && errno == EAGAIN);
	ssize_t sum = 0, got;
	while ((got = read(full[0], back, sizeof(back))) > 0)
		sum += got;
	MUST(sum == 65536 && !memcmp(back, "0123456789abcdef", 16));
	MUST(fcntl(large[1], F_GETPIPE_SZ) == 1 << 20);
	for (sum = 0; sum < (ssize_t)sizeof(back); sum += got)
		MUST((got = read(large[0], back + sum, sizeof(back) - sum)) > 0);
	MUST(!memcmp(big, back, sizeof(big)) && reads(fifo, "in the fifo"));
	return NULL;
}

static int is_locked_for_others(const char *path, int whole_file)
{
	struct flock lock = { .l_type = F_WRLCK };
	int fd = open(path, O_RDWR), status;
	pid_t child = fork();

	if (child == 0) {
		if (whole_file)
			_exit(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
		_exit(!fcntl(fd, F_GETLK, &lock) && lock.l_type == F_WRLCK);
	}
	close(fd);
	return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 1;
}

/* The locks of a process go when it closes any descriptor of the file, so others look. */
const char *locks(void)
{
	struct flock part = { .l_type = F_WRLCK, .l_start = 2, .l_len = 3 }, whole = { .l_type = F_WRLCK };
	int one = file_with("/lock-flock", "text"), two = file_with("/lock-posix", "text"), three = file_with("/lock-open", "text");

	MUST(!flock(one, LOCK_EX) && !fcntl(two, F_SETLK, &part) && !fcntl(three, F_OFD_SETLK, &whole));
	dumped_here();
	MUST(is_locked_for_others("/lock-flock", 1));
	pid_t child = fork();
	if (child == 0)
		_exit(is_locked_for_others("/lock-posix", 0) + 2 * is_locked_for_others("/lock-open", 0));
	int status;
	MUST(waitpid(child, &status, 0) == child);
	MUST(WEXITSTATUS(status) == 3);
	return NULL;
}

const char *watches(void)
{
	char events[4096];
	struct inotify_event *event = (void *)events;
	struct epoll_event first = { EPOLLIN | EPOLLET, { .u64 = 77 } }, second = { EPOLLIN, { .u64 = 78 } }, got[3];
	uint64_t number = 0;
	int ends[2], watch = inotify_init1(IN_NONBLOCK), queue = epoll_create1(0), counter = eventfd(42, 0);

	MUST(!mkdir("/watched", 0755) && !pipe(ends) && counter >= 0);
	int number_of_watch = inotify_add_watch(watch, "/watched", IN_CREATE);
	MUST(number_of_watch >= 0);
	MUST(!epoll_ctl(queue, EPOLL_CTL_ADD, ends[0], &first) && !epoll_ctl(queue, EPOLL_CTL_ADD, watch, &second));
	dumped_here();
	MUST(file_with("/watched/new", "x") >= 0);
	MUST(read(watch, events, sizeof(events)) > 0 && event->wd == number_of_watch && !strcmp(event->name, "new"));
	MUST(writes(ends[1], "x") && epoll_wait(queue, got, 3, 1000) == 1 && got[0].data.u64 == 77);
	MUST(read(counter, &number, sizeof(number)) == sizeof(number) && number == 42);
	return NULL;
}

const char *terminals(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	MUST(master >= 0 && !grantpt(master) && !unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	MUST(slave >= 0);
	dumped_here();
	MUST(writes(master, "line\n") && reads(slave, "line\n"));
	return NULL;
}

const char *asynchronous(void)
{
	aio_context_t context = 0;
	struct iocb one = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_nbytes = 4 }, *list = &one;
	struct io_event event;
	static char buffer[5];

	one.aio_fildes = file_with("/asynchronous", "text");
	one.aio_buf = (uint64_t)buffer;
	MUST(!syscall(SYS_io_setup, 16, &context));
	dumped_here();
	MUST(syscall(SYS_io_submit, context, 1, &list) == 1 && syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1);
	MUST(event.res == 4 && !strcmp(buffer, "text"));
	return NULL;
}

const char *unix_sockets(void)
{
	struct sockaddr_un name = { AF_UNIX, "/unix-kept" }, hidden = { AF_UNIX, "\0kept" };
	int stream[2], packets[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), abstract = socket(AF_UNIX, SOCK_STREAM, 0);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
	MUST(writes(stream[0], "there") && writes(stream[1], "and back"));
	MUST(writes(packets[0], "one") && writes(packets[0], "another"));
	MUST(!bind(listener, (void *)&name, sizeof(name)) && !listen(listener, 5));
	MUST(!bind(abstract, (void *)&hidden, 3 + 4) && !listen(abstract, 5));
	dumped_here();
	MUST(reads(stream[1], "there") && reads(stream[0], "and back") && writes(stream[0], "x") && reads(stream[1], "x"));
	MUST(reads(packets[1], "one") && reads(packets[1], "another"));
	MUST(!getsockopt(stream[0], SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == 0);
	int caller = socket(AF_UNIX, SOCK_STREAM, 0), again = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(!connect(caller, (void *)&name, sizeof(name)) && !connect(again, (void *)&hidden, 3 + 4));
	int end = accept(listener, NULL, NULL);
	MUST(end >= 0 && writes(caller, "hello") && reads(end, "hello"));
	return NULL;
}

const char *unix_datagrams(void)
{
	struct sockaddr_un name = { AF_UNIX, "/datagrams-kept" };
	int receiver = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);

	MUST(!bind(receiver, (void *)&name, sizeof(name)) && !connect(sender, (void *)&name, sizeof(name)));
	MUST(writes(sender, "first") && writes(sender, "second"));
	dumped_here();
	MUST(reads(receiver, "first") && reads(receiver, "second") && writes(sender, "third") && reads(receiver, "third"));
	return NULL;
}

/* A descriptor that has been sent and not been received. */
const char *sent_descriptor(void)
{
	char room[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec io = { &byte, 1 };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	int ends[2], fd = file_with("/sent", "the text");

	head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !lseek(fd, 0, SEEK_SET) && sendmsg(ends[0], &message, 0) == 1);
	close(fd);
	dumped_here();
	MUST(recvmsg(ends[1], &message, 0) == 1 && (head = CMSG_FIRSTHDR(&message)));
	memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	MUST(reads(fd, "the text"));
	return NULL;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } };
}

const char *datagrams(void)
{
	struct sockaddr_in at = loopback(6001);
	struct sockaddr_in6 at6 = { .sin6_family = AF_INET6, .sin6_port = htons(6002), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int bound = socket(AF_INET, SOCK_DGRAM, 0), connected = socket(AF_INET, SOCK_DGRAM, 0);
	int bound6 = socket(AF_INET6, SOCK_DGRAM, 0), size = 100000, have;
	socklen_t length = sizeof(have);

	MUST(!bind(bound, (void *)&at, sizeof(at)) && !connect(connected, (void *)&at, sizeof(at)));
	MUST(!bind(bound6, (void *)&at6, sizeof(at6)) && !setsockopt(bound, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	dumped_here();
	MUST(writes(connected, "hello") && reads(bound, "hello"));
	MUST(sendto(socket(AF_INET6, SOCK_DGRAM, 0), "six", 3, 0, (void *)&at6, sizeof(at6)) == 3 && reads(bound6, "six"));
	MUST(!getsockopt(bound, SOL_SOCKET, SO_RCVBUF, &have, &length) && have == 2 * size);
	return NULL;
}

const char *listeners(void)
{
	struct sockaddr_in at = loopback(6003);
	struct sockaddr_in6 at6 = { .sin6_family = AF_INET6, .sin6_port = htons(6004), .sin6_addr = IN6ADDR_ANY_INIT };
	int one = 1, four = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0);

	MUST(!setsockopt(four, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	MUST(!bind(four, (void *)&at, sizeof(at)) && !listen(four, 9) && !bind(six, (void *)&at6, sizeof(at6)) && !listen(six, 9));
	dumped_here();
	int caller = socket(AF_INET, SOCK_STREAM, 0), caller6 = socket(AF_INET, SOCK_STREAM, 0), have;
	socklen_t length = sizeof(have);
	MUST(!getsockopt(four, SOL_SOCKET, SO_REUSEADDR, &have, &length) && have);
	MUST(!connect(caller, (void *)&at, sizeof(at)) && accept(four, NULL, NULL) >= 0);
	at = loopback(6004);
	MUST(!connect(caller6, (void *)&at, sizeof(at)) && accept(six, NULL, NULL) >= 0);
	return NULL;
}

static int connected_pair(int port, int *caller, int *called)
{
	struct sockaddr_in at = loopback(port);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	*caller = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 5) || connect(*caller, (void *)&at, sizeof(at)))
		return -1;
	*called = accept(listener, NULL, NULL);
	return *called;
}

/* Data that nobody has read yet, both ways; and a connection of which one half is closed. */
const char *connections(void)
{
	int one, other, half, closed, on = 1, have = 0;
	socklen_t length = sizeof(have);

	MUST(connected_pair(6005, &one, &other) >= 0 && connected_pair(6006, &half, &closed) >= 0);
	MUST(!setsockopt(one, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on)));
	MUST(writes(one, "there") && writes(other, "and back") && writes(half, "last words") && !shutdown(half, SHUT_WR));
	usleep(100000);
	dumped_here();
	MUST(reads(other, "there") && reads(one, "and back") && writes(one, "x") && reads(other, "x"));
	MUST(reads(closed, "last words") && reads(closed, "") && writes(closed, "answer") && reads(half, "answer"));
	MUST(!getsockopt(one, IPPROTO_TCP, 1, &have, &length) && have);
	return NULL;
}

/* With --tcp-close: what was connected has ended, and what listens goes on. */
const char *closed_connections(void)
{
	char byte;
	int one, other;

	MUST(connected_pair(6007, &one, &other) >= 0 && signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	dumped_here();
	MUST(read(one, &byte, 1) <= 0 && read(other, &byte, 1) <= 0);
	MUST(write(one, "x", 1) < 0);
	return NULL;
}

const char *raw_sockets(void)
{
	struct sockaddr_nl name = { .nl_family = AF_NETLINK };
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), packet = socket(AF_PACKET, SOCK_RAW, htons(3));
	int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), have = 0;
	socklen_t length = sizeof(have);

	MUST(raw >= 0 && packet >= 0 && !bind(netlink, (void *)&name, sizeof(name)));
	dumped_here();
	MUST(!getsockopt(raw, SOL_SOCKET, SO_PROTOCOL, &have, &length) && have == IPPROTO_ICMP);
	MUST(!getsockopt(packet, SOL_SOCKET, SO_DOMAIN, &have, &length) && have == AF_PACKET);
	MUST(!getsockopt(netlink, SOL_SOCKET, SO_DOMAIN, &have, &length) && have == AF_NETLINK);
	return NULL;
}
