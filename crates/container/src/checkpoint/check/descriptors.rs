//! What a process has open, sockets aside.

use super::super::files::protocol;
use super::Allowed;
use super::finding::Finding;
use super::proc::{beginning, field, link, numbers, stat};
use super::processes::Process;
use criu::Class;
use rustix::fs::{FileType, Statx};
use std::collections::{BTreeMap, BTreeSet};

/// What is of use stands at the beginning; an epoll may have a line for each of thousands of files.
const LONGEST_INFO: u64 = 4096;

/// An open file.
#[derive(Debug, Default)]
pub(super) struct Descriptor {
    pub(super) number: i32,
    /// The kernel's words for it: a path, `socket:[7]`, `anon_inode:[eventfd]`.
    pub(super) link: String,
    /// `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5)).
    pub(super) info: String,
    /// The file, where the link is a path.
    pub(super) file: Option<Inode>,
    /// Of a socket: its protocol (`TCP`, `UNIX-STREAM`), as the kernel calls it.
    pub(super) protocol: String,
    /// What it is, where it looks like a file and cannot be kept like one.
    pub(super) special: Option<&'static str>,
}

/// What must be known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) kind: FileType,
    pub(super) links: u32,
    /// What it takes up on the disk, in bytes.
    pub(super) size: u64,
    pub(super) number: u64,
    /// Of a device: its numbers.
    pub(super) device: (u32, u32),
}

impl Inode {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.stx_mode.into()),
            links: stat.stx_nlink,
            // CRIU goes by the blocks, which are 512 bytes whatever the file system's are (statx(2)).
            size: stat.stx_blocks * 512,
            number: stat.stx_ino,
            device: (stat.stx_rdev_major, stat.stx_rdev_minor),
        }
    }
}

impl Descriptor {
    /// All that a process has open.
    pub(super) fn all(pid: i32) -> Vec<Self> {
        let numbers = numbers(&format!("/proc/{pid}/fd"));
        numbers.into_iter().filter_map(|number| Self::read(pid, number)).collect()
    }

    fn read(pid: i32, number: i32) -> Option<Self> {
        let path = format!("/proc/{pid}/fd/{number}");
        let link = link(&path)?;
        let file = link.starts_with('/').then(|| stat(&path)).flatten().map(|stat| Inode::of(&stat));
        let protocol = if link.starts_with("socket:") { protocol(path.as_ref()) } else { String::new() };
        let info = beginning(&format!("/proc/{pid}/fdinfo/{number}"), LONGEST_INFO).unwrap_or_default();
        let is_file = file.is_some_and(|file| file.kind == FileType::RegularFile);
        let special = is_file.then(|| special(&path)).flatten();
        Some(Self { number, link, info, file, protocol, special })
    }

    /// A file of which nothing but these texts is known.
    pub(super) fn of_text(number: i32, link: &str, info: &str) -> Self {
        let size = info.len() as u64;
        let file = Inode { kind: FileType::RegularFile, links: 0, size, number: size, device: (0, 0) };
        Self {
            number,
            link: link.to_owned(),
            info: info.to_owned(),
            file: Some(file),
            protocol: link.to_owned(),
            special: None,
        }
    }

    /// The mount that it was opened through.
    pub(super) fn mount(&self) -> Option<u64> {
        field(&self.info, "mnt_id")?.parse().ok()
    }

    /// Of a socket: its inode.
    pub(super) fn socket(&self) -> Option<u64> {
        self.link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }

    /// Of a terminal's slave: its index.
    pub(super) fn terminal(&self) -> Option<u32> {
        const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;
        let (major, minor) = self.file?.device;
        SLAVES.contains(&major).then(|| (major - SLAVES.start()) * 256 + minor)
    }

    /// Of a terminal's master: the index of its slave.
    pub(super) fn master_of(&self) -> Option<u32> {
        field(&self.info, "tty-index")?.parse().ok()
    }
}

/// Files of kinds that CRIU(4.2) does not know, by the magic number of their file system (statfs(2)).
fn special(path: &str) -> Option<&'static str> {
    const MQUEUE: i64 = 0x1980_0202;
    const SECRET_MEMORY: i64 = 0x5345_434d;
    match rustix::fs::statfs(path).ok()?.f_type {
        MQUEUE => Some("POSIX message queue"),
        SECRET_MEMORY => Some("secret memory"),
        _ => None,
    }
}

