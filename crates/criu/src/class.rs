//! The kinds of failure that have a name, what each means and what to do: the vocabulary of error messages, of the check before
//! a dump, and of docs/diagnosis.md.

use std::fmt;

/// What stands in the table for one class.
struct Entry {
    name: &'static str,
    problem: &'static str,
    cure: &'static str,
}

macro_rules! classes {
    ($($class:ident $name:literal $problem:literal $cure:literal)+) => {
        /// A kind of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Class {
            $(#[doc = concat!("`", $name, "`: ", $problem, ".")] $class,)+
        }

        impl Class {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$class),+];

            fn entry(self) -> Entry {
                match self {
                    $(Self::$class => Entry { name: $name, problem: $problem, cure: $cure },)+
                }
            }
        }
    };
}

classes! {
    // Sockets.
    TcpEstablished "tcp-established"
        "a TCP connection is established"
        "pass --tcp-established to keep it, or --tcp-close to drop it"
    TcpInFlight "tcp-in-flight"
        "a TCP connection waits to be accepted"
        "pass --tcp-skip-in-flight to leave it out"
    TcpClosed "tcp-closed"
        "the images were made with --tcp-close"
        "pass --tcp-close at the restore, too"
    TcpChanging "tcp-changing"
        "a TCP connection is just being made"
        "try again"
    SocketProtocol "socket-protocol"
        "a socket speaks a protocol that CRIU cannot dump"
        "close it first (a Go program does without MPTCP with GODEBUG=multipathtcp=0)"
    SocketFamily "socket-family"
        "a socket is of a family that CRIU cannot dump"
        "close it first"
    SocketNamespace "socket-namespace"
        "a socket belongs to a network namespace outside"
        "close it first, or run the container in that namespace: CRIU looks for sockets in those of the container's processes"
    SocketCorked "socket-corked"
        "a UDP socket holds back a packet"
        "try again when it has been sent"
    SocketUnread "socket-unread"
        "a netlink socket has unread messages"
        "try again when they have been read"
    AddressMissing "address-missing"
        "an address that a socket was bound to is not on this machine"
        "add the address to an interface, or restore into a network namespace that has it"
    AddressTaken "address-taken"
        "a port that a socket was bound to is taken"
        "stop the process that listens there"
    UnixExternal "unix-external"
        "a unix datagram socket is connected to a process outside"
        "pass --ext-unix-sk, or close the socket first"
    UnixExternalStream "unix-external-stream"
        "a unix connection leads to a process outside"
        "close it first: --ext-unix-sk helps with datagram sockets only"
    UnixExternalUnnamed "unix-external-unnamed"
        "a unix socket is connected to an unnamed one outside"
        "close it first, or pass --external unix[INODE]"
    UnixElsewhere "unix-elsewhere"
        "a unix socket is connected to one in another network namespace"
        "close it first: --ext-unix-sk helps with sockets of the container's own network namespace only"
    UnixInFlight "unix-in-flight"
        "a unix connection waits to be accepted and has been written to"
        "try again when it has been accepted"
    UnixPeerMissing "unix-peer-missing"
        "the other end of a unix socket is not there to connect to"
        "start the process that listens there first: the socket is looked for by the path that it was bound to"

    // Network.
    IptablesMissing "iptables-missing"
        "iptables is not installed"
        "install iptables, or choose --network-lock nftables, or skip"
    IpMissing "ip-missing"
        "ip is not installed"
        "install iproute2: CRIU reads and makes network devices with it"
    NetworkLock "network-lock"
        "packets cannot be held back"
        "choose another --network-lock (iptables or nftables), or skip where no connection must survive"
    NetworkDevice "network-device"
        "a network device is of a kind that CRIU cannot dump"
        "remove it, or declare its namespace external: --external net[INODE]:NAME"
    NetworkRestore "network-restore"
        "the network namespace cannot be made as it was"
        "look at the lines before it in the log, or restore into a network namespace that is given by path"
    PageServer "page-server"
        "the page server cannot be reached, or has gone"
        "start it first (`rt page-server`); if it was there, look at its own log, and at the disk that it writes to"
    LazyPages "lazy-pages"
        "nobody serves the memory"
        "start `rt lazy-pages` with the same --work-path first"

    // Terminals and sessions.
    TtyOutside "tty-outside"
        "a process uses a terminal of the host"
        "start with a terminal of its own (--console-socket), or pass --shell-job, or --external tty[RDEV:DEV]"
    TtyMaster "tty-master"
        "the other side of a terminal is outside"
        "pass --shell-job, or start with a terminal of its own (--console-socket)"
    TtySecond "tty-second"
        "more than one terminal has its other side outside"
        "end what was started with `exec --tty`"
    TtyInherit "tty-inherit"
        "the images hold a terminal from outside"
        "pass --shell-job and restore from a terminal"
    Session "session"
        "a process belongs to a session from outside"
        "pass --shell-job"

    // Files.
    FileOutside "file-outside"
        "a file outside the container's mounts is open"
        "close it first, or declare it external: --external file[MOUNT:INODE]"
    FileCovered "file-covered"
        "a file is open that lies under a later mount"
        "close it, or unmount what covers it"
    FileReplaced "file-replaced"
        "another file has the name of an open one"
        "have the program open it again"
    FileLock "file-lock"
        "a process holds a file lock"
        "pass --file-locks"
    GhostFile "ghost-file"
        "a deleted file that is still open is too large"
        "raise --ghost-limit above its size"
    LinkRemap "link-remap"
        "an open file was unlinked under the name it was opened by"
        "pass --link-remap"
    IoUring "io-uring"
        "a process uses io_uring, which CRIU cannot dump"
        "make the program do without io_uring (a seccomp profile can refuse it)"
    FileKind "file-kind"
        "a file of a kind that CRIU cannot dump is open"
        "close it first, or load the CRIU plugin for that device"
    DeviceMapped "device-mapped"
        "a device is mapped into memory"
        "unmap it first, or load the CRIU plugin for that device"
    WatchPath "watch-path"
        "a watched inode has no path that CRIU finds"
        "put force-irmap and irmap-scan-path into CRIU's configuration file"
    WatchLimit "watch-limit"
        "no more inotify watches are allowed"
        "raise fs.inotify.max_user_watches"
    PidfdOutside "pidfd-outside"
        "a pidfd names a process outside"
        "close it first"
    EpollTarget "epoll-target"
        "an epoll watches a descriptor that has been closed"
        "have the program remove it from the epoll, or use a kernel with CONFIG_KCMP"
    Uprobes "uprobes"
        "a process is being traced by uprobes"
        "stop the tracer, or put allow-uprobes into CRIU's configuration file"
    FileMissing "file-missing"
        "a file that was open is missing"
        "bring the root file system to the state it had at the dump"
    FileSize "file-size"
        "a file changed its size since the dump"
        "restore it to the size it had: logs and other appended files must be moved along with the images"
    FileMode "file-mode"
        "a file changed its permissions since the dump"
        "restore them, or pass --skip-file-rwx-check"
    FileChanged "file-changed"
        "a program or library is not the one that was dumped"
        "use the same root file system as at the dump"

    // Mounts.
    MountSharing "mount-sharing"
        "a mount shares propagation with mounts outside"
        "make it private, or put enable-external-masters into CRIU's configuration file"
    MountOutside "mount-outside"
        "a bind mount leads outside"
        "unmount it, or declare it external: --external mnt[PLACE]:NAME"
    MountUnnamed "mount-unnamed"
        "an external mount of the images has nothing to stand for it"
        "restore with the bundle that it was dumped with, or name it: --external mnt[NAME]:SOURCE"
    MountType "mount-type"
        "a file system is of a type that CRIU does not know"
        "declare it external (--external mnt[PLACE]:NAME), or accept the type with enable-fs in CRIU's configuration file"
    MountFuse "mount-fuse"
        "there is a FUSE mount"
        "unmount it, or declare it external: --external mnt[PLACE]:NAME"
    MountContents "mount-contents"
        "what a mount holds cannot be written down"
        "empty or unmount it"
    MountRestore "mount-restore"
        "a mount cannot be made as it was"
        "look at the lines before it in the log; --mntns-compat-mode uses CRIU's older way"
    TarMissing "tar-missing"
        "tar is not installed"
        "install tar: CRIU packs the files of each tmpfs with it"

    // Processes.
    ExecProcess "exec-process"
        "a process came in by exec and belongs to its caller"
        "end it first, or start it with `exec --detach` and no pid-file"
    Traced "traced"
        "a process is traced by another"
        "detach the debugger or tracer"
    ProcessGone "process-gone"
        "the process is gone"
        "nothing is left to dump"
    ProcessState "process-state"
        "a process is in a state that CRIU cannot dump"
        "try again"
    FreezeTimeout "freeze-timeout"
        "the processes did not stop in time"
        "look for one in uninterruptible sleep, or raise --timeout"
    NamespaceNested "namespace-nested"
        "a process has a namespace of its own that CRIU cannot dump"
        "end it first"
    IpcOutside "ipc-outside"
        "a process uses System V shared memory of the host"
        "give the container an ipc namespace of its own"
    PidTaken "pid-taken"
        "a process id of the images is taken"
        "restore into a new pid namespace, or end the process that has it"
    PidNamespace "pid-namespace"
        "the images and the bundle differ in their pid namespace"
        "restore with a pid namespace of the kind that was dumped (own, or joined by path)"
    Unsupported "unsupported"
        "the container has what CRIU cannot bring back"
        "start it without"

    // Memory, processor, kernel, CRIU itself.
    MemoryTracking "memory-tracking"
        "the kernel does not track which memory changes"
        "this needs CONFIG_MEM_SOFT_DIRTY: do without --pre-dump and --parent-path, or use --lazy-pages"
    Userfaultfd "userfaultfd"
        "the kernel has no userfaultfd for this"
        "do without --lazy-pages, or set vm.unprivileged_userfaultfd or CONFIG_USERFAULTFD"
    PipeSize "pipe-size"
        "the kernel refuses a pipe as large as needed"
        "raise /proc/sys/fs/pipe-max-size to 8388608, or give CAP_SYS_RESOURCE"
    CpuMismatch "cpu-mismatch"
        "this processor lacks features that the dumped processes may use"
        "restore on one of the same kind, or ask for less with --cpu-cap"
    Lsm "lsm"
        "the security profile of the images cannot be set here"
        "load that profile, or name another: --lsm-profile TYPE:NAME"
    KernelFeature "kernel-feature"
        "the kernel lacks what CRIU needs"
        "look at `rt criu check`, and use a kernel with CONFIG_CHECKPOINT_RESTORE"
    CriuTooOld "criu-too-old"
        "this criu is too old for this kernel"
        "install CRIU 4.2 or later"
    CriuMissing "criu-missing"
        "there is no criu that can be used"
        "install criu, or name it with RT_CRIU"
    CriuRights "criu-rights"
        "CRIU may not do what this takes"
        "give it CAP_SYS_RESOURCE, without which it can dump processes of its own user only"
    CriuDied "criu-died"
        "criu ended without a word"
        "look whether somebody or the OOM killer ended it; if nobody did, its makers would like to see its log"
    PluginMissing "plugin-missing"
        "the images need a plugin that this CRIU does not have"
        "install the plugin, or name its directory in CRIU_LIBS_DIR"

    // Images and disk.
    ImagesIncomplete "images-incomplete"
        "the images are incomplete"
        "look whether the dump that wrote them succeeded, and whether this is its directory"
    ImagesBroken "images-broken"
        "an image is damaged, or is none of CRIU's"
        "copy the images again from where they were made"
    ImagesVersion "images-version"
        "the images were written by another version of CRIU, in a format that this one does not read"
        "restore with the version that wrote them, or a later one"
    ImagesMachine "images-machine"
        "the images are those of another kind of machine"
        "restore on the kind that they were made on"
    ImageDirectory "image-directory"
        "the directory of the images cannot be used"
        "look at its path and permissions"
    NoSpace "no-space"
        "no space left on device"
        "free some, or choose another --image-path"
    ReadOnly "read-only"
        "read-only file system"
        "choose another --image-path"
    NoMemory "no-memory"
        "there is not enough memory"
        "free some, or raise the limit of the cgroup"
}

