//! The table behind [`crate::diagnose`]: words of CRIU's errors, the class they belong to, and what they are about.
//!
//! The words are those of CRIU 3.17 to 4.2.

use crate::class::Class::{self, *};
use crate::pattern::Pattern;

/// A line of the table: an error that fits the pattern is of this class.
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) class: Class,
    /// What it is about, with the pattern's words in braces; empty where the line does not tell.
    pub(crate) object: &'static str,
    /// What to do where the line tells more than the class; empty otherwise.
    pub(crate) cure: &'static str,
}

const fn is(class: Class, pattern: &'static str) -> Rule {
    about(class, pattern, "")
}

const fn about(class: Class, pattern: &'static str, object: &'static str) -> Rule {
    Rule { pattern: Pattern(pattern), class, object, cure: "" }
}

const fn cured(class: Class, pattern: &'static str, object: &'static str, cure: &'static str) -> Rule {
    Rule { pattern: Pattern(pattern), class, object, cure }
}

/// In order: where two rules fit one line, the special one stands first.
#[rustfmt::skip]
pub(crate) static RULES: &[Rule] = &[
    is(CriuRights, "Can't get rlimit {}: Operation not permitted"),
    // Sockets.
    is(TcpEstablished, "inet: Connected TCP socket"),
    about(TcpInFlight, "inet: In-flight connection (l) for {inode}", "listening socket 0x{inode}"),
    is(TcpClosed, "Need to set the --tcp-close options"),
    about(TcpChanging, "inet: Unknown inet socket {inode} state {state}", "socket 0x{inode}, state {state}"),
    about(SocketProtocol, "inet: Unsupported proto 262 for socket {inode}", "MPTCP socket 0x{inode}"),
    about(SocketProtocol, "inet: Unsupported proto {protocol} for socket {inode}", "protocol {protocol}, socket 0x{inode}"),
    about(SocketProtocol, "inet: Can't dump {type} inet socket {inode}. Only", "socket 0x{inode} of type {type}"),
    about(SocketCorked, "inet: Can't dump corked dgram socket {inode}", "socket 0x{inode}"),
    about(SocketFamily, "Unknown socket collected (family {family})", "address family {family}"),
    about(SocketFamily, "Sockets (family {family} proto {protocol}) are not collected", "address family {family}, protocol {protocol}"),
    is(SocketUnread, "netlink: The socket has data to read"),
    is(SocketNamespace, "dump a socket from an external network namespace"),
    is(AddressMissing, "Can't bind inet socket{}Cannot assign requested address"),
    is(AddressTaken, "Can't bind inet socket{}Address already in use"),
    is(AddressTaken, "Can't listen on a socket: Address already in use"),
    is(UnixExternal, "unix: External socket is used"),
    is(UnixExternal, "unix: External socket found in image"),
    about(UnixExternalStream, "unix: Can't dump half of stream unix connection. name: {name}; peer name: {peer}", "{name} to {peer}"),
    is(UnixExternalUnnamed, "unix: Can't dump name-less external socket"),
    about(UnixExternalUnnamed, "unix: Unix socket {inode} with unreachable peer {peer} (", "socket {inode} to inode {peer}"),
    about(UnixExternalStream, "unix: Dangling connection {inode}", "socket {inode}"),
    about(UnixElsewhere, "unix: Unix socket {inode} without peer {peer}", "socket {inode} to inode {peer}"),
    about(SocketNamespace, "unix: Unix socket {inode} not found", "socket {inode}"),
    about(UnixInFlight, "unix: Non-empty write queue on an in-flight socket {inode}", "socket {inode}"),
    about(UnixInFlight, "unix: In-flight connection on non-listening socket {inode}", "socket {inode}"),
    about(UnixPeerMissing, "unix: Can't connect {inode} socket: {errno}", "socket {inode}: {errno}"),
    cured(CriuTooOld, "sockets: Can't get 1:{}opt: Operation not supported", "internet sockets on Linux 6.16 and later", ""),

    // Network.
    about(IptablesMissing, "execvp(\"{program}tables{rest}\", ...) failed: No such file or directory", "{program}tables{rest}"),
    is(IpMissing, "execvp(\"ip\", ...) failed: No such file or directory"),
    cured(NetworkLock, "built without libnftables support", "this criu knows no nftables", "choose --network-lock iptables, or skip"),
    about(NetworkLock, "Locking network failed using nftables", "nftables"),
    about(NetworkLock, "Locking connection failed using nftables", "nftables"),
    about(NetworkLock, "Locking network failed: iptables-restore", "iptables-restore"),
    about(NetworkLock, "Iptables configuration failed", "iptables"),
    about(NetworkLock, "tcp: Failed to lock TCP connection {inode}", "connection 0x{inode}"),
    about(NetworkDevice, "net: Unsupported link {index} (type {type} kind {kind})", "interface {index}, {kind}"),
    about(NetworkRestore, "net: IP tool failed on {command}", "ip {command}"),
    is(NetworkRestore, "net: Unable to restore network links"),
    is(PageServer, "page-xfer: The page server doesn't answer"),
    is(PageServer, "page-xfer: Remote side closed connection"),
    is(PageServer, "page-xfer: Can't write pages to socket"),
    is(PageServer, "page-xfer: Can't send PSI {}: Broken pipe"),
    about(LazyPages, "uffd: connect to {socket} failed", "{socket}"),
    is(LazyPages, "uffd: Restorer unexpectedly closed the connection"),

    // Terminals and sessions.
    about(TtyMaster, "tty: Found slave peer index {index} without correspond master peer", "terminal {index}"),
    about(TtySecond, "tty: Only one slave external peer is allowed (index {index})", "terminal {index}"),
    about(Session, "tty: Found dangling tty with sid {sid} pgid {}", "session {sid}"),
    about(Session, "tty: ctty inheritance detected sid/pgrp {sid},", "session {sid}"),
    about(Session, "A session leader of zombie process {pid}({})", "zombie process {pid}"),
    about(Session, "A session leader of {pid}({}) is outside of its pid namespace", "process {pid}"),
    about(Session, "The root process {pid} is not a session leader", "process {pid} in the container"),
    is(TtyInherit, "tty: Don't have tty to inherit session from"),
    about(TtyOutside, "Can't lookup mount={mount} for fd={fd} path={path}/dev/pts/{index}", "/dev/pts/{index}, descriptor {fd}"),
    about(TtyOutside, "Can't lookup mount={mount} for fd={fd} path=/dev/tty{name}", "/dev/tty{name}, descriptor {fd}"),

    // Files.
    about(FileOutside, "Can't lookup mount={mount} for fd={fd} path={path}", "{path}, descriptor {fd}, mount {mount}"),
    about(FileCovered, "Open files on overmounted mounts are not supported yet; mount={mount} fd={fd} path={path}", "{path}, descriptor {fd}"),
    is(FileReplaced, "Unaccessible path opened"),
    is(FileLock, "file locks are hold"),
    about(FileLock, "Unresolved lock found pid {pid} ino {inode}", "inode {inode}, of process {pid}"),
    cured(GhostFile, "Can't dump ghost file {path} of {size} size, increase limit", "{path} of {size} bytes", "pass --ghost-limit {size} or more"),
    about(LinkRemap, "Can't create link remap for {path}. Use", "{path}"),
    is(IoUring, "send_fds failed (-22)"),
    about(IoUring, "Can't dump file {fd} of that type [{}] (anon anon_inode:[io_uring])", "descriptor {fd}"),
    about(FileKind, "Can't dump file {fd} of that type [{mode}] ({kind} {name})", "{kind} {name}, descriptor {fd}"),
    about(FileKind, "BPF map type {type}!", "BPF map of type {type}"),
    about(FileKind, "The packetized mode for pipes is not supported", "a pipe of packets (O_DIRECT)"),
    about(DeviceMapped, "Can't handle non-regular mapping on {pid}'s map {address}", "process {pid} at 0x{address}"),
    about(DeviceMapped, "Unsupported mapping found {from}-{to}", "0x{from}-0x{to}"),
    about(Uprobes, "PID {pid} has uprobes vma", "process {pid}"),
    about(WatchPath, "fsnotify: Can't find suitable path for handle (dev {device} ino {inode})", "device {device}, inode {inode}"),
    is(WatchPath, "fsnotify: {}Can't dump that handle"),
    is(WatchLimit, "fsnotify: Can't add watch{}No space left on device"),
    about(PidfdOutside, "pidfd: pidfd pid {pid} is not a part of process tree", "process {pid}"),
    about(EpollTarget, "Escaped/closed fd descriptor {fd} on pid {pid}", "descriptor {fd} of process {pid}"),
    about(FileSize, "File {path} has bad size {now} (expect {then})", "/{path} has {now} bytes, had {then}"),
    about(FileMode, "File {path} has bad mode 0100{now} (expect 0100{then})", "/{path} has mode 0{now}, had 0{then}"),
    about(FileMode, "File {path} has bad mode {now} (expect {then})", "/{path} has mode {now}, had {then}"),
    about(FileChanged, "File {path} has bad build-ID", "/{path}"),
    about(FileMissing, "Can't open file {path} on restore: No such file or directory", "/{path}"),
    about(FileMissing, "Can't open file {path}: No such file or directory", "/{path}"),
    about(FileMissing, "Can't open ghost original file", ""),

    // Mounts. CRIU writes a place as it is below the root: `./a`.
    about(MountSharing, "Mount {id} .{place} (master_id: {master} shared_id: {}) has unreachable sharing", "{place}"),
    about(MountOutside, "mnt: {id}:.{place} doesn't have a proper root mount", "{place}"),
    about(MountUnnamed, "Mount {id}:.{place} is autodetected external mount", "{place}"),
    about(MountUnnamed, "mnt: No mapping for {id}:(null) mountpoint", "mount {id} of the images"),
    about(MountUnnamed, "mnt: No mapping for {id}:.{place} mountpoint", "{place}"),
    about(MountType, "FS mnt .{place} dev {} root {} unsupported id {}", "{place}"),
    about(MountFuse, ".{place} is a fuse mount but not external", "{place}"),
    about(MountFuse, "failed to dump fs .{place} (fuse): always fail", "{place}"),
    about(MountContents, "failed to dump fs .{place} ({type}): always fail", "{place} ({type})"),
    about(MountContents, "mnt: Unable to dump a file system for {id}:.{place}", "{place}"),
    about(MountContents, "mqueue isn't empty", "mqueue"),
    about(MountContents, "pstore isn't empty", "pstore"),
    is(MountRestore, "mnt: A few mount points can't be mounted"),
    about(MountRestore, "mnt: Can't mount at {place}: {errno}", "{place}: {errno}"),
    about(MountRestore, "mnt: Unable to mount {source} {place} (id={}): {errno}", "{place}: {errno}"),
    about(MountRestore, "mnt-v2: Failed to {step}: {errno}", "{step}: {errno}"),
    is(TarMissing, "execvp(\"tar\", ...) failed: No such file or directory"),

    // Processes.
    about(Traced, "Unable to interrupt task: {pid} (Operation not permitted)", "process {pid}"),
    about(ProcessGone, "Unable to interrupt task: {pid} (No such process)", "process {pid}"),
    about(FreezeTimeout, "Unable to freeze cgroup {path} ({}timeout: {seconds})", "{path}, {seconds}"),
    about(FreezeTimeout, "Unable to freeze cgroup {path}", "{path}"),
    is(FreezeTimeout, "Timeout reached"),
    about(Traced, "Unseizable non-zombie {pid} found, state {state},", "process {pid}, state {state}"),
    about(ProcessState, "Can't dump the {pid} thread with a pending SIGTRAP", "thread {pid} has a SIGTRAP pending"),
    cured(ProcessState, "Individually stopped threads not supported", "single threads are stopped", "let them go on (SIGCONT) first"),
    about(ProcessState, "Zombies with threads are not supported", "a thread group leader has ended before its threads"),
    about(ProcessState, "Zombie thread not supported", "a thread has ended and waits to be reaped"),
    cured(ProcessState, "SEIZE {pid}: unsupported stop signal {signal}", "process {pid} is stopped by signal {signal} (SIGTTIN, SIGTTOU)", "let it go on (SIGCONT) first"),
    about(ProcessState, "SEIZE {pid}: {state}", "process {pid}: {state}"),
    about(ProcessState, "Unexpected {pid} task interruption, aborting", "process {pid} got a signal"),
    about(ProcessState, "A root task is dead", "its first process has ended"),
    about(NamespaceNested, "Can't dump nested {kind} namespace for {pid}", "{kind} namespace of process {pid}"),
    is(NamespaceNested, "namespaces doesn't belong to the target user namespace"),
    about(IpcOutside, "Task {pid} with SysVIPC shmem map @{address} doesn't live in IPC ns", "process {pid} at 0x{address}"),
    about(PidTaken, "Pid {got} do not match expected {pid}", "process id {pid}"),
    about(PidTaken, "Can't fork for {pid}: File exists", "process id {pid}"),
    about(PidTaken, "intersects with pid ({pid}) in images", "process id {pid}"),
    is(PidNamespace, "This process tree can only be restored in a new pid namespace"),
    is(PidNamespace, "Can't restore pid namespace without the process init"),
    is(PidNamespace, "Can't dump a pid namespace without the process init"),
    about(PidNamespace, "Unable to find an external pidns: {name}", "{name}"),
    about(Unsupported, "The criu itself is within dumped tree", "criu is one of its processes"),

    // Memory, processor, kernel.
    is(MemoryTracking, "Tracking memory is not available"),
    is(Userfaultfd, "UFFD is not supported"),
    is(Userfaultfd, "Lazy pages are not available"),
    about(Userfaultfd, "uffd: Unable to open an userfaultfd descriptor: {errno}", "{errno}"),
    is(PipeSize, "page-pipe: splice{}Bad file descriptor"),
    about(CriuTooOld, "vdso: Unexpected rt vDSO area bounds", "its vDSO is not where this criu looks"),
    about(CpuMismatch, "capabilities do not match run time", ""),
    about(CpuMismatch, "FPU feature required by image is not supported on host", "FPU"),
    about(CpuMismatch, "CPU xsave size mismatch ({sizes})", "xsave {sizes}"),
    about(CpuMismatch, "CPU xsave max size mismatch ({sizes})", "xsave {sizes}"),
    about(CpuMismatch, "CPU xfeatures has unsupported bits ({bits})", "xfeatures {bits}"),
    about(Lsm, "can't write lsm profile {errno}", ""),
    about(Lsm, "{kind} LSM specified but {} not supported by kernel", "{kind}"),
    is(Lsm, "mismatched lsm types and lsm profile specified"),
    about(Lsm, "invalid argument {profile} for --lsm-profile", "{profile}"),
    about(KernelFeature, "{tid} has rseq but kernel lacks get_rseq_conf feature", "thread {tid} uses rseq"),
    about(KernelFeature, "rseq: can't restore as kernel doesn't support it", "rseq"),
    about(KernelFeature, "Time namespaces are not supported", "time namespaces"),
    about(KernelFeature, "{file} is inaccessible: {errno}", "{file}: {errno}"),
    about(KernelFeature, "System call {call} is not supported", "{call}"),
    about(KernelFeature, "{call} syscall is not supported", "{call}"),
    about(KernelFeature, "prctl: {option} is not supported", "{option}"),
    about(KernelFeature, "Dumping seccomp filters not supported", "seccomp filters"),
    about(PluginMissing, "Missing required plugin: {name}", "{name}"),

    // Images and disk.
    is(ImagesIncomplete, "Unexpected EOF on (empty-image)"),
    about(ImagesIncomplete, "Unexpected EOF on {image}", "{image}"),
    about(ImagesIncomplete, "Read {} bytes while {} expected from {image}:", "{image}"),
    about(ImagesIncomplete, "Read {} bytes while {} expected on {image}:", "{image}"),
    is(ImagesIncomplete, "Unexpected EOF"),
    is(ImagesIncomplete, "Img trimmed"),
    about(ImagesBroken, "Failed unpacking object {} from {image}", "{image}"),
    about(ImagesBroken, "Magic doesn't match for {image}", "{image}"),
    about(ImagesBroken, "Head magic doesn't match for {image}", "{image}"),
    about(ImagesBroken, "Image corrupted on pid {pid}", "of process {pid}"),
    is(ImagesBroken, "image corruption"),
    about(ImagesVersion, "Not supported images version {version}", "version {version}"),
    is(ImagesVersion, "Too old image, no longer supported"),
    about(ImagesMachine, "Core march mismatch {machine}", ""),
    about(ImagesIncomplete, "Unable to open {image}.img: No such file or directory", "{image}.img"),
    about(ImageDirectory, "Unable to open {image}.img: {errno}", "{image}.img: {errno}"),
    about(ImageDirectory, "Can't open images directory: {errno}", "{errno}"),
    about(ImageDirectory, "Can't open dir {path}: {errno}", "{path}: {errno}"),
    is(NoSpace, "No space left on device"),
    is(NoSpace, "Disk quota exceeded"),
    is(ReadOnly, "Read-only file system"),
    is(NoMemory, "Cannot allocate memory"),
];
