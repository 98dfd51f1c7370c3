//! What CRIU writes, and what is made of it: every rule of the table, and every class, has its line here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use crate::Class::{self, *};
use crate::diagnose::{Diagnosis, diagnose};
use crate::log::{Level, Line};
use crate::rules::RULES;

/// A line of a log, its class, and what it is about.
type Example = (&'static str, Class, &'static str);

/// Lines that CRIU really wrote: 4.2.1, 4.1.1 and (the vDSO's) 3.17.1.
#[rustfmt::skip]
const REAL: &[Example] = &[
    ("Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using --tcp-established option.", TcpEstablished, ""),
    ("     6: Error (criu/sk-inet.c:912): inet: Connected TCP socket in image", TcpEstablished, "process 6"),
    ("Error (criu/sk-inet.c:185): inet: In-flight connection (l) for e029a8", TcpInFlight, "listening socket 0xe029a8"),
    ("Error (criu/sk-inet.c:137): inet: Unsupported proto 262 for socket e01e27", SocketProtocol, "MPTCP socket 0xe01e27"),
    ("Error (criu/sockets.c:767): sockets: BUG! Unknown socket collected (family 40)", SocketFamily, "address family 40"),
    ("Error (criu/sockets.c:628): sockets: Can't get 1:16 opt: Operation not supported", CriuTooOld, "internet sockets on Linux 6.16 and later"),
    ("Error (criu/sk-netlink.c:77): netlink: The socket has data to read", SocketUnread, ""),
    ("Error (criu/sk-unix.c:874): unix: External socket is used. Consider using --ext-unix-sk option.", UnixExternal, ""),
    ("Error (criu/sk-unix.c:881): unix: Can't dump half of stream unix connection. name: (null); peer name: /run/socket", UnixExternalStream, "(null) to /run/socket"),
    ("Error (criu/sk-unix.c:418): unix: Unix socket 14691598 without peer 14691434", UnixElsewhere, "socket 14691598 to inode 14691434"),
    ("     1: Error (criu/sk-unix.c:1406): unix: Can't connect 15887006 socket: No such file or directory", UnixPeerMissing, "socket 15887006: No such file or directory, process 1"),
    ("Error (criu/util.c:642): execvp(\"iptables-restore\", ...) failed: No such file or directory", IptablesMissing, "iptables-restore"),
    ("Error (criu/net.c:3436): net: Locking network failed: iptables-restore returned -1. This may be connected to disabled CONFIG_NETFILTER_XT_MARK kernel build config option.", NetworkLock, "iptables-restore"),
    ("Error (criu/tty.c:410): tty: Found slave peer index 0 without correspond master peer", TtyMaster, "terminal 0"),
    ("Error (criu/tty.c:419): tty: Only one slave external peer is allowed (index 1)", TtySecond, "terminal 1"),
    ("Error (criu/files-reg.c:1790): Can't lookup mount=29 for fd=0 path=/dev/pts/0", TtyOutside, "/dev/pts/0, descriptor 0"),
    ("Error (criu/files-reg.c:1790): Can't lookup mount=27 for fd=3 path=/srv/file", FileOutside, "/srv/file, descriptor 3, mount 27"),
    ("Error (criu/files-reg.c:1796): Open files on overmounted mounts are not supported yet; mount=174 fd=3 path=/a/file", FileCovered, "/a/file, descriptor 3"),
    ("Error (criu/files-reg.c:1444): Unaccessible path opened 65:2, need 65024:10256702", FileReplaced, ""),
    ("Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You can try --file-locks to dump them.", FileLock, ""),
    ("Error (criu/files-reg.c:1031): Can't dump ghost file /big of 3145728 size, increase limit", GhostFile, "/big of 3145728 bytes"),
    ("Error (criu/files-reg.c:1122): Can't create link remap for /name. Use link-remap option.", LinkRemap, "/name"),
    ("pie: 1: Error (criu/pie/parasite.c:588): send_fds failed (-22)", IoUring, "process 1"),
    ("Error (criu/files-ext.c:94): Can't dump file 3 of that type [600] (anon anon_inode:[userfaultfd])", FileKind, "anon anon_inode:[userfaultfd], descriptor 3"),
    ("Error (criu/fsnotify.c:263): fsnotify: Can't find suitable path for handle (dev 0x2a ino 0x2): -2", WatchPath, "device 0x2a, inode 0x2"),
    ("     1: Error (criu/files-reg.c:2267): Can't open file open: No such file or directory", FileMissing, "/open, process 1"),
    ("     1: Error (criu/files-reg.c:2353): Can't open file open on restore: No such file or directory", FileMissing, "/open, process 1"),
    ("(00.005)      7: Error (criu/files-reg.c:2227): File tmp/log has bad size 44 (expect 4)", FileSize, "/tmp/log has 44 bytes, had 4, process 7"),
    ("     1: Error (criu/files-reg.c:2294): File open has bad mode 0100600 (expect 0100644)", FileMode, "/open has mode 0600, had 0644, process 1"),
    ("Error (criu/mount.c:753): mnt: 155:./b doesn't have a proper root mount", MountOutside, "/b"),
    ("Error (criu/mount.c:724): mnt: FS mnt ./a dev 0x28 root / unsupported id 154", MountType, "/a"),
    ("Error (criu/mount.c:3141): mnt: No mapping for 262:(null) mountpoint", MountUnnamed, "mount 262 of the images"),
    ("Warn  (compel/src/lib/infect.c:132): Unable to interrupt task: 32627 (Operation not permitted)", Traced, "process 32627"),
    ("Error (criu/cr-dump.c:1655): Timeout reached. Try to interrupt: 0", FreezeTimeout, ""),
    ("Error (compel/src/lib/infect.c:323): Can't dump the 32143 thread with a pending SIGTRAP.", ProcessState, "thread 32143 has a SIGTRAP pending"),
    ("Error (compel/src/lib/infect.c:360): SEIZE 17: unsupported stop signal 21", ProcessState, "process 17 is stopped by signal 21 (SIGTTIN, SIGTTOU)"),
    ("Error (compel/src/lib/infect.c:608): Unexpected 1361 task interruption, aborting", ProcessState, "process 1361 got a signal"),
    ("Error (criu/namespaces.c:460): Can't dump nested user namespace for 32203", NamespaceNested, "user namespace of process 32203"),
    ("Error (criu/cr-dump.c:478): Task 32761 with SysVIPC shmem map @7f19cbb67000 doesn't live in IPC ns", IpcOutside, "process 32761 at 0x7f19cbb67000"),
    ("Error (criu/cr-restore.c:1237): Can't fork for 878: File exists", PidTaken, "process id 878"),
    ("Error (criu/config.c:1128): Tracking memory is not available. Consider omitting --track-mem option.", MemoryTracking, ""),
    ("Error (criu/page-pipe.c:300): page-pipe: splice: -1: Bad file descriptor", PipeSize, ""),
    ("Error (criu/cr-dump.c:389): Can't get rlimit 0: Operation not permitted", CriuRights, ""),
    ("Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds", CriuTooOld, "its vDSO is not where this criu looks"),
    ("Error (criu/protobuf.c:72): Unexpected EOF on (empty-image)", ImagesIncomplete, ""),
    ("Error (criu/protobuf.c:93): Read 8 bytes while 10 expected from /images/pstree.img: Operation not permitted", ImagesIncomplete, "/images/pstree.img"),
    ("Error (criu/image.c:563): Magic doesn't match for pstree.img", ImagesBroken, "pstree.img"),
    ("Error (criu/image.c:887): Unexpected EOF", ImagesIncomplete, ""),
    ("Error (criu/image.c:89): Not supported images version 127", ImagesVersion, "version 127"),
    ("Error (criu/arch/x86/cpu.c:223): cpu: CPU instruction capabilities do not match run time", CpuMismatch, ""),
    ("Error (criu/util.c:642): execvp(\"tar\", ...) failed: No such file or directory", TarMissing, ""),
    ("Error (criu/uffd.c:349): uffd: connect to lazy-pages.socket failed: No such file or directory", LazyPages, "lazy-pages.socket"),
    ("Error (criu/lsm.c:406): apparmor LSM specified but apparmor not supported by kernel", Lsm, "apparmor"),
    ("Error (criu/lsm.c:397): invalid argument x for --lsm-profile", Lsm, "x"),
    ("Error (criu/page-xfer.c:263): page-xfer: Unable to spice data: No space left on device", NoSpace, ""),
];

