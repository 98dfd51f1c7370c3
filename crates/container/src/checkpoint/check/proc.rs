//! Reading what /proc tells of processes that nobody vouches for: with an end, without following links, and without minding that
//! a process goes meanwhile.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest text that is read: a table of some 100 000 sockets.
const LONGEST: u64 = 16 << 20;
/// The most entries of a directory that are looked at.
const MOST_ENTRIES: usize = 1 << 16;

/// A file's text, as far as it goes; None when it cannot be read.
pub(super) fn text(path: &str) -> Option<String> {
    beginning(path, LONGEST)
}

/// The same with another end.
pub(super) fn beginning(path: &str, most: u64) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a directory of numbers (`task`, `fd`), in order.
pub(super) fn numbers(path: &str) -> Vec<i32> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut numbers: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Where a link of /proc leads, in the kernel's words.
pub(super) fn link(path: &str) -> Option<String> {
    Some(std::fs::read_link(Path::new(path)).ok()?.to_string_lossy().into_owned())
}

/// The file behind a link of /proc. The kernel is told to go by what it has in memory: a file system that the container itself
/// serves (FUSE) must not be asked.
pub(super) fn stat(path: &str) -> Option<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO | StatxFlags::BLOCKS;
    rustix::fs::statx(CWD, path, AtFlags::STATX_DONT_SYNC, wanted).ok()
}

/// The value of a line `Name:\tvalue`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}
