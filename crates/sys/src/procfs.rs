//! This thread's files in /proc, for writes that decide what a container may do.
//!
//! CVE-2019-16884, CVE-2025-52881: whoever can mount over such a file, or over /proc, turns the write into another one. So
//! /proc must be a procfs, and below it no path may cross a mount or go through a magic link. So even where a container has
//! mounted what it likes, `thread-self` is this thread's (only the root of a procfs has that name), or nothing is opened. What is
//! held is a descriptor, which mounts made later cannot reach.

use crate::path::{PROC_SUPER_MAGIC, fs_magic};
use crate::{Context, Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

/// The directory of the calling thread, /proc/thread-self.
#[derive(Debug)]
pub struct ThreadDir {
    fd: OwnedFd,
}

impl ThreadDir {
    /// Opens it; errors with ENODEV when /proc is no procfs.
    pub fn open() -> Result<Self> {
        Self::open_in("/proc")
    }

    fn open_in(path: &str) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = rustix::fs::open(path, flags, Mode::empty()).call("open", || format!("{path:?}"))?;
        if fs_magic(&proc)? != PROC_SUPER_MAGIC {
            return Err(Error::new("open", format!("{path:?}: not a procfs"), libc::ENODEV));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = beneath(&proc, "thread-self", flags)?;
        Ok(Self { fd })
    }

    /// Whether this kernel has the file.
    pub fn has(&self, file: &str) -> bool {
        beneath(&self.fd, file, OFlags::PATH | OFlags::CLOEXEC).is_ok()
    }

    /// Writes a file in one call.
    ///
    /// It is opened anew each time: the kernel refuses a write to `attr/*` by other credentials than it was opened with
    /// (KERNEL(5.13)).
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let fd = beneath(&self.fd, file, OFlags::WRONLY | OFlags::CLOEXEC)?;
        let written = std::fs::File::from(fd).write(text.as_bytes());
        written.call("write", || name(file)).map(drop)
    }

    /// Reads a file, without the line end or NUL that it may close with.
    pub fn read(&self, file: &str) -> Result<String> {
        let fd = beneath(&self.fd, file, OFlags::RDONLY | OFlags::CLOEXEC)?;
        let mut bytes = Vec::new();
        std::fs::File::from(fd).read_to_end(&mut bytes).call("read", || name(file))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']).to_owned())
    }
}

fn name(file: &str) -> String {
    format!("\"/proc/thread-self/{file}\"")
}

fn beneath(dir: &OwnedFd, file: &str, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(dir, file, flags, Mode::empty(), resolve).call("openat2", || name(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_this_thread() {
        let dir = ThreadDir::open().unwrap();
        dir.write("comm", "a-name").unwrap();
        assert_eq!(dir.read("comm").unwrap(), "a-name");
        assert!(dir.has("attr/exec") && !dir.has("attr/no-such-module/exec"));
    }

    #[test]
    fn nothing_leads_away() {
        let dir = ThreadDir::open().unwrap();
        // A magic link, and a way up and out.
        assert!(dir.read("exe").is_err_and(|e| e.is(libc::ELOOP)));
        assert!(dir.read("../../../../etc/passwd").is_err_and(|e| e.is(libc::EXDEV)));
        assert!(ThreadDir::open_in("/tmp").is_err_and(|e| e.is(libc::ENODEV)));
        // What a container could mount over its /proc: another part of a procfs.
        assert!(ThreadDir::open_in("/proc/1").is_err_and(|e| e.is(libc::ENOENT)));
    }
}