/// Lines as CRIU's sources have them (3.17 to 4.2), with words as they may be: nothing here could be made to write them.
#[rustfmt::skip]
const OF_SOURCES: &[Example] = &[
    ("Error (criu/image.c:94): Need to set the --tcp-close options.", TcpClosed, ""),
    ("Error (criu/sk-inet.c:208): inet: Unknown inet socket 1a2b state 3", TcpChanging, "socket 0x1a2b, state 3"),
    ("Error (criu/sk-inet.c:137): inet: Unsupported proto 132 for socket 1a2b", SocketProtocol, "protocol 132, socket 0x1a2b"),
    ("Error (criu/sk-inet.c:167): inet: Can't dump 5 inet socket 1a2b. Only stream, dgram and raw are supported.", SocketProtocol, "socket 0x1a2b of type 5"),
    ("Error (criu/sk-inet.c:153): inet: Can't dump corked dgram socket 1a2b", SocketCorked, "socket 0x1a2b"),
    ("Error (criu/sockets.c:448): sockets: Sockets (family 17 proto 0) are not collected", SocketFamily, "address family 17, protocol 0"),
    ("Error (criu/net.c:3822): net: Unable to dump a socket from an external network namespace", SocketNamespace, ""),
    ("Error (criu/sk-unix.c:351): unix: Unix socket 17 not found", SocketNamespace, "socket 17"),
    ("     7: Error (criu/sk-inet.c:1059): inet: Can't bind inet socket (id 5): Cannot assign requested address", AddressMissing, "process 7"),
    ("     7: Error (criu/sk-inet.c:1059): inet: Can't bind inet socket (id 5): Address already in use", AddressTaken, "process 7"),
    ("     7: Error (criu/sk-inet.c:944): inet: Can't listen on a socket: Address already in use", AddressTaken, "process 7"),
    ("     7: Error (criu/sk-unix.c:1912): unix: External socket found in image. Consider using the --ext-unix-sk option to allow restoring it.", UnixExternal, "process 7"),
    ("Error (criu/sk-unix.c:479): unix: Dangling connection 17", UnixExternalStream, "socket 17"),
    ("Error (criu/sk-unix.c:888): unix: Can't dump name-less external socket.", UnixExternalUnnamed, ""),
    ("Error (criu/sk-unix.c:428): unix: Unix socket 17 with unreachable peer 18 (0)", UnixExternalUnnamed, "socket 17 to inode 18"),
    ("Error (criu/sk-unix.c:506): unix: Non-empty write queue on an in-flight socket 0x11", UnixInFlight, "socket 0x11"),
    ("Error (criu/sk-unix.c:494): unix: In-flight connection on non-listening socket 17", UnixInFlight, "socket 17"),
    ("Error (criu/util.c:642): execvp(\"ip\", ...) failed: No such file or directory", IpMissing, ""),
    ("Error (criu/net.c:3415): net: CRIU was built without libnftables support", NetworkLock, "this criu knows no nftables"),
    ("Error (criu/net.c:3412): net: Locking network failed using nftables", NetworkLock, "nftables"),
    ("Error (criu/netfilter.c:276): Locking connection failed using nftables", NetworkLock, "nftables"),
    ("Error (criu/netfilter.c:105): Iptables configuration failed", NetworkLock, "iptables"),
    ("Error (criu/sk-tcp.c:81): tcp: Failed to lock TCP connection 1a2b", NetworkLock, "connection 0x1a2b"),
    ("Error (criu/net.c:650): net: Unsupported link 3 (type 65534 kind wireguard)", NetworkDevice, "interface 3, wireguard"),
    ("Error (criu/net.c:2073): net: IP tool failed on addr restore  ", NetworkRestore, "ip addr restore"),
    ("     1: Error (criu/net.c:2051): net: Unable to restore network links", NetworkRestore, "process 1"),
    ("Error (criu/page-xfer.c:1534): page-xfer: The page server doesn't answer: Success", PageServer, ""),
    ("Error (criu/page-xfer.c:1113): page-xfer: Remote side closed connection", PageServer, ""),
    ("Error (criu/page-xfer.c:191): page-xfer: Can't write pages to socket: Connection reset by peer", PageServer, ""),
    ("Error (criu/page-xfer.c:150): page-xfer: Can't send PSI 6 to server: Broken pipe", PageServer, ""),
    ("Error (criu/uffd.c:1361): uffd: Restorer unexpectedly closed the connection", LazyPages, ""),
    ("Error (criu/tty.c:1830): tty: Found dangling tty with sid 17 pgid 18 (pts) on peer fd 0.", Session, "session 17"),
    ("Error (criu/tty.c:2281): tty: ctty inheritance detected sid/pgrp 17, no PTY peer with sid/pgrp needed", Session, "session 17"),
    ("Error (criu/cr-dump.c:1272): A session leader of zombie process 17(3) is outside of its pid namespace", Session, "zombie process 17"),
    ("Error (criu/cr-dump.c:1528): A session leader of 17(3) is outside of its pid namespace", Session, "process 17"),
    ("Error (criu/pstree.c:304): The root process 5 is not a session leader. Consider using --shell-job option", Session, "process 5 in the container"),
    ("     1: Error (criu/tty.c:1010): tty: Don't have tty to inherit session from, aborting", TtyInherit, "process 1"),
    ("Error (criu/files-reg.c:1790): Can't lookup mount=29 for fd=0 path=/dev/tty1", TtyOutside, "/dev/tty1, descriptor 0"),
    ("Error (criu/file-lock.c:102): Unresolved lock found pid 17 ino 18", FileLock, "inode 18, of process 17"),
    ("Error (criu/files-ext.c:94): Can't dump file 5 of that type [600] (anon anon_inode:[io_uring])", IoUring, "descriptor 5"),
    ("Error (criu/bpfmap.c:262): bpfmap: CRIU does not currently support dumping BPF map type 9!", FileKind, "BPF map of type 9"),
    ("Error (criu/pipes.c:500): The packetized mode for pipes is not supported yet", FileKind, "a pipe of packets (O_DIRECT)"),
    ("Error (criu/proc_parse.c:663): Can't handle non-regular mapping on 17's map 7f0000000000", DeviceMapped, "process 17 at 0x7f0000000000"),
    ("Error (criu/proc_parse.c:760): Unsupported mapping found 00007f0000000000-00007f0000001000", DeviceMapped, "0x00007f0000000000-0x00007f0000001000"),
    ("Error (criu/proc_parse.c:614): PID 17 has uprobes vma. Consider using --allow-uprobes.", Uprobes, "process 17"),
    ("Error (criu/fsnotify.c:284): fsnotify: \tCan't dump that handle", WatchPath, ""),
    ("     1: Error (criu/fsnotify.c:565): fsnotify: Can't add watch for 0x3 with 0x1: No space left on device", WatchLimit, "process 1"),
    ("Error (criu/pidfd.c:97): pidfd: pidfd pid 17 is not a part of process tree..", PidfdOutside, "process 17"),
    ("Error (criu/eventpoll.c:322): epoll: Escaped/closed fd descriptor 5 on pid 17", EpollTarget, "descriptor 5 of process 17"),
    ("     1: Error (criu/files-reg.c:2153): File bin/sh has bad build-ID", FileChanged, "/bin/sh, process 1"),
    ("     1: Error (criu/files-reg.c:2294): File open has bad mode 040700 (expect 040755)", FileMode, "/open has mode 040700, had 040755, process 1"),
    ("Error (criu/files-reg.c:980): Can't open ghost original file: No such file or directory", FileMissing, ""),
    ("Error (criu/mount.c:1092): mnt: Mount 17 ./a (master_id: 3 shared_id: 0) has unreachable sharing. Try --enable-external-masters.", MountSharing, "/a"),
    ("Error (criu/mount.c:3120): mnt: Mount 17:./a is autodetected external mount. Try \"--ext-mount-map auto\" to allow them.", MountUnnamed, "/a"),
    ("Error (criu/mount.c:3141): mnt: No mapping for 17:./volume mountpoint", MountUnnamed, "/volume"),
    ("Error (criu/filesystems.c:552): ./a is a fuse mount but not external", MountFuse, "/a"),
    ("Error (criu/filesystems.c:663): failed to dump fs ./a (fuse): always fail", MountFuse, "/a"),
    ("Error (criu/filesystems.c:663): failed to dump fs ./a (simfs): always fail", MountContents, "/a (simfs)"),
    ("Error (criu/mount.c:1809): mnt: Unable to dump a file system for 17:./a", MountContents, "/a"),
    ("Error (criu/filesystems.c:650): mqueue isn't empty", MountContents, "mqueue"),
    ("Error (criu/filesystems.c:650): pstore isn't empty", MountContents, "pstore"),
    ("     1: Error (criu/mount.c:1996): mnt: A few mount points can't be mounted", MountRestore, "process 1"),
    ("     1: Error (criu/mount.c:2301): mnt: Can't mount at /a: No such file or directory", MountRestore, "/a: No such file or directory, process 1"),
    ("     1: Error (criu/mount.c:2236): mnt: Unable to mount tmpfs /a (id=17): Invalid argument", MountRestore, "/a: Invalid argument, process 1"),
    ("     1: Error (criu/mount-v2.c:319): mnt-v2: Failed to open_tree /a: Invalid argument", MountRestore, "open_tree /a: Invalid argument, process 1"),
    ("Warn  (compel/src/lib/infect.c:132): Unable to interrupt task: 17 (No such process)", ProcessGone, "process 17"),
    ("Error (criu/seize.c:635): Unable to freeze cgroup /sys/fs/cgroup/freezer/x (100 x 100ms attempts, timeout: 10s)", FreezeTimeout, "/sys/fs/cgroup/freezer/x, 10s"),
    ("Error (criu/seize.c:602): Unable to freeze cgroup /sys/fs/cgroup/x", FreezeTimeout, "/sys/fs/cgroup/x"),
    ("Error (compel/src/lib/infect.c:262): Unseizable non-zombie 17 found, state S, err -1/1", Traced, "process 17, state S"),
    ("Error (criu/seize.c:952): Individually stopped threads not supported", ProcessState, "single threads are stopped"),
    ("Error (criu/seize.c:882): Zombies with threads are not supported", ProcessState, "a thread group leader has ended before its threads"),
    ("Error (criu/seize.c:939): Zombie thread not supported", ProcessState, "a thread has ended and waits to be reaped"),
    ("Error (compel/src/lib/infect.c:283): SEIZE 17: task not stopped after seize", ProcessState, "process 17: task not stopped after seize"),
    ("Error (criu/cr-dump.c:1256): A root task is dead", ProcessState, "its first process has ended"),
    ("Error (criu/namespaces.c:997): One or more namespaces doesn't belong to the target user namespace", NamespaceNested, ""),
    ("     5: Error (criu/cr-restore.c:1546): Pid 9 do not match expected 5", PidTaken, "process id 5"),
    ("Error (criu/pstree.c:386): Current sid 17 intersects with pid (17) in images", PidTaken, "process id 17"),
    ("Error (criu/cr-restore.c:2042): This process tree can only be restored in a new pid namespace.", PidNamespace, ""),
    ("Error (criu/cr-restore.c:2057): Can't restore pid namespace without the process init", PidNamespace, ""),
    ("Error (criu/namespaces.c:1117): Can't dump a pid namespace without the process init", PidNamespace, ""),
    ("Error (criu/cr-restore.c:1164): Unable to find an external pidns: extRootPidNS", PidNamespace, "extRootPidNS"),
    ("Error (compel/src/lib/infect.c:260): The criu itself is within dumped tree.", Unsupported, "criu is one of its processes"),
    ("Error (criu/kerndat.c:1340): UFFD is not supported", Userfaultfd, ""),
    ("Error (criu/kerndat.c:1350): Lazy pages are not available", Userfaultfd, ""),
    ("Error (criu/uffd.c:314): uffd: Unable to open an userfaultfd descriptor: Operation not permitted", Userfaultfd, "Operation not permitted"),
    ("Error (criu/arch/x86/cpu.c:247): cpu: FPU feature required by image is not supported on host (expecting 1 but have 0)", CpuMismatch, "FPU"),
    ("Error (criu/arch/x86/cpu.c:274): cpu: CPU xsave size mismatch (2696/832)", CpuMismatch, "xsave 2696/832"),
    ("Error (criu/arch/x86/cpu.c:278): cpu: CPU xsave max size mismatch (2696/832)", CpuMismatch, "xsave 2696/832"),
    ("Error (criu/arch/x86/cpu.c:262): cpu: CPU xfeatures has unsupported bits (0x200)", CpuMismatch, "xfeatures 0x200"),
    ("pie: 1: Error (criu/pie/restorer.c:196): can't write lsm profile -2", Lsm, "process 1"),
    ("Error (criu/lsm.c:360): mismatched lsm types and lsm profile specified", Lsm, ""),
    ("Error (criu/cr-dump.c:228): 17 has rseq but kernel lacks get_rseq_conf feature", KernelFeature, "thread 17 uses rseq"),
    ("     1: Error (criu/cr-restore.c:2657): rseq: can't restore as kernel doesn't support it", KernelFeature, "rseq, process 1"),
    ("Error (criu/cr-check.c:1200): Time namespaces are not supported", KernelFeature, "time namespaces"),
    ("Error (criu/cr-check.c:124): /proc/<pid>/map_files is inaccessible: Operation not permitted", KernelFeature, "/proc/<pid>/map_files: Operation not permitted"),
    ("Error (criu/cr-check.c:191): System call kcmp is not supported: Function not implemented", KernelFeature, "kcmp"),
    ("Error (criu/pidfd-store.c:60): pidfd_open syscall is not supported", KernelFeature, "pidfd_open"),
    ("Error (criu/cr-check.c:223): prctl: PR_SET_MM_BRK is not supported: Invalid argument", KernelFeature, "PR_SET_MM_BRK"),
    ("Error (criu/cr-check.c:740): Dumping seccomp filters not supported: Input/output error", KernelFeature, "seccomp filters"),
    ("Error (criu/image.c:198): Missing required plugin: cuda_plugin.so", PluginMissing, "cuda_plugin.so"),
    ("Error (criu/protobuf.c:72): Unexpected EOF on mm-1.img", ImagesIncomplete, "mm-1.img"),
    ("Error (criu/protobuf.c:76): Read 2 bytes while 4 expected on pstree.img: Success", ImagesIncomplete, "pstree.img"),
    ("Error (criu/image.c:871): Img trimmed 8/16", ImagesIncomplete, ""),
    ("Error (criu/protobuf.c:101): Failed unpacking object 0x5581 from pstree.img", ImagesBroken, "pstree.img"),
    ("Error (criu/image.c:554): Head magic doesn't match for stats-dump", ImagesBroken, "stats-dump"),
    ("Error (criu/cr-restore.c:2513): Image corrupted on pid 5", ImagesBroken, "of process 5"),
    ("Error (criu/pstree.c:907): No kIDs provided, image corruption", ImagesBroken, ""),
    ("Error (criu/image.c:52): Too old image, no longer supported", ImagesVersion, ""),
    ("     1: Error (criu/cr-restore.c:861): Core march mismatch 3", ImagesMachine, "process 1"),
    ("Error (criu/image.c:635): Unable to open inventory.img: No such file or directory", ImagesIncomplete, "inventory.img"),
    ("Error (criu/image.c:635): Unable to open inventory.img: Permission denied", ImageDirectory, "inventory.img: Permission denied"),
    ("Error (criu/cr-service.c:344): Can't open images directory: Permission denied", ImageDirectory, "Permission denied"),
    ("Error (criu/image.c:726): Can't open dir /images: Not a directory", ImageDirectory, "/images: Not a directory"),
    ("Error (criu/image.c:845): Can't write img file: Disk quota exceeded", NoSpace, ""),
    ("Error (criu/image.c:635): Unable to create x: Read-only file system", ReadOnly, ""),
    ("Error (criu/mem.c:1363): Unable to reserve memory (4096 bytes): Cannot allocate memory", NoMemory, ""),
];

