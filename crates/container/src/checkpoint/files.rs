//! Stdio that leads to a file of the host (`rt run -d ... >log`): CRIU cannot find such a file in the container's mounts, so it is
//! named as external while the container stands still, and given back as a descriptor at the restore.
//!
//! The names are kept in `rt.json` beside the images: `descriptors.json` is runc's and has no place for them.

use crate::error::{Error, Result, Step};
use crate::store::Record;
use criu::ExternalFiles;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

const NAME: &str = "rt.json";
const VERSION: u32 = 1;
/// Three names and a number; the file comes from an image, which nobody vouches for.
const LIMIT: u64 = 4096;

/// CRIU's names of the host files behind stdin, stdout and stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    version: u32,
    stdio: [Option<String>; 3],
}

impl Names {
    /// The name of the file behind one of the three.
    pub(crate) fn of(&self, fd: usize) -> Option<&str> {
        self.stdio.get(fd)?.as_deref()
    }

    /// Writes them into an image directory.
    pub(crate) fn write(&self, images: BorrowedFd<'_>) -> Result<()> {
        let step = || format!("write {NAME}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(images, NAME, flags, Mode::from(0o600)).step(step)?;
        File::from(file).write_all(&serde_json::to_vec(self).step(step)?).step(step)
    }

    /// Reads them; images of another runtime have none.
    pub(crate) fn read(images: BorrowedFd<'_>) -> Result<Self> {
        let step = || format!("read {NAME}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(images, NAME, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(Self::default()),
            other => other.step(step)?,
        };
        let mut bytes = Vec::new();
        File::from(file).take(LIMIT).read_to_end(&mut bytes).step(step)?;
        let names: Self = serde_json::from_slice(&bytes).step(step)?;
        if names.version > VERSION {
            return Err(Error::Request(format!("{NAME}: written by a newer rt (format {})", names.version)));
        }
        Ok(names)
    }
}

/// The search for files that the container got as stdio and that are not in its mounts.
struct Outside<'a> {
    record: &'a Record,
    names: Names,
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
                if self.names.stdio[place].is_some() || !std::fs::metadata(fd.path())?.is_file() {
                    continue;
                }
                let mount = mount_id(pid, &fd.file_name().to_string_lossy())?;
                let inside = inside.get_or_insert_with(|| mounts_of(pid).unwrap_or_default());
                if !inside.contains(&mount) {
                    use std::os::unix::fs::MetadataExt;
                    let inode = std::fs::metadata(fd.path())?.ino();
                    self.names.stdio[place] = Some(format!("file[{mount:x}:{inode:x}]"));
                }
            }
        }
        Ok(())
    }
}

/// Looks through a container's processes; called while they stand still.
pub(crate) fn find(record: &Record) -> Result<(Names, ExternalFiles)> {
    let mut outside = Outside { record, names: Names { version: VERSION, ..Names::default() } };
    if record.stdio.iter().any(|link| link.starts_with('/') && link != "/dev/null") {
        for pid in record.cgroup.processes()? {
            // A process may have ended just before the freeze.
            if let Err(e) = outside.look(pid) {
                log::debug!("descriptors of process {pid}: {e}");
            }
        }
    }
    let names = outside.names;
    let external: BTreeSet<String> = names.stdio.iter().flatten().cloned().collect();
    Ok((names, ExternalFiles { external: external.into_iter().collect(), ..Default::default() }))
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

/// Opens a host file again that stdio led to: at its end, as a log wants it.
pub(crate) fn reopen(link: &str, fd: usize) -> Option<OwnedFd> {
    let flags = if fd == 0 { OFlags::RDONLY } else { OFlags::WRONLY | OFlags::APPEND };
    rustix::fs::open(link, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).ok()
}
