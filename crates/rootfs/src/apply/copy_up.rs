//! `tmpcopyup`: a tmpfs that starts with what it covers.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use sys::{Context, Result};

/// Copies what is in the directory `from` into the directory `to`, with owners, permissions, links and devices.
///
/// By descriptors, and no link is followed: the source is the image's.
pub(super) fn copy_tree(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let from = open(from, c".", OFlags::DIRECTORY)?;
    let to = open(to, c".", OFlags::DIRECTORY)?;
    for entry in Dir::read_from(&from).call("getdents", String::new)? {
        let entry = entry.call("getdents", String::new)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(&from, &to, name)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let stat =
        rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call("fstatat", || format!("{name:?}"))?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode).call("mkdirat", || format!("{name:?}"))?;
            copy_tree(open(from, name, OFlags::DIRECTORY)?, open(to, name, OFlags::DIRECTORY)?)?;
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => {
            let target =
                rustix::fs::readlinkat(from, name, Vec::new()).call("readlinkat", || format!("{name:?}"))?;
            rustix::fs::symlinkat(target, to, name).call("symlinkat", || format!("{name:?}"))?;
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)
                .call("mknodat", || format!("{name:?}"))?;
        }
    }
    own(to, name, &stat)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    // Somebody may have put a pipe or a device in the file's place since it was looked at.
    let mut source = std::fs::File::from(open(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?);
    if !source.metadata().call("fstat", || format!("{name:?}"))?.is_file() {
        return Err(sys::Error::new(
            "openat",
            format!("{name:?}: it was exchanged"),
            rustix::io::Errno::AGAIN.raw_os_error(),
        ));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)
        .call("openat", || format!("{name:?}"))?;
    std::io::copy(&mut source, &mut std::fs::File::from(target))
        .call("copy", || format!("{name:?}"))
        .map(drop)
}

/// Owner first: changing it takes the set-user-ID bit off.
fn own(dir: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .call("fchownat", || format!("{name:?}"))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    // Nobody else can reach the new mount yet, so the name is what we have just made.
    rustix::fs::chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
        .call("fchmodat", || format!("{name:?}"))
}

fn open(dir: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).call("openat", || format!("{name:?}"))
}
