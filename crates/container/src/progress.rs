//! How far a checkpoint or a restore is, for who wants to see it.

use crate::checkpoint::images::size_of;
use cgroup::Cgroup;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// What is there of an operation's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in the images of a checkpoint, or in the processes of a restore.
    pub done: u64,
    /// How many there may be at its end: the container's resident memory, or that of the images.
    pub of: u64,
}

/// Somebody who wants to see it while CRIU works.
pub struct Watch<'a> {
    /// How long CRIU is left alone between two looks.
    pub every: Duration,
    /// Is told what was seen.
    pub tell: Box<dyn FnMut(Progress) + 'a>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("every", &self.every).finish_non_exhaustive()
    }
}

/// The two sides between which memory moves, and who watches.
#[derive(Debug)]
pub(crate) struct Gauge<'a> {
    watch: Watch<'a>,
    images: BorrowedFd<'a>,
    cgroup: &'a Cgroup,
    way: Way,
    of: Option<u64>,
    /// When it was looked last.
    looked: Instant,
}

/// Which way it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the processes into the images.
    Dump,
    /// Back.
    Restore,
}

impl<'a> Gauge<'a> {
    pub(crate) fn new(watch: Watch<'a>, way: Way, images: BorrowedFd<'a>, cgroup: &'a Cgroup) -> Self {
        Self { watch, images, cgroup, way, of: None, looked: Instant::now() }
    }

    pub(crate) fn every(&self) -> Duration {
        self.watch.every
    }

    /// Looks, and tells, if it is time to. What cannot be seen counts as nothing.
    pub(crate) fn look(&mut self) {
        if self.looked.elapsed() < self.watch.every {
            return;
        }
        self.looked = Instant::now();
        let (images, cgroup) = (self.images, self.cgroup);
        let (from, to): (&dyn Fn() -> u64, &dyn Fn() -> u64) = match self.way {
            Way::Dump => (&|| resident(cgroup), &|| written(images)),
            Way::Restore => (&|| written(images), &|| resident(cgroup)),
        };
        let of = *self.of.get_or_insert_with(from);
        (self.watch.tell)(Progress { done: to(), of });
    }
}

/// The bytes of memory in an image directory.
fn written(images: BorrowedFd<'_>) -> u64 {
    size_of(images, b"pages-")
}

/// The bytes of memory that the processes of a cgroup have (proc_pid_statm(5), the second field, in pages).
fn resident(cgroup: &Cgroup) -> u64 {
    let page = rustix::param::page_size() as u64;
    let pages = cgroup.processes().unwrap_or_default().into_iter().filter_map(|pid| {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    });
    pages.sum::<u64>() * page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn only_pages_count() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in
            [("pages-1.img", 4096), ("pages-2.img", 8192), ("pagemap-1.img", 100), ("dump.log", 9)]
        {
            std::fs::write(dir.path().join(name), vec![0; size]).unwrap();
        }
        assert_eq!(written(std::fs::File::open(dir.path()).unwrap().as_fd()), 12288);
    }
}
