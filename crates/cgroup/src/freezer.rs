//! Stopping all processes of a container where they are, and letting them go on.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};
use crate::layout::{Hierarchy, Layout};
use crate::processes::is_gone;

/// How long freezing may take: a process in an uninterruptible wait (a stuck disk or NFS server) holds it up.
pub const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

const V1_STATE: &str = "freezer.state";
const V2_FREEZE: &str = "cgroup.freeze";
const PROCESSES: &str = "cgroup.procs";
const V2_EVENTS: &str = "cgroup.events";

/// How far freezing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The processes run.
    Thawed,
    /// Some processes may run still.
    Freezing,
    /// No process runs.
    Frozen,
}

/// The freezer's directory, by generation.
#[derive(Clone, Copy)]
enum Freezer<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl Cgroup {
    /// The directory that is frozen, as CRIU's `freeze_cgroup` wants it: v1's if there is one, else cgroup2's.
    pub fn freezer_path(&self) -> Option<&Path> {
        self.path("freezer").or_else(|| self.path(UNIFIED))
    }

    /// Freezes all processes of the container and waits until they are, at most [`FREEZE_TIMEOUT`].
    ///
    /// # Errors
    /// When it fails, the container is thawed again: half frozen it would be of use to nobody.
    pub fn freeze(&self) -> Result<()> {
        let frozen = match self.freezer()? {
            Freezer::V1(dir) => freeze_v1(dir),
            Freezer::V2(dir) => freeze_v2(dir),
        };
        if frozen.is_err() {
            let _ = self.thaw();
        }
        frozen
    }

    /// Has all processes freeze as soon as they can, without waiting for it: those under a tracer's hands cannot before it lets go.
    pub fn begin_freeze(&self) -> Result<()> {
        match self.freezer()? {
            Freezer::V1(dir) => files::write("freezer", dir, V1_STATE, "FROZEN"),
            Freezer::V2(dir) => files::write("", dir, V2_FREEZE, "1"),
        }
    }

    /// Moves a process from the container's freezer to where we are ourselves: what it does must go on while the container stands
    /// still.
    pub fn expel(&self, pid: i32) -> Result<()> {
        let (controller, hierarchy) = self.freezer_hierarchy()?;
        let own = hierarchy.mountpoint.join(hierarchy.own_relative());
        files::write(controller, &own, PROCESSES, &pid.to_string())
    }

