//! Stdio, or a descriptor that was passed, which leads to a file, a FIFO or a unix socket of the host (`rt run -d ... >log`, a service whose
//! output goes to journald): CRIU cannot find such a file in the container's mounts, nor dump half a connection, so it is named as
//! external while the container stands still, and given back as a descriptor at the restore.

use crate::error::{Error, Result, Step};
use crate::store::Record;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// CRIU's names of what of the host is behind stdin, stdout and stderr.
pub(crate) type StdioNames = [Option<String>; 3];

/// A descriptor from 3 on that the container has got from its caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    /// Where it led.
    pub(crate) link: String,
    /// CRIU's name of it, if it is a file, a FIFO or a unix socket of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How it was open (open(2)): to read, to write, to append.
    #[serde(default)]
    pub(crate) flags: u32,
}

/// What of the host a container has open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) stdio: StdioNames,
    pub(crate) passed: Vec<Passed>,
}

impl Found {
    /// CRIU's names, each once: stdout and stderr may be one file.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + use<> {
        let passed = self.passed.iter().filter_map(|passed| passed.name.clone());
        let names: BTreeSet<String> = self.stdio.iter().flatten().cloned().chain(passed).collect();
        names.into_iter()
    }

    /// Notes down the name of a descriptor in each place that has its link.
    fn note(&mut self, record: &Record, link: &str, name: &str, flags: u32) {
        let same = |one: &String| one == link;
        for (noted, _) in self.stdio.iter_mut().zip(&record.stdio).filter(|(_, one)| same(one)) {
            noted.get_or_insert_with(|| name.to_owned());
        }
        for passed in self.passed.iter_mut().filter(|passed| passed.link == link && passed.name.is_none()) {
            (passed.name, passed.flags) = (Some(name.to_owned()), flags);
        }
    }
}

/// The search for what the container has got from its caller and is not in its mounts.
struct Outside<'a> {
    record: &'a Record,
    links: BTreeSet<&'a str>,
    /// Terminals, too: whoever restores must then have one.
    terminals: bool,
    found: Found,
}

