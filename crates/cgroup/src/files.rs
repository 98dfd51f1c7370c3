//! Reading and writing the small files of the cgroup tree: open, one call, close.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::error::{Error, Result};

/// The room for one read: a page, more than the kernel gives at once for any value.
const READ_SIZE: usize = 4096;

/// Opens `path` close-on-exec.
pub(crate) fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` into `dir/file` in one call, as the kernel wants it.
pub(crate) fn write(controller: &str, dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    open(&path, OFlags::WRONLY)
        .and_then(|fd| write_once(&fd, value.as_bytes()))
        .map_err(|errno| Error::file(controller, format!("write {value:?} to"), &path, errno))
}

/// One write(2), repeated only when a signal came between.
pub(crate) fn write_once(fd: &OwnedFd, value: &[u8]) -> io::Result<()> {
    io::retry_on_intr(|| io::write(fd, value)).map(drop)
}

/// The text of `dir/file` without the final newline.
pub(crate) fn read(controller: &str, dir: &Path, file: &str) -> Result<String> {
    read_with(controller, &dir.join(file), read_value)
}

/// The lines of `dir/file`, of which there may be many.
pub(crate) fn read_list(controller: &str, dir: &Path, file: &str) -> Result<String> {
    read_with(controller, &dir.join(file), read_all)
}

fn read_with(controller: &str, path: &Path, read: fn(&OwnedFd) -> io::Result<String>) -> Result<String> {
    open(path, OFlags::RDONLY)
        .and_then(|fd| read(&fd))
        .map_err(|errno| Error::file(controller, "read", path, errno))
}

/// One value as it is now: the kernel makes it anew for a read at the start, and whole.
pub(crate) fn read_value(fd: &OwnedFd) -> io::Result<String> {
    let mut text = Vec::with_capacity(READ_SIZE);
    read_at(fd, &mut text)?;
    finish(text)
}

/// All of `fd`: a list comes in pieces, and a short piece is not the last.
pub(crate) fn read_all(fd: &OwnedFd) -> io::Result<String> {
    let mut text = Vec::with_capacity(READ_SIZE);
    while read_at(fd, &mut text)? != 0 {
        text.reserve(READ_SIZE);
    }
    finish(text)
}

fn read_at(fd: &OwnedFd, text: &mut Vec<u8>) -> io::Result<usize> {
    let offset = text.len() as u64;
    io::retry_on_intr(|| io::pread(fd, rustix::buffer::spare_capacity(text), offset))
}

fn finish(mut text: Vec<u8>) -> io::Result<String> {
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}