    /// The directory in which a process is frozen with the container; it may be one below the container's.
    pub fn freezer_of(&self, pid: i32) -> Result<PathBuf> {
        let (controller, hierarchy) = self.freezer_hierarchy()?;
        let memberships = files::read_list(controller, Path::new(&format!("/proc/{pid}")), "cgroup")?;
        let place = memberships.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let below = Path::new(path).strip_prefix(&hierarchy.root).ok()?;
            controllers.split(',').any(|name| name == controller).then(|| hierarchy.mountpoint.join(below))
        });
        place.ok_or(Error::NoFreezer)
    }

    /// Moves a process back to where [`freezer_of`](Self::freezer_of) has found it; one that has ended meanwhile need not be moved.
    pub fn readmit(&self, pid: i32, place: &Path) -> Result<()> {
        match files::write(self.main().0, place, PROCESSES, &pid.to_string()) {
            Err(error) if error.errno() == Some(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    fn freezer_hierarchy(&self) -> Result<(&'static str, Hierarchy)> {
        let layout = Layout::detect()?;
        let (controller, hierarchy) = match self.freezer()? {
            Freezer::V1(_) => {
                let has_freezer =
                    |hierarchy: &Hierarchy| hierarchy.controllers.iter().any(|name| name == "freezer");
                ("freezer", layout.hierarchies.into_iter().find(has_freezer))
            }
            Freezer::V2(_) => (UNIFIED, layout.unified),
        };
        Ok((controller, hierarchy.ok_or(Error::NoFreezer)?))
    }

    /// Lets the processes go on; nothing happens if they run already, or if the cgroup has gone with the last of them, as
    /// systemd sees to.
    pub fn thaw(&self) -> Result<()> {
        let thawed = match self.freezer()? {
            Freezer::V1(dir) => files::write("freezer", dir, V1_STATE, "THAWED"),
            Freezer::V2(dir) => files::write("", dir, V2_FREEZE, "0"),
        };
        match thawed {
            Err(error) if is_gone(&error) => Ok(()),
            thawed => thawed,
        }
    }

    /// Thaws cgroups that the container has made and frozen itself: on v1, what is in them cannot die before.
    pub(crate) fn thaw_below(&self, dirs: &[PathBuf]) {
        if self.path("freezer").is_some() {
            for dir in dirs {
                // One that is gone is as good.
                let _ = files::write("freezer", dir, V1_STATE, "THAWED");
            }
        }
    }

    /// Does something while no process of the container runs; one that cannot be frozen runs on meanwhile.
    pub(crate) fn while_frozen<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let thaw = !self.is_frozen()? && self.freeze().is_ok();
        let done = work();
        if thaw {
            self.thaw()?;
        }
        done
    }

    /// How far freezing is. An ancestor that is frozen does not count: nobody could thaw it from here.
    pub fn state(&self) -> Result<State> {
        match self.freezer()? {
            Freezer::V1(dir) => state_v1(dir),
            Freezer::V2(dir) => match files::read("", dir, V2_FREEZE)?.as_str() {
                "0" => Ok(State::Thawed),
                _ if is_frozen_v2(&files::read("", dir, V2_EVENTS)?) => Ok(State::Frozen),
                _ => Ok(State::Freezing),
            },
        }
    }

    /// Whether the container was told to freeze; a cgroup that is gone or cannot freeze is not frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        let state = match self.freezer() {
            Ok(Freezer::V1(dir)) => state_v1(dir).map(|state| state != State::Thawed),
            Ok(Freezer::V2(dir)) => files::read("", dir, V2_FREEZE).map(|text| text == "1"),
            Err(_) => return Ok(false),
        };
        match state {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => Ok(false),
            state => state,
        }
    }

    fn freezer(&self) -> Result<Freezer<'_>> {
        match (self.path("freezer"), self.path(UNIFIED)) {
            (Some(dir), _) => Ok(Freezer::V1(dir)),
            (None, Some(dir)) => Ok(Freezer::V2(dir)),
            (None, None) if self.is_none() => Err(Error::NoCgroup),
            (None, None) => Err(Error::NoFreezer),
        }
    }
}

/// v1: there is no event to wait for, and a process that forks at the wrong moment can keep the state at `FREEZING` for
/// good. Reading the state makes the kernel look again, writing it again catches who slipped through, and a thaw now
/// and then lets processes pass that wait for one another (vfork).
fn freeze_v1(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    let mut wait = Duration::from_micros(20);
    for round in 1u32.. {
        files::write("freezer", dir, V1_STATE, "FROZEN")?;
        if files::read("freezer", dir, V1_STATE)? == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            break;
        }
        if round.is_multiple_of(50) {
            files::write("freezer", dir, V1_STATE, "THAWED")?;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(5));
    }
    Err(Error::FreezeTimeout { path: dir.to_owned(), seconds: FREEZE_TIMEOUT.as_secs() })
}

fn state_v1(dir: &Path) -> Result<State> {
    match files::read("freezer", dir, V1_STATE)?.as_str() {
        "THAWED" => Ok(State::Thawed),
        _ if files::read("freezer", dir, "freezer.self_freezing")? == "0" => Ok(State::Thawed),
        "FROZEN" => Ok(State::Frozen),
        _ => Ok(State::Freezing),
    }
}

/// v2: the kernel tells by an event on `cgroup.events`, which is opened first so that none is missed.
fn freeze_v2(dir: &Path) -> Result<()> {
    let path = dir.join(V2_EVENTS);
    let fail = |errno| Error::file("", "read", &path, errno);
    let events = files::open(&path, OFlags::RDONLY).map_err(fail)?;
    files::write("", dir, V2_FREEZE, "1")?;
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    while !is_frozen_v2(&files::read_value(&events).map_err(fail)?) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::FreezeTimeout { path: dir.to_owned(), seconds: FREEZE_TIMEOUT.as_secs() });
        }
        wait_event(&events, left).map_err(fail)?;
    }
    Ok(())
}

fn is_frozen_v2(events: &str) -> bool {
    events.lines().any(|line| line == "frozen 1")
}

/// Waits until the file has changed since it was read; a signal ends the wait as well.
fn wait_event(file: &OwnedFd, left: Duration) -> rustix::io::Result<()> {
    let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
    match poll(&mut [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