fn parse(lines: &[&str]) -> Vec<Line> {
    lines
        .iter()
        .map(|line| Line::parse(line).unwrap_or_else(|| panic!("no line of CRIU's: {line}")))
        .collect()
}

fn examples() -> impl Iterator<Item = &'static Example> {
    REAL.iter().chain(OF_SOURCES)
}

#[test]
fn lines_are_understood() {
    for (text, class, object) in examples() {
        let found = diagnose(&parse(&[text])).unwrap_or_else(|| panic!("not understood: {text}"));
        assert_eq!((found.class, found.object.unwrap_or_default().as_str()), (*class, *object), "{text}");
        assert!(!found.cure.is_empty() && !found.cure.contains('{'), "{text}: {}", found.cure);
    }
}

#[test]
fn every_rule_has_its_line_and_every_word_its_gap() {
    let lines = parse(&examples().map(|(text, ..)| *text).collect::<Vec<_>>());
    for (index, rule) in RULES.iter().enumerate() {
        let is_first = |line: &&Line| {
            RULES.iter().position(|other| other.pattern.find(&line.text).is_some()) == Some(index)
        };
        assert!(lines.iter().any(|line| is_first(&line)), "no line for {:?}", rule.pattern.0);
        let gaps = |text: &'static str| {
            text.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|piece| piece.0)
        };
        let known: Vec<_> = gaps(rule.pattern.0).collect();
        assert!(
            gaps(rule.object).chain(gaps(rule.cure)).all(|word| known.contains(&word)),
            "{:?}",
            rule.pattern.0
        );
    }
}

