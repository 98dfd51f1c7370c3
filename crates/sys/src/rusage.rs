//! What ended processes used up.

use crate::error::{Error, Result};
use rustix::process::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// A child that has ended, with what it and the descendants that it waited for used (getrusage(2)).
///
/// A descendant that outlived its parents is not in here: it counts for whoever reaps it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its process id.
    pub pid: Pid,
    /// How it ended.
    pub status: ExitStatus,
    /// Time on a CPU in user space.
    pub user: Duration,
    /// Time on a CPU in the kernel.
    pub system: Duration,
    /// The largest resident set of any single one of these processes, in KiB.
    ///
    /// An exec does not reset it: a process that was made with `vfork` starts with its parent's peak.
    pub max_rss: u64,
}

/// Reaps one child that has ended; `None` when none has, or when there are no children.
pub fn reap() -> Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: rusage is plain data; the call fills it and the status, and reads neither.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    if pid < 0 {
        let error = Error::last("wait4", "-1, WNOHANG");
        return if error.is(libc::ECHILD) { Ok(None) } else { Err(error) };
    }
    Ok(Pid::from_raw(pid).map(|pid| Ended {
        pid,
        status: ExitStatus::from_raw(status),
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        max_rss: u64::try_from(usage.ru_maxrss).unwrap_or_default(),
    }))
}

fn duration(time: libc::timeval) -> Duration {
    // Neither part of a time that was spent is negative.
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}
