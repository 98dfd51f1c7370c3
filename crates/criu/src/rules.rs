//! The table behind [`crate::diagnose`]: words of CRIU's errors, what they mean, what to do.
//!
//! The words are those of CRIU 3.17 to 4.2. Options are named as the commands that pass them on to CRIU name them.

use crate::diagnose::{Rule, rule};

/// In order: where two rules fit one line, the special one stands first.
pub(crate) static RULES: [Rule; 52] = [
    // Sockets.
    rule(
        &["inet: Connected TCP socket, consider"],
        "there is an established TCP connection",
        "pass --tcp-established to keep it or --tcp-close to drop it",
    ),
    rule(
        &["inet: Connected TCP socket in image"],
        "the images hold an established TCP connection",
        "pass --tcp-established to restore it or --tcp-close to drop it",
    ),
    rule(
        &["inet: In-flight connection"],
        "a TCP connection waits to be accepted",
        "pass --tcp-skip-in-flight to leave it out",
    ),
    rule(
        &["Can't bind inet socket", "Cannot assign requested address"],
        "an address that a socket was bound to is not on this machine",
        "add the address to an interface, or restore into a network namespace that has it",
    ),
    rule(
        &["Can't bind inet socket", "Address already in use"],
        "a port that a socket was bound to is taken",
        "stop the process that listens there",
    ),
    rule(
        &["unix: External socket is used"],
        "a unix socket is connected to a process outside",
        "pass --ext-unix-sk, or close the connection first",
    ),
    rule(
        &["unix: External socket found in image"],
        "the images hold a unix socket connected to the outside",
        "pass --ext-unix-sk",
    ),
    rule(
        &["unix: Can't dump half of stream unix connection"],
        "the peer of a unix stream connection is outside",
        "close the connection first: --ext-unix-sk helps with datagram sockets only",
    ),
    rule(
        &["unix: Can't dump name-less external socket"],
        "an unnamed unix socket leads outside",
        "close it first, or pass it as an external file",
    ),
    rule(
        &["dump a socket from an external network namespace"],
        "a socket belongs to a network namespace outside",
        "declare that namespace external: net[inode]:name",
    ),
    rule(
        &["sockets: Can't get 1:", "opt: Operation not supported"],
        "this criu is too old for this kernel: it cannot dump internet sockets on Linux 6.16 and later",
        "install CRIU 4.2 or later",
    ),
    // Network.
    rule(
        &["execvp(", "tables", "No such file or directory"],
        "iptables is missing",
        "install iptables, or choose --network-lock nftables, or skip",
    ),
    rule(
        &["Locking network failed using nftables"],
        "packets could not be held back with nftables",
        "choose --network-lock iptables, or skip where no TCP connection must survive",
    ),
    rule(
        &["Locking network failed: iptables-restore"],
        "packets could not be held back with iptables",
        "install iptables, or choose --network-lock nftables, or skip",
    ),
    rule(
        &["Iptables configuration failed"],
        "packets could not be held back with iptables",
        "install iptables, or choose --network-lock nftables, or skip",
    ),
    rule(
        &["net: Unsupported link"],
        "a network device is of a kind that CRIU cannot dump",
        "remove it, or declare the network namespace external: net[inode]:name",
    ),
    // Terminals.
    rule(
        &["tty: Found slave peer index", "without correspond master peer"],
        "a terminal's master side is outside",
        "pass --shell-job, or start with a terminal of its own (--console-socket)",
    ),
    rule(&["tty: Found dangling tty with sid"], "a terminal's session leader is outside", "pass --shell-job"),
    rule(
        &["A session leader of", "is outside of its pid namespace"],
        "a process belongs to a session from outside",
        "pass --shell-job",
    ),
    rule(
        &["tty: Don't have tty to inherit session from"],
        "the images hold a terminal from outside",
        "pass --shell-job and restore from a terminal",
    ),
    // Files and mounts.
    rule(
        &["Can't lookup mount=", "path=/dev/pts/"],
        "a process uses a terminal of the host",
        "start with a terminal of its own (--console-socket), or declare it external: tty[rdev:dev]",
    ),
    rule(
        &["Can't lookup mount="],
        "a file outside the mount namespace is open",
        "declare it external (file[mount id:inode]) and pass it again at restore",
    ),
    rule(&["file locks are hold"], "a process holds a file lock", "pass --file-locks"),
    rule(
        &["Can't dump ghost file", "increase limit"],
        "a deleted file that is still open is too large",
        "raise --ghost-limit above its size",
    ),
    rule(
        &["Can't create link remap for"],
        "an open file was unlinked under the name it was opened by",
        "pass --link-remap",
    ),
    rule(
        &["send_fds failed (-22)"],
        "a process uses io_uring, or another file that cannot be handed over, which CRIU cannot dump",
        "make the program do without io_uring",
    ),
    rule(
        &["Can't dump file", "of that type"],
        "a file of a kind that CRIU cannot dump is open",
        "close it first, or load the CRIU plugin for that device",
    ),
    rule(
        &["has bad size", "expect"],
        "a file changed its size since the dump",
        "restore it to the size it had: logs and other appended files must be moved along with the images",
    ),
    rule(
        &["has bad mode", "expect"],
        "a file changed its permissions since the dump",
        "restore them, or allow it with skip-file-rwx-check in CRIU's configuration file",
    ),
    rule(
        &["has bad build-ID"],
        "a program or library is not the one that was dumped",
        "use the same root file system as at the dump",
    ),
    rule(
        &["Can't open file", "No such file or directory"],
        "a file that was open is missing",
        "bring the root file system to the state it had at the dump",
    ),
    rule(
        &["unreachable sharing"],
        "a mount shares propagation with mounts outside",
        "make it private, or pass --enable-external-masters by CRIU's configuration file",
    ),
    rule(
        &["doesn't have a proper root mount"],
        "a bind mount leads outside",
        "declare it external: mnt[/path]:name",
    ),
    rule(
        &["is autodetected external mount"],
        "a mount leads outside",
        "declare it external: mnt[/path]:name",
    ),
    rule(
        &["mnt: No mapping for", "mountpoint"],
        "an external mount of the images has nothing to stand for it",
        "name it at restore: mnt[name]:/path",
    ),
    rule(
        &["unsupported id"],
        "a file system is of a type that CRIU does not know",
        "declare the mount external, or accept the type with enable-fs in CRIU's configuration file",
    ),
    rule(
        &["is a fuse mount but not external"],
        "there is a FUSE mount",
        "declare it external: mnt[/path]:name",
    ),
    rule(
        &["fsnotify", "Can't dump that handle"],
        "a watched inode has no path that CRIU finds",
        "pass force-irmap and irmap-scan-path in CRIU's configuration file",
    ),
    rule(
        &["Unexpected EOF on (empty-image)"],
        "the images are incomplete",
        "look whether the dump that wrote them succeeded, and whether this is its directory",
    ),
    rule(
        &["execvp(\"tar\"", "No such file or directory"],
        "tar is missing",
        "install tar: CRIU packs the files of each tmpfs with it",
    ),
    // Tasks.
    rule(
        &["Unable to interrupt task", "Operation not permitted"],
        "a task is traced by somebody else, or may not be",
        "detach the debugger, and run as root",
    ),
    rule(&["Unable to interrupt task", "No such process"], "the process is gone", "nothing is left to dump"),
    rule(
        &["Unable to freeze cgroup"],
        "the cgroup did not freeze in time",
        "look for a task in uninterruptible sleep, or raise the timeout in CRIU's configuration file",
    ),
    rule(
        &["Timeout reached"],
        "the tasks did not stop in time",
        "look for a task in uninterruptible sleep, or raise the timeout in CRIU's configuration file",
    ),
    rule(
        &["Unseizable non-zombie"],
        "a task cannot be traced",
        "detach the debugger or tracer that holds it",
    ),
    rule(
        &["do not match expected"],
        "a process id of the images is taken",
        "restore into a new pid namespace, or end the process that has it",
    ),
    rule(
        &["Can't fork for", "File exists"],
        "a process id of the images is taken",
        "restore into a new pid namespace, or end the process that has it",
    ),
    // Memory.
    rule(
        &["Tracking memory is not available"],
        "the kernel does not track which memory changes",
        "pre-dump needs a kernel with CONFIG_MEM_SOFT_DIRTY: do without --pre-dump, or use --lazy-pages",
    ),
    rule(
        &["UFFD is not supported"],
        "the kernel has no userfaultfd for this",
        "do without --lazy-pages, or set vm.unprivileged_userfaultfd or CONFIG_USERFAULTFD",
    ),
    rule(
        &["page-pipe: splice", "Bad file descriptor"],
        "the kernel refuses a pipe as large as needed",
        "raise /proc/sys/fs/pipe-max-size to 8388608 or give CAP_SYS_RESOURCE",
    ),
    // CPU and kernel.
    rule(
        &["vdso: Unexpected rt vDSO area bounds"],
        "this criu is too old for this kernel",
        "install CRIU 4.1 or later",
    ),
    rule(
        &["cpu:", "capabilities do not match run time"],
        "this CPU lacks features that the dumped processes may use",
        "restore on a CPU of the same kind, or relax cpu-cap in CRIU's configuration file",
    ),
];