impl Outside<'_> {
    /// Looks through the descriptors of one process for what stdio and passed descriptors led to at the start.
    fn look(&mut self, pid: i32) -> std::io::Result<()> {
        let mut inside: Option<BTreeSet<u64>> = None;
        for fd in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            let (path, number) = fd.map(|fd| (fd.path(), fd.file_name()))?;
            let link = std::fs::read_link(&path)?.to_string_lossy().into_owned();
            if !self.links.contains(link.as_str()) {
                continue;
            }
            if let Some(inode) = link.strip_prefix("socket:[") {
                if protocol(&path).starts_with("UNIX") {
                    self.found.note(self.record, &link, &format!("{UNIX}{inode}"), 0);
                }
                continue;
            }
            let file = std::fs::metadata(&path)?;
            let is_terminal = self.terminals && file.file_type().is_char_device();
            if !(is_terminal || file.file_type().is_file() || file.file_type().is_fifo()) {
                continue;
            }
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.display()))?;
            let mount = field(&info, "mnt_id:", 10).ok_or(std::io::ErrorKind::InvalidData)?;
            if !inside.get_or_insert_with(|| mounts_of(pid).unwrap_or_default()).contains(&mount) {
                let flags = field(&info, "flags:", 8).and_then(|flags| u32::try_from(flags).ok());
                let name = if is_terminal {
                    format!("{TERMINAL}{:x}:{:x}]", file.rdev(), file.dev())
                } else {
                    mark(&path);
                    format!("file[{mount:x}:{:x}]", file.ino())
                };
                self.found.note(self.record, &link, &name, flags.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// How CRIU's names of unix sockets and terminals of the outside begin.
pub(crate) const UNIX: &str = "unix[";
pub(crate) const TERMINAL: &str = "tty[";

/// Looks through a container's processes; called while they stand still.
pub(crate) fn find(record: &Record, terminals: bool) -> Result<Found> {
    let of_host = |link: &&str| link.starts_with('/') && *link != "/dev/null" || link.starts_with("socket:");
    let links = record.stdio.iter().chain(&record.passed).map(String::as_str).filter(of_host).collect();
    let passed = record.passed.iter().map(|link| Passed { link: link.clone(), ..Passed::default() });
    let found = Found { passed: passed.collect(), ..Found::default() };
    let mut outside = Outside { record, links, terminals, found };
    if !outside.links.is_empty() {
        for pid in record.cgroup.processes()? {
            // A process may have ended just before the freeze.
            if let Err(e) = outside.look(pid) {
                log::debug!("descriptors of process {pid}: {e}");
            }
        }
    }
    Ok(outside.found)
}

/// A number of proc_pid_fdinfo(5): `mnt_id:` is the mount that the file was opened through, `flags:` is octal.
fn field(info: &str, name: &str, radix: u32) -> Option<u64> {
    let text = info.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(text.trim(), radix).ok()
}

/// What kind of socket a descriptor in /proc is, `UNIX-STREAM` say. lsof(8) asks in the same way; the kernel answers from the socket
/// itself (sockfs, Linux 2.6.37).
pub(super) fn protocol(path: &Path) -> String {
    let mut name = [0; 64];
    let size = rustix::fs::getxattr(path, "system.sockprotoname", &mut name[..]).unwrap_or(0);
    String::from_utf8_lossy(&name[..size]).trim_end_matches('\0').to_owned()
}

/// The ids of all mounts in a process' mount namespace (proc_pid_mountinfo(5), first field).
fn mounts_of(pid: i32) -> std::io::Result<BTreeSet<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
}

/// What tells a file of this host that was some container's stdio. Nobody but the host's root can set or see it (xattr(7)).
const MARK: &str = "trusted.rt.stdio";

/// Marks a file that a restore may open again. Where that is not possible, the restore takes the caller's stdio instead.
fn mark(file: &Path) {
    if let Err(e) = rustix::fs::setxattr(file, MARK, b"", XattrFlags::empty()) {
        log::debug!("mark {}: {e}", file.display());
    }
}

/// How a file is opened again.
pub(crate) fn access(flags: u32) -> OFlags {
    OFlags::from_bits_truncate(flags) & (OFlags::RDONLY | OFlags::WRONLY | OFlags::RDWR | OFlags::APPEND)
}

/// How stdio is: at its end, as a log wants it.
pub(crate) fn access_of_stdio(fd: usize) -> OFlags {
    if fd == 0 { OFlags::RDONLY } else { OFlags::WRONLY | OFlags::APPEND }
}

/// Opens a host file again that the container had open.
///
/// Its name comes with the images, which nobody vouches for: they must not make the container write to a file of the host
/// that it has never had (CVE-2026-53489 in spirit). So it must be one that a checkpoint on this host has marked.
pub(crate) fn reopen(link: &str, access: OFlags) -> Option<OwnedFd> {
    let open = |access: OFlags| {
        let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::openat2(CWD, link, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()
    };
    // A FIFO that nobody reads can be opened for writing only while somebody, as we do here, could read it.
    let reader = rustix::fs::stat(link).is_ok_and(|stat| file_type(&stat) == FileType::Fifo);
    let _reader = reader.then(|| open(OFlags::RDWR));
    let file = open(access)?;
    let kind = file_type(&rustix::fs::fstat(&file).ok()?);
    let is_marked = rustix::fs::fgetxattr(&file, MARK, &mut [0_u8; 0]).is_ok();
    if !matches!(kind, FileType::RegularFile | FileType::Fifo) || !is_marked {
        log::warn!("{link}: no container on this host has had this file open; the caller's takes its place");
        return None;
    }
    rustix::fs::fcntl_setfl(&file, access).ok()?;
    Some(file)
}

/// Refuses a caller's descriptor that cannot take the place of a file: CRIU wants a file for a file.
pub(crate) fn check_substitute(link: &str, number: usize, ours: Option<BorrowedFd<'_>>) -> Result<()> {
    let stat = ours.map(rustix::fs::fstat).transpose().step(|| format!("look at descriptor {number}"))?;
    if stat.is_some_and(|stat| file_type(&stat) == FileType::RegularFile) {
        return Ok(());
    }
    let (name, how) = described(number);
    Err(Error::Request(format!(
        "{name} was the file {link}, which is not there, or which no checkpoint on this host has seen: bring it back, or \
         restore with {how}{name} on another file"
    )))
}

/// Refuses a caller's descriptor that is no terminal, where one is to be replaced.
pub(crate) fn require_terminal(link: &str, number: usize, ours: Option<BorrowedFd<'_>>) -> Result<()> {
    if ours.is_some_and(rustix::termios::isatty) {
        return Ok(());
    }
    let (name, how) = described(number);
    Err(Error::Request(format!("{name} was the terminal {link}: restore with {how}{name} on a terminal")))
}

/// What a descriptor is called, and how a restore gets it.
fn described(number: usize) -> (String, String) {
    match number {
        0..=2 => (["stdin", "stdout", "stderr"][number].to_owned(), String::new()),
        _ => (format!("descriptor {number}"), format!("--preserve-fds {} and ", number - 2)),
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