#[test]
fn every_class_is_found_in_a_log_but_those_that_are_known_before_criu_is_asked() {
    let found: BTreeSet<&str> = examples().map(|(_, class, _)| class.name()).collect();
    let known_before = [ExecProcess, CriuMissing, CriuDied];
    for class in Class::ALL {
        assert_eq!(found.contains(class.name()), !known_before.contains(class), "{class}");
    }
}

fn told(lines: &[&str]) -> Diagnosis {
    diagnose(&parse(lines)).unwrap()
}

#[test]
fn the_first_error_that_is_known_wins_over_warnings_and_consequences() {
    let lines = [
        "Warn  (compel/src/lib/infect.c:133): Unable to interrupt task: 7 (No such process)",
        "Error (criu/x.c:1): something unheard of",
        "Error (criu/sk-inet.c:192): inet: Connected TCP socket, consider using --tcp-established option.",
        "Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks!",
    ];
    assert_eq!(told(&lines).class, TcpEstablished);
    assert_eq!(told(&lines[..2]).class, ProcessGone);
    assert_eq!(diagnose(&parse(&lines[1..2])), None);
    assert_eq!(diagnose(&parse(&["Warn  (criu/a.c:1): Time namespaces are not supported"])), None);
}

#[test]
fn the_process_is_named_by_the_consequences() {
    let dump = [
        "pie: 1: Error (criu/pie/parasite.c:588): send_fds failed (-22)",
        "Error (criu/parasite-syscall.c:280): Can't retrieve FDs from socket",
        "Error (criu/cr-dump.c:1545): Dump files (pid: 4711) failed with -1",
        "Error (criu/cr-dump.c:1975): Dumping FAILED.",
    ];
    let diagnosis = told(&dump);
    assert_eq!((diagnosis.pid, diagnosis.object.as_deref()), (Some(4711), Some("process 4711")));
    let text = "a process uses io_uring, which CRIU cannot dump: process 4711 (make the program do without io_uring (a \
                seccomp profile can refuse it)) [io-uring]";
    assert_eq!(diagnosis.to_string(), text);
}

#[test]
fn what_the_line_tells_is_in_the_cure() {
    let line =
        "Error (criu/files-reg.c:1031): Can't dump ghost file /a of 1 size of 2097152 size, increase limit";
    let diagnosis = told(&[line]);
    assert_eq!(diagnosis.object.as_deref(), Some("/a of 1 size of 2097152 bytes"));
    assert_eq!(diagnosis.cure, "pass --ghost-limit 2097152 or more");
    assert_eq!((diagnosis.line.as_str(), parse(&[line])[0].level), (line, Level::Error));
}
