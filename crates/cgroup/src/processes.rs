//! Who is in a container's cgroup, and killing them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

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
        Ok(tree(controller, dir)?.pids)
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
        let below = self.signal_each(Signal::KILL.as_raw())?;
        self.thaw_below(&below);
        match self.thaw() {
            Err(Error::NoFreezer | Error::NoCgroup) => Ok(()),
            result => result,
        }
    }

    /// Kills what [`kill_all`](Self::kill_all) has not reached: processes that keep forking in a hierarchy without `cgroup.kill`,
    /// moved there by somebody.
    pub fn kill_stragglers(&self) -> Result<()> {
        let _ = self.freeze();
        self.signal_each(Signal::KILL.as_raw())?;
        self.kill_all()
    }

    /// Sends a signal, by number, to all processes of the container, of which none can fork meanwhile, as runc does. A container
    /// that is frozen stays so.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        self.while_frozen(|| self.signal_each(signal)).map(drop)
    }

    /// Returns the cgroups below the container's.
    fn signal_each(&self, signal: i32) -> Result<Vec<PathBuf>> {
        if self.is_none() {
            return Ok(Vec::new());
        }
        let (controller, dir) = self.main();
        let tree = tree(controller, dir)?;
        for pid in tree.pids.into_iter().filter_map(Pid::from_raw) {
            match sys::process::kill(pid, signal) {
                Err(error) if !error.is(Errno::SRCH.raw_os_error()) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(tree.below)
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

/// What is in a cgroup.
#[derive(Debug, Default)]
struct Tree {
    /// The pids in it and below.
    pids: Vec<i32>,
    /// All cgroups below it.
    below: Vec<PathBuf>,
}

/// The pids in `dir` and below.
pub(crate) fn in_tree(controller: &str, dir: &Path) -> Result<Vec<i32>> {
    Ok(tree(controller, dir)?.pids)
}

fn tree(controller: &str, dir: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    collect(controller, dir, &mut tree)?;
    Ok(tree)
}

fn collect(controller: &str, dir: &Path, tree: &mut Tree) -> Result<()> {
    match files::read_list(controller, dir, "cgroup.procs") {
        // 0 is a process outside our pid namespace.
        Ok(text) => {
            let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
            tree.pids.extend(pids.filter(|pid| *pid != 0));
        }
        Err(error) if is_gone(&error) => return Ok(()),
        // A threaded cgroup of v2: its processes are listed further up.
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    for child in children(controller, dir)? {
        collect(controller, &child, tree)?;
        tree.below.push(child);
    }
    Ok(())
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
