//! Who is in a container's cgroup, and killing them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use sys::Context;

use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};

impl Cgroup {
    /// The pids of all processes in the cgroup and in the cgroups below it; none if it is gone.
    pub fn processes(&self) -> Result<Vec<i32>> {
        if self.is_none() {
            return Ok(Vec::new());
        }
        let (controller, dir) = self.main();
        in_tree(controller, dir)
    }

    /// Sends SIGKILL to all processes of the container, also frozen ones, and thaws it. They die soon after.
    ///
    /// `cgroup.kill` (kernel 5.14) kills in one step, and no fork can outrun it. Without it the container is frozen
    /// while the signals are sent. On a hybrid machine the v1 side follows: a process may have been put there alone.
    pub fn kill_all(&self) -> Result<()> {
        let is_killed = self.kill_unified()?;
        if is_killed && self.is_v2() {
            return Ok(());
        }
        if !is_killed {
            // A container that does not freeze gets its signals all the same.
            let _ = self.freeze();
        }
        for pid in self.processes()? {
            let Some(pid) = Pid::from_raw(pid) else { continue };
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                result => result.call("kill", || format!("{pid}, SIGKILL"))?,
            }
        }
        match self.thaw() {
            Err(Error::NoFreezer | Error::NoCgroup) => Ok(()),
            result => result,
        }
    }

    fn kill_unified(&self) -> Result<bool> {
        let Some(dir) = self.path(UNIFIED) else { return Ok(false) };
        match files::write(UNIFIED, dir, "cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The pids in `dir` and below.
pub(crate) fn in_tree(controller: &str, dir: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    collect(controller, dir, &mut pids)?;
    Ok(pids)
}

fn collect(controller: &str, dir: &Path, pids: &mut Vec<i32>) -> Result<()> {
    match files::read_list(controller, dir, "cgroup.procs") {
        // 0 is a process outside our pid namespace.
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid != 0));
        }
        Err(error) if is_gone(&error) => return Ok(()),
        // A threaded cgroup of v2: its processes are listed further up.
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    children(controller, dir)?.iter().try_for_each(|child| collect(controller, child, pids))
}

/// The cgroups right below `dir`.
pub(crate) fn children(controller: &str, dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |errno| Error::file(controller, "list", dir, errno);
    // A cgroup's link count is two more than its children; most have none, and need no listing.
    match rustix::fs::stat(dir) {
        Ok(stat) if stat.st_nlink <= 2 => return Ok(Vec::new()),
        Ok(_) => {}
        Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
        Err(errno) => return Err(fail(errno)),
    }
    let fd = files::open(dir, OFlags::RDONLY | OFlags::DIRECTORY).map_err(fail)?;
    let mut found = Vec::new();
    for entry in Dir::new(fd).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            found.push(dir.join(OsStr::from_bytes(name)));
        }
    }
    Ok(found)
}

/// Whether the cgroup is not there, or was removed between open and read.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV))
}
