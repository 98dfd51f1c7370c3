//! The small JSON files that a runtime puts beside CRIU's images.

use crate::error::{Error, Result, Step};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

/// Some hundred long paths. The files come with images that nobody vouches for, so reading them has an end.
pub(super) const LIMIT: u64 = 256 * 1024;

/// Writes a value into an image directory.
pub(crate) fn write(images: BorrowedFd<'_>, name: &str, value: &impl Serialize) -> Result<()> {
    let step = || format!("write {name}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(images, name, flags, Mode::from(0o600)).step(step)?;
    File::from(file).write_all(&serde_json::to_vec(value).step(step)?).step(step)
}

/// Reads a file of an image directory; None when there is no such file. A symbolic link is not followed, and a pipe in its place
/// is not waited for (CVE-2026-53489: images of unknown origin).
pub(crate) fn read(images: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let step = || format!("read {name}");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(images, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other.step(step)?,
    };
    let file = File::from(file);
    if !file.metadata().step(step)?.is_file() {
        return Err(Error::Request(format!("{name}: not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).step(step)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::Request(format!("{name}: longer than {LIMIT} bytes")));
    }
    Ok(Some(bytes))
}

/// The value that such a file holds.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T> {
    serde_json::from_slice(bytes).step(|| format!("read {name}"))
}