/// What a descriptor is judged by.
pub(super) struct Surroundings<'a> {
    /// All mounts of the container, and whether each is covered by another.
    pub(super) mounts: &'a BTreeMap<u64, bool>,
    /// All its processes.
    pub(super) pids: &'a BTreeSet<i32>,
    pub(super) allowed: &'a Allowed,
}

/// What stands in the way of one descriptor.
pub(super) fn judge(descriptor: &Descriptor, process: &Process, around: &Surroundings<'_>) -> Vec<Finding> {
    let who = || format!("descriptor {} of {}", descriptor.number, process.shown());
    let mut findings = Vec::new();
    if field(&descriptor.info, "lock").is_some() {
        let object = format!("{}, {}", descriptor.link, who());
        findings.push(Finding::unless(around.allowed.file_locks, Class::FileLock, object));
    }
    if let Some(kind) = descriptor.link.strip_prefix("anon_inode:") {
        findings.extend(anonymous(kind).map(|class| Finding::fails(class, format!("{kind}, {}", who()))));
        // CRIU(4.2) does not note it down.
        if field(&descriptor.info, "eventfd-semaphore") == Some("1") {
            let object = format!("{kind} with EFD_SEMAPHORE, which will be without, {}", who());
            findings.push(Finding::warning(Class::FileKind, object));
        }
    } else if let Some(file) = descriptor.file {
        findings.extend(judge_path(descriptor, file, &who(), around));
    }
    findings.extend(
        outside_process(descriptor, around)
            .map(|pid| Finding::fails(Class::PidfdOutside, format!("process {pid}, {}", who()))),
    );
    findings.into_iter().map(|finding| finding.of(process.pid)).collect()
}

/// What is wrong with a file that is no file at all: those that CRIU(4.2) knows are left out.
fn anonymous(kind: &str) -> Option<Class> {
    const KNOWN: [&str; 9] = [
        "[eventfd]",
        "[eventpoll]",
        "inotify",
        "[fanotify]",
        "[signalfd]",
        "[timerfd]",
        "[pidfd]",
        "bpf-map",
        "[bpf-map]",
    ];
    match kind {
        "[io_uring]" => Some(Class::IoUring),
        _ if KNOWN.contains(&kind) => None,
        _ => Some(Class::FileKind),
    }
}

/// The process that a pidfd names, if the container does not have it. `Pid:` is -1 for one that has ended.
fn outside_process(descriptor: &Descriptor, around: &Surroundings<'_>) -> Option<i32> {
    let is_pidfd = descriptor.link.starts_with("pidfd:") || descriptor.link == "anon_inode:[pidfd]";
    let pid: i32 = field(&descriptor.info, "Pid").filter(|_| is_pidfd)?.parse().ok()?;
    (pid != -1 && !around.pids.contains(&pid)).then_some(pid)
}

fn judge_path(descriptor: &Descriptor, file: Inode, who: &str, around: &Surroundings<'_>) -> Option<Finding> {
    const MEMORY: u32 = 1;
    const TUN: (u32, u32) = (10, 200);
    let path = &descriptor.link;
    let shown = format!("{path}, {who}");
    let is_terminal = is_terminal(file);
    match file.kind {
        FileType::CharacterDevice if file.device.0 != MEMORY && file.device != TUN && !is_terminal => {
            return Some(Finding::fails(Class::FileKind, shown));
        }
        FileType::BlockDevice => return Some(Finding::fails(Class::FileKind, shown)),
        _ => {}
    }
    // Memory that has a descriptor is in no mount of anybody.
    if path.starts_with("/memfd:") {
        return None;
    }
    let mount = descriptor.mount()?;
    match around.mounts.get(&mount) {
        None => outside(descriptor, file, mount, is_terminal, shown, around.allowed),
        Some(true) => Some(Finding::fails(Class::FileCovered, shown)),
        Some(false) => deleted(path, file, who, around.allowed),
    }
}

/// drivers/tty: TTY_MAJOR, TTYAUX_MAJOR, the pseudo terminals, and serial lines (Documentation/admin-guide/devices.txt).
fn is_terminal(file: Inode) -> bool {
    file.kind == FileType::CharacterDevice && matches!(file.device.0, 4 | 5 | 128..=143 | 188 | 204)
}