impl Class {
    /// Its name, as logs and tables show it; it stays the same from version to version.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What is wrong, in a few words.
    pub fn problem(self) -> &'static str {
        self.entry().problem
    }

    /// What to do, when nothing more is known.
    pub fn cure(self) -> &'static str {
        self.entry().cure
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Class;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_class_has_a_name_of_its_own_and_plain_words() {
        let names: BTreeSet<_> = Class::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), Class::ALL.len());
        for class in Class::ALL {
            let is_kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(class.name().chars().all(is_kebab), "{class}");
            assert!(class.problem().len() > 8 && class.cure().len() > 8, "{class}");
            assert!(!format!("{}{}", class.problem(), class.cure()).contains(['\n', '|']), "{class}");
        }
    }

    /// `make docs` (`RT_BLESS=1`) writes the table; otherwise this compares.
    #[test]
    fn manual_has_the_table() {
        const BEGIN: &str = "| class | what it means | what to do |\n|---|---|---|\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnosis.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("the table's head");
        let rows = |class: &Class| format!("| `{class}` | {} | {} |\n", class.problem(), class.cure());
        let table: String = Class::ALL.iter().map(rows).collect();
        let after = rest
            .lines()
            .skip_while(|line| line.starts_with('|'))
            .fold(String::new(), |text, line| text + line + "\n");
        let right = format!("{before}{BEGIN}{table}{after}");
        if std::env::var_os("RT_BLESS").is_some() {
            std::fs::write(&path, &right).unwrap();
        }
        assert!(
            page == right || std::env::var_os("RT_BLESS").is_some(),
            "docs/diagnosis.md: run `make docs`"
        );
    }
}
