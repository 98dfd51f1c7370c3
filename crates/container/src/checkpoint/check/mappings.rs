//! What a process has mapped into its memory: files without a name, devices, and what is no file.

use super::Allowed;
use super::descriptors::{self, Inode};
use super::finding::Finding;
use super::proc::{stat, text};
use super::processes::Process;
use criu::Class;
use rustix::fs::FileType;

/// More of one process are not looked at.
const MOST: usize = 1024;

/// A mapping that may stand in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// `from-to`, in hexadecimal digits, as it is called in /proc/PID/map_files.
    pub(super) place: String,
    /// The kernel's words for what is mapped.
    pub(super) name: String,
    /// The file, where it had to be looked at.
    pub(super) file: Option<Inode>,
}

impl Mapping {
    /// Those of a process that may stand in the way, each file once.
    pub(super) fn all(pid: i32) -> Vec<Self> {
        let mut found = parse(&text(&format!("/proc/{pid}/maps")).unwrap_or_default());
        for mapping in found.iter_mut().filter(|mapping| mapping.name.starts_with('/')) {
            let path = format!("/proc/{pid}/map_files/{}", mapping.place);
            mapping.file = stat(&path).map(|stat| Inode::of(&stat));
        }
        found
    }
}

/// proc_pid_maps(5): `from-to flags offset device inode name`.
pub(super) fn parse(maps: &str) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in maps.lines() {
        let mut fields = line.splitn(6, ' ');
        let (Some(place), Some(name)) = (fields.next(), fields.nth(4)) else { continue };
        let name = name.trim_start();
        if found.len() < MOST && is_of_interest(name) && found.iter().all(|other| other.name != name) {
            found.push(Mapping { place: place.to_owned(), name: name.to_owned(), file: None });
        }
    }
    found
}

fn is_of_interest(name: &str) -> bool {
    // Memory that the kernel shows as a deleted file.
    const MEMORY: [&str; 4] = ["/memfd:", "/dev/zero (deleted)", "/[aio]", "/anon_hugepage"];
    let is_memory = MEMORY.iter().any(|memory| name.starts_with(memory));
    let is_device = name.starts_with("/dev/") && !name.starts_with("/dev/shm/") && name != "/dev/zero";
    let is_odd = name.starts_with("anon_inode:") || name == "[uprobes]";
    !is_memory && (is_odd || is_device || name.ends_with(" (deleted)"))
}

/// What stands in the way of one mapping. `has_own_ipc` tells System V shared memory of the container from the host's.
pub(super) fn judge(
    mapping: &Mapping,
    process: &Process,
    has_own_ipc: bool,
    allowed: &Allowed,
) -> Option<Finding> {
    let who = format!("mapped by {}", process.shown());
    let shown = format!("{}, {who}", mapping.name);
    let finding = if mapping.name.starts_with("/SYSV") {
        (!has_own_ipc).then(|| Finding::fails(Class::IpcOutside, shown))
    } else if mapping.name == "anon_inode:[io_uring]" {
        Some(Finding::fails(Class::IoUring, shown))
    } else if mapping.name == "[uprobes]" {
        Some(Finding::fails(Class::Uprobes, process.shown()))
    } else if mapping.name.starts_with("anon_inode:") {
        Some(Finding::fails(Class::DeviceMapped, shown))
    } else {
        let file = mapping.file?;
        match file.kind {
            FileType::RegularFile => descriptors::deleted(&mapping.name, file, &who, allowed),
            FileType::CharacterDevice if file.device == (1, 5) => None,
            _ => Some(Finding::fails(Class::DeviceMapped, shown)),
        }
    };
    finding.map(|finding| finding.of(process.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c8400000-55d0c8440000 r-xp 00000000 08:01 1234                       /bin/busybox\n\
7f0000000000-7f0000001000 rw-s 00000000 00:01 17                         /dev/zero (deleted)\n\
7f0000002000-7f0000003000 rw-s 00000000 00:01 18                         /SYSV00000000 (deleted)\n\
7f0000004000-7f0000005000 rw-s 00000000 00:0f 19                         anon_inode:[io_uring]\n\
7f0000005000-7f0000006000 rw-s 10000000 00:0f 19                         anon_inode:[io_uring]\n\
7f0000006000-7f0000007000 r--p 00000000 08:01 99                         /tmp/a file (deleted)\n\
7f0000008000-7f0000009000 rw-s 00000000 00:05 20                         /dev/kvm\n\
7f000000a000-7f000000b000 rw-p 00000000 00:00 0 \n\
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn only_what_may_be_in_the_way_is_kept() {
        let found = parse(MAPS);
        let names: Vec<_> = found.iter().map(|mapping| mapping.name.as_str()).collect();
        assert_eq!(
            names,
            ["/SYSV00000000 (deleted)", "anon_inode:[io_uring]", "/tmp/a file (deleted)", "/dev/kvm"]
        );
        assert_eq!(found[2].place, "7f0000006000-7f0000007000");
    }

    fn judged(name: &str, file: Option<Inode>, has_own_ipc: bool) -> Option<(Class, String)> {
        let mapping = Mapping { place: String::new(), name: name.into(), file };
        let process = Process { pid: 7, name: "sh".into(), ..Process::default() };
        let finding = judge(&mapping, &process, has_own_ipc, &Allowed::default())?;
        (finding.verdict == super::super::Verdict::WouldFail).then_some((finding.class, finding.object))
    }

    #[test]
    fn each_is_judged_by_what_it_is() {
        let file = |kind, size, device| Some(Inode { kind, links: 0, size, number: 5, device });
        let (regular, character) = (FileType::RegularFile, FileType::CharacterDevice);
        assert_eq!(judged("/SYSV0 (deleted)", None, true), None);
        assert_eq!(judged("/SYSV0 (deleted)", None, false).unwrap().0, Class::IpcOutside);
        assert_eq!(judged("/x (deleted)", file(regular, 4096, (0, 0)), true), None);
        let (class, object) = judged("/x (deleted)", file(regular, 2 << 20, (0, 0)), true).unwrap();
        assert_eq!(
            (class, object.as_str()),
            (Class::GhostFile, "/x of 2097152 bytes, mapped by process 7 (sh)")
        );
        assert_eq!(judged("/dev/null", file(character, 0, (1, 5)), true), None);
        assert_eq!(judged("/dev/kvm", file(character, 0, (10, 232)), true).unwrap().0, Class::DeviceMapped);
        assert_eq!(judged("[uprobes]", None, true).unwrap().0, Class::Uprobes);
    }
}