/// A file that is in none of the container's mounts.
fn outside(
    descriptor: &Descriptor,
    file: Inode,
    mount: u64,
    is_terminal: bool,
    shown: String,
    allowed: &Allowed,
) -> Option<Finding> {
    if let Some(what) = descriptor.special {
        let cure = "close it first: CRIU knows no such file".to_owned();
        return Some(Finding::fails(Class::FileOutside, format!("{what} {shown}")).cured_by(cure));
    }
    let name = format!("file[{mount:x}:{:x}]", file.number);
    let is_named = allowed.is_external(&name);
    if is_terminal {
        return Some(Finding::unless(
            is_named || allowed.shell_job || allowed.is_external("tty["),
            Class::TtyOutside,
            shown,
        ));
    }
    // What `rt` itself names, and gives back at the restore.
    let is_kept = matches!(file.kind, FileType::RegularFile | FileType::Fifo);
    let is_handed = is_kept && allowed.handed.contains(&descriptor.link);
    let cure = format!("close it first, or declare it external: --external {name}");
    Some(Finding::unless(is_named || is_handed, Class::FileOutside, shown).cured_by(cure))
}

/// A file without the name by which it was opened.
pub(super) fn deleted(path: &str, file: Inode, who: &str, allowed: &Allowed) -> Option<Finding> {
    const MIB: u64 = 1 << 20;
    let name = path.strip_suffix(" (deleted)")?;
    let is_kept = matches!(file.kind, FileType::RegularFile);
    if file.links > 0 {
        return Some(Finding::unless(allowed.link_remap, Class::LinkRemap, format!("{name}, {who}")));
    }
    let limit = allowed.ghost_limit.map_or(MIB, u64::from);
    let object = format!("{name} of {} bytes, {who}", file.size);
    let cure = match u32::try_from(file.size) {
        Ok(size) => format!("pass --ghost-limit {size} or more"),
        Err(_) => "close it first: it is too large for any --ghost-limit".to_owned(),
    };
    is_kept.then(|| Finding::unless(file.size <= limit, Class::GhostFile, object).cured_by(cure))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const INFO: &str = "pos:\t0\nflags:\t02\nmnt_id:\t27\nino:\t77\n";

    fn inode(kind: FileType, links: u32, size: u64, device: (u32, u32)) -> Option<Inode> {
        Some(Inode { kind, links, size, number: 0x4d, device })
    }

    fn open(link: &str, info: &str, file: Option<Inode>) -> Descriptor {
        Descriptor { number: 3, link: link.into(), info: info.into(), file, ..Default::default() }
    }

    /// What is found of a descriptor in a container with mount 27, and 28, which is covered; and with process 7.
    fn judged(descriptor: &Descriptor, allowed: &Allowed) -> Vec<(Verdict, Class, String)> {
        let (mounts, pids) = ([(27, false), (28, true)].into(), [7].into());
        let process = Process { pid: 7, name: "sh".into(), ..Process::default() };
        let around = Surroundings { mounts: &mounts, pids: &pids, allowed };
        let found = judge(descriptor, &process, &around).into_iter();
        found.map(|finding| (finding.verdict, finding.class, finding.object)).collect()
    }

    fn classes(descriptor: &Descriptor, allowed: &Allowed) -> Vec<Class> {
        let found = judged(descriptor, allowed).into_iter();
        found.filter(|one| one.0 == Verdict::WouldFail).map(|one| one.1).collect()
    }

    #[test]
    fn ordinary_files_are_in_nobody_s_way() {
        let strict = Allowed::default();
        for link in
            ["pipe:[5]", "anon_inode:[eventfd]", "anon_inode:inotify", "net:[4026531840]", "socket:[6]"]
        {
            assert_eq!(judged(&open(link, INFO, None), &strict), [], "{link}");
        }
        let (regular, character) = (FileType::RegularFile, FileType::CharacterDevice);
        for (link, file) in [
            ("/log", inode(regular, 1, 1 << 30, (0, 0))),
            ("/tmp/x (deleted)", inode(regular, 0, 4096, (0, 0))),
            ("/dev/null", inode(character, 1, 0, (1, 3))),
            ("/dev/pts/0", inode(character, 1, 0, (136, 0))),
            ("/memfd:x (deleted)", inode(regular, 0, 1 << 30, (0, 0))),
        ] {
            assert_eq!(classes(&open(link, INFO, file), &strict), [], "{link}");
        }
    }

    #[test]
    fn what_criu_does_not_know_is_in_the_way_whatever_is_allowed() {
        let lax = Allowed { file_locks: true, link_remap: true, shell_job: true, ..Allowed::default() };
        let (character, block) = (FileType::CharacterDevice, FileType::BlockDevice);
        for (link, info, file, class) in [
            ("anon_inode:[io_uring]", INFO, None, Class::IoUring),
            ("anon_inode:[perf_event]", INFO, None, Class::FileKind),
            ("pidfd:[9]", "mnt_id:\t15\nPid:\t8\n", None, Class::PidfdOutside),
            ("/dev/kvm", INFO, inode(character, 1, 0, (10, 232)), Class::FileKind),
            ("/dev/sda", INFO, inode(block, 1, 0, (8, 0)), Class::FileKind),
            ("/a/file", "mnt_id:\t28\n", inode(FileType::RegularFile, 1, 0, (0, 0)), Class::FileCovered),
        ] {
            assert_eq!(classes(&open(link, info, file), &lax), [class], "{link}");
        }
        assert_eq!(judged(&open("pidfd:[9]", "Pid:\t7\n", None), &lax), []);
        assert_eq!(judged(&open("pidfd:[9]", "Pid:\t-1\n", None), &lax), []);
    }

    #[test]
    fn what_can_be_allowed_is_told_with_its_flag() {
        let regular = |links, size| inode(FileType::RegularFile, links, size, (0, 0));
        let lock = open(
            "/held",
            &format!("{INFO}lock:\t1: FLOCK  ADVISORY  WRITE 7 08:01:77 0 EOF\n"),
            regular(1, 0),
        );
        let remap = open("/name (deleted)", INFO, regular(1, 0));
        let ghost = open("/big (deleted)", INFO, regular(0, 2 << 20));
        let strict = Allowed::default();
        let told = |descriptor: &Descriptor| judged(descriptor, &strict)[0].2.clone();
        assert_eq!(told(&lock), "/held, descriptor 3 of process 7 (sh)");
        assert_eq!(told(&ghost), "/big of 2097152 bytes, descriptor 3 of process 7 (sh)");
        for (descriptor, class, allowed) in [
            (&lock, Class::FileLock, Allowed { file_locks: true, ..Allowed::default() }),
            (&remap, Class::LinkRemap, Allowed { link_remap: true, ..Allowed::default() }),
            (&ghost, Class::GhostFile, Allowed { ghost_limit: Some(2 << 20), ..Allowed::default() }),
        ] {
            assert_eq!(classes(descriptor, &strict), [class]);
            assert_eq!(judged(descriptor, &allowed)[0].0, Verdict::Ok);
        }
    }

    #[test]
    fn files_of_the_host_must_be_stdio_or_declared() {
        let host = open("/var/log/host", "mnt_id:\t5\n", inode(FileType::RegularFile, 1, 0, (0, 0)));
        let terminal = open("/dev/pts/9", "mnt_id:\t6\n", inode(FileType::CharacterDevice, 1, 0, (136, 9)));
        assert_eq!(classes(&host, &Allowed::default()), [Class::FileOutside]);
        assert_eq!(classes(&terminal, &Allowed::default()), [Class::TtyOutside]);
        let stdio = Allowed { handed: vec!["/var/log/host".into()], ..Allowed::default() };
        let named =
            Allowed { external: vec!["file[5:4d]".into(), "tty[8809:6]".into()], ..Allowed::default() };
        assert_eq!(classes(&host, &stdio), []);
        assert_eq!((classes(&host, &named), classes(&terminal, &named)), (vec![], vec![]));
        assert_eq!(classes(&terminal, &Allowed { shell_job: true, ..Allowed::default() }), []);
        // What CRIU could not dump is none the better for having been declared.
        let special =
            Descriptor { special: Some("POSIX message queue"), ..open("/q", "mnt_id:\t5\n", host.file) };
        assert_eq!(classes(&special, &named), [Class::FileOutside]);
        assert_eq!((terminal.terminal(), host.terminal()), (Some(9), None));
        assert_eq!(open("/dev/ptmx", "tty-index:\t4\n", None).master_of(), Some(4));
    }
}
