//! Hearing of processes that are killed because memory is short.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::Context;

use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};
use crate::stats::parse;

const V1_CONTROL: &str = "memory.oom_control";
const V2_EVENTS: &str = "memory.events";

/// An ear at a cgroup's memory: [`poll`](Self::poll) says what to wait for, and [`hear`](Self::hear) what it was.
#[derive(Debug)]
pub struct OomWatch {
    file: OwnedFd,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// An eventfd that the kernel counts up, and the file that is gone when it does so for the last time.
    V1(PathBuf),
    /// `memory.events`, and how many were killed when it was read.
    V2(u64),
}

impl Cgroup {
    /// Listens; `None` where no memory controller tells.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match (self.path("memory"), self.path(UNIFIED)) {
            (Some(dir), _) => watch_v1(dir).map(Some),
            (None, Some(dir)) => watch_v2(dir),
            (None, None) => Ok(None),
        }
    }
}

/// v1: the kernel adds one to an eventfd at each event, and when the cgroup is removed (cgroup-v1/memory.rst, 10).
fn watch_v1(dir: &Path) -> Result<OomWatch> {
    let path = dir.join(V1_CONTROL);
    let control =
        files::open(&path, OFlags::RDONLY).map_err(|errno| Error::file("memory", "open", &path, errno))?;
    let file = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call("eventfd", String::new)?;
    let number = |fd: &OwnedFd| std::os::fd::AsRawFd::as_raw_fd(fd);
    let line = format!("{} {}", number(&file), number(&control));
    files::write("memory", dir, "cgroup.event_control", &line)?;
    Ok(OomWatch { file, kind: Kind::V1(path) })
}

fn watch_v2(dir: &Path) -> Result<Option<OomWatch>> {
    let path = dir.join(V2_EVENTS);
    match files::open(&path, OFlags::RDONLY) {
        Ok(file) => {
            let killed = killed(&file).map_err(|errno| Error::file("memory", "read", &path, errno))?;
            Ok(Some(OomWatch { file, kind: Kind::V2(killed) }))
        }
        // The controller is not there, or not handed down.
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::file("memory", "open", &path, errno)),
    }
}

impl OomWatch {
    /// The descriptor to wait at, and for what.
    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.kind {
            Kind::V1(_) => PollFlags::IN,
            Kind::V2(_) => PollFlags::PRI,
        };
        (self.file.as_fd(), flags)
    }

    /// Whether memory was short since the last time; no if the cgroup is gone.
    pub fn hear(&mut self) -> Result<bool> {
        match &mut self.kind {
            Kind::V1(path) => {
                let mut count = [0; 8];
                match rustix::io::read(&self.file, &mut count) {
                    Ok(_) => Ok(path.exists()),
                    Err(Errno::AGAIN | Errno::INTR) => Ok(false),
                    Err(errno) => Err(Error::file("memory", "hear of", path, errno)),
                }
            }
            Kind::V2(before) => match killed(&self.file) {
                Ok(now) => Ok(std::mem::replace(before, now) < now),
                Err(Errno::NODEV) => Ok(false),
                Err(errno) => Err(Error::file("memory", "read", Path::new(V2_EVENTS), errno)),
            },
        }
    }
}

/// How many processes of the cgroup and those below it were killed.
fn killed(file: &OwnedFd) -> rustix::io::Result<u64> {
    Ok(parse::value(&files::read_value(file)?, "oom_kill"))
}
