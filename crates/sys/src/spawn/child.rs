//! A started program, until it is reaped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use crate::{Context, Result};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The status that a shell, and so a runtime's foreground `run`, reports: 128 + n for a signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// From a status as wait(2) gives it.
    pub fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// A started program. Dropped before it was waited for, it is killed and reaped.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
    exit: Option<Exit>,
}

impl Child {
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, exit: None }
    }

    /// Its process id, in our pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pidfd: readable once it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends SIGKILL; not an error when it has ended already.
    pub fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.call("pidfd_send_signal", || format!("pid {}, SIGKILL", self.pid)),
        }
    }

    /// Kills what is left of its process group, which must be its own ([`Spawn::own_group`](super::Spawn::own_group)).
    pub fn kill_group(&self) {
        if let Some(group) = Pid::from_raw(self.pid) {
            // ESRCH: nobody is left in it.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits for its end and reaps it; again and again gives the same answer.
    pub fn wait(&mut self) -> Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let status = loop {
            match waitpid(Pid::from_raw(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.call("waitpid", || format!("pid {}", self.pid))?,
            }
        };
        let exit = Exit::from_status(status.map_or(0, |(_, status)| status.as_raw()));
        self.exit = Some(exit);
        Ok(exit)
    }

    /// As [`Child::wait`], for at most `limit`; `None` when it still runs then.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<Exit>> {
        if self.exit.is_none() {
            let limit = Timespec::try_from(limit).ok();
            let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut watched, limit.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
                other => other.call("poll", || format!("pidfd of {}", self.pid))?,
            };
        }
        self.wait().map(Some)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // A child that cannot be killed or waited for has gone; there is nobody to tell.
            let _ = self.kill();
            let _ = self.wait();
        }
    }
}
