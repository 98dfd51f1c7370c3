//! Stdio that leads to a file or a FIFO of the host (`rt run -d ... >log`): CRIU cannot find such a file in the container's mounts, so it is
//! named as external while the container stands still, and given back as a descriptor at the restore.

use crate::error::{Error, Result, Step};
use crate::store::Record;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// CRIU's names of the host files behind stdin, stdout and stderr, where there are such.
pub(crate) type StdioNames = [Option<String>; 3];

/// The search for files that the container got as stdio and that are not in its mounts.
struct Outside<'a> {
    record: &'a Record,
    names: StdioNames,
}

impl Outside<'_> {
    /// Looks through the descriptors of one process for the files that stdio led to at the start.
    fn look(&mut self, pid: i32) -> std::io::Result<()> {
        let mut inside: Option<BTreeSet<u64>> = None;
        for fd in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            let fd = fd?;
            let link = std::fs::read_link(fd.path())?.to_string_lossy().into_owned();
            let places =
                self.record.stdio.iter().enumerate().filter(|(_, s)| **s == link && link.starts_with('/'));
            for (place, _) in places {
                let kind = std::fs::metadata(fd.path())?.file_type();
                if self.names[place].is_some() || !(kind.is_file() || kind.is_fifo()) {
                    continue;
                }
                let mount = mount_id(pid, &fd.file_name().to_string_lossy())?;
                let inside = inside.get_or_insert_with(|| mounts_of(pid).unwrap_or_default());
                if !inside.contains(&mount) {
                    use std::os::unix::fs::MetadataExt;
                    let inode = std::fs::metadata(fd.path())?.ino();
                    self.names[place] = Some(format!("file[{mount:x}:{inode:x}]"));
                    mark(&fd.path());
                }
            }
        }
        Ok(())
    }
}

/// Looks through a container's processes; called while they stand still.
pub(crate) fn find(record: &Record) -> Result<StdioNames> {
    let mut outside = Outside { record, names: Default::default() };
    if record.stdio.iter().any(|link| link.starts_with('/') && link != "/dev/null") {
        for pid in record.cgroup.processes()? {
            // A process may have ended just before the freeze.
            if let Err(e) = outside.look(pid) {
                log::debug!("descriptors of process {pid}: {e}");
            }
        }
    }
    Ok(outside.names)
}

/// proc_pid_fdinfo(5): `mnt_id:` is the mount that the file was opened through.
fn mount_id(pid: i32, fd: &str) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
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

/// Opens a host file again that stdio led to: at its end, as a log wants it.
///
/// Its name comes with the images, which nobody vouches for: they must not make the container write to a file of the host
/// that it has never had (CVE-2026-53489 in spirit). So it must be one that a checkpoint on this host has marked.
pub(crate) fn reopen(link: &str, fd: usize) -> Option<OwnedFd> {
    let access = if fd == 0 { OFlags::RDONLY } else { OFlags::WRONLY | OFlags::APPEND };
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
        log::warn!(
            "{link}: no container on this host has had this file as stdio; the caller's takes its place"
        );
        return None;
    }
    rustix::fs::fcntl_setfl(&file, access).ok()?;
    Some(file)
}

/// Refuses a caller's stdio that cannot take the place of a file: CRIU wants a file for a file.
pub(crate) fn check_substitute(link: &str, fd: usize, ours: BorrowedFd<'_>) -> Result<()> {
    let kind = file_type(&rustix::fs::fstat(ours).step(|| format!("look at descriptor {fd}"))?);
    if kind == FileType::RegularFile {
        return Ok(());
    }
    let name = ["stdin", "stdout", "stderr"][fd];
    Err(Error::Request(format!(
        "{name} was the file {link}, which is not there, or which no checkpoint on this host has seen: bring it back, or \
         restore with {name} on another file"
    )))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
