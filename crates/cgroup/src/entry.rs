//! How processes get into a container's cgroup.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::Context;

use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};

const PROCS: &str = "cgroup.procs";
/// How often a process that is just being born is tried again, and how long apart.
const NEWBORN_TRIES: u32 = 5;
const NEWBORN_WAIT: Duration = Duration::from_millis(1);

/// The doors of a cgroup, opened by the parent, for a child to walk through by itself.
///
/// Moving a process into a cgroup normally waits for an RCU grace period: whoever writes a pid into `cgroup.procs`
/// takes a lock that every fork on the machine reads, and the first taker pays 10 to 15 ms for it (measured on 6.18; the
/// other hierarchies follow within microseconds). There are two ways around it, and containers start through both:
///
/// - A child that is born in cgroup2 (clone3 with CLONE_INTO_CGROUP and [`Cgroup::clone_fd`]) needs no migration.
/// - A thread that moves only itself needs no lock: it writes `0` into v1's `tasks` (kernel 5.5, "cgroup: Optimize
///   single thread migration"). For a child with one thread that is the whole process; 7 µs for each hierarchy.
///
/// The kernel checks the permissions of whoever opened the door, so a child in a user namespace may pass. The mount
/// option `favordynmods` would make the lock cheap as well, but it belongs to the machine.
#[derive(Debug)]
pub struct Entry {
    doors: Vec<OwnedFd>,
    /// What they lead into.
    place: &'static str,
}

impl Entry {
    /// The doors of a place where each takes who writes `0` into it.
    pub(crate) fn through(doors: Vec<OwnedFd>, place: &'static str) -> Self {
        Self { doors, place }
    }

    /// Moves the calling thread, which must be the only one of its process, into the cgroup.
    ///
    /// Allocates nothing unless it fails: fit for the time between fork and exec.
    ///
    /// # Errors
    /// `ENOSPC` if the cpuset has no processor or memory node.
    pub fn enter(&self) -> sys::Result<()> {
        self.doors.iter().try_for_each(|door| {
            files::write_once(door, b"0").call("write", || format!("\"0\" to {}", self.place))
        })
    }
}

impl Cgroup {
    /// Opens the doors for a child; `is_born_inside` if it is cloned into cgroup2, which then is left out.
    pub fn entry(&self, is_born_inside: bool) -> Result<Entry> {
        let mut doors = Vec::new();
        for (controller, dir) in self.dirs() {
            if controller != UNIFIED {
                doors.push(open(controller, &dir.join("tasks"), OFlags::WRONLY)?);
            } else if !is_born_inside {
                // cgroup2 moves whole processes only, through the lock.
                doors.push(open(controller, &dir.join(PROCS), OFlags::WRONLY)?);
            }
        }
        Ok(Entry::through(doors, "the container's cgroup"))
    }

    /// cgroup2's directory for CLONE_INTO_CGROUP (kernel 5.7), on v2 and hybrid machines.
    pub fn clone_fd(&self) -> Result<Option<OwnedFd>> {
        let open = |dir| open(UNIFIED, dir, OFlags::RDONLY | OFlags::DIRECTORY);
        self.path(UNIFIED).map(open).transpose()
    }

    /// Moves the process `pid`, with all its threads, into the cgroup.
    ///
    /// Slow (see [`Entry`]); for processes that cannot be asked to go by themselves.
    pub fn add(&self, pid: i32) -> Result<()> {
        let pid = pid.to_string();
        for (controller, dir) in self.dirs() {
            let mut tries = 1;
            while let Err(error) = files::write(controller, dir, PROCS, &pid) {
                // The scheduler refuses a task that has not run yet (TASK_NEW).
                if error.errno() != Some(Errno::INVAL) || tries == NEWBORN_TRIES {
                    return Err(error);
                }
                tries += 1;
                std::thread::sleep(NEWBORN_WAIT);
            }
        }
        Ok(())
    }
}

fn open(controller: &str, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    files::open(path, flags).map_err(|errno| Error::file(controller, "open", path, errno))
}
