//! A process by what names it for good.

use crate::error::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::Duration;
use sys::proc::Stat;

/// A process that later commands must find again, or find gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessId {
    /// Its number in the host's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: with the pid it names the process for good.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this number now; `None` when there is none.
    pub(crate) fn of(pid: Pid) -> Result<Option<Self>> {
        let stat = sys::proc::stat(pid)?;
        Ok(stat.map(|stat| Self { pid: pid.as_raw_pid(), start_time: stat.start_time }))
    }

    /// Whether it is still the one that was recorded, and has not ended.
    pub(crate) fn is_alive(self) -> Result<bool> {
        Ok(self.stat()?.is_some())
    }

    /// What the kernel tells of it; `None` when it has ended.
    pub(crate) fn stat(self) -> Result<Option<Stat>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        Ok(sys::proc::stat(pid)?.filter(|stat| stat.start_time == self.start_time && !stat.is_dead()))
    }

    /// A descriptor for it; `None` when it has ended. Checked after it is opened, so that it cannot be another process' by then.
    pub(crate) fn pidfd(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
        Ok(self.is_alive()?.then_some(pidfd))
    }

    /// Whether it traces another one.
    pub(crate) fn traces(self, other: Self) -> bool {
        Pid::from_raw(other.pid).and_then(sys::proc::tracer_of) == Pid::from_raw(self.pid)
    }

    /// Waits for its end, at most so long; whether it has come.
    pub(crate) fn wait_end(self, limit: Duration) -> Result<bool> {
        let Some(pidfd) = self.pidfd()? else { return Ok(true) };
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
        Ok(!self.is_alive()?)
    }
}
