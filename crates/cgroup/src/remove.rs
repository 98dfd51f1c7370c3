//! Removing a container's cgroups.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs;
use rustix::io::Errno;

use crate::driver::systemd::Unit;
use crate::error::{Error, Result};
use crate::group::Cgroup;
use crate::processes::children;

/// How long processes that were killed may take to leave.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The first wait; most processes are gone by then. Each following one is twice as long, up to the last.
const FIRST_WAIT: Duration = Duration::from_micros(50);
const LAST_WAIT: Duration = Duration::from_millis(10);

impl Cgroup {
    /// Removes the cgroup with all cgroups below it, and its unit; what is not there is no error.
    ///
    /// The kernel refuses with `EBUSY` as long as a process is in the cgroup, and processes that were just killed take
    /// a moment to go. All hierarchies share one deadline, and are tried in turns.
    ///
    /// # Errors
    /// `EBUSY` if processes are still there after a second.
    pub fn remove(&self) -> Result<()> {
        let stopped = self.unit.as_ref().map_or(Ok(()), Unit::stop);
        // Whatever systemd says: most of the directories on v1 are none of its own.
        self.remove_dirs().and(stopped)
    }

    fn remove_dirs(&self) -> Result<()> {
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        let mut wait = FIRST_WAIT;
        let mut left = self.dirs();
        loop {
            let mut busy = None;
            let mut failed = None;
            left.retain(|(controller, dir)| match remove_tree(controller, dir) {
                Ok(()) => false,
                Err(error) if error.errno() == Some(Errno::BUSY) => {
                    busy = Some(error);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            });
            match (failed, busy) {
                (Some(error), _) => return Err(error),
                (None, None) => return Ok(()),
                (None, Some(error)) if Instant::now() > deadline => return Err(error),
                (None, Some(_)) => {}
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(LAST_WAIT);
        }
    }
}

/// Removes `dir`; what is below it only if it is in the way.
fn remove_tree(controller: &str, dir: &Path) -> Result<()> {
    let rmdir = || match fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::file(controller, "rmdir", dir, errno)),
    };
    match rmdir() {
        Err(error) if error.errno() == Some(Errno::BUSY) => {
            let below = children(controller, dir)?;
            if below.is_empty() {
                return Err(error);
            }
            below.iter().try_for_each(|child| remove_tree(controller, child))?;
            rmdir()
        }
        result => result,
    }
}
