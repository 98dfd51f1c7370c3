//! What every runtime can do with a container; one file for each command.

mod create;
mod delete;
mod exec;
mod foreground;
mod freeze;
mod inspect;
mod kill;
pub(crate) mod members;
mod start;

pub use create::{Create, Rootless, Run, create, run};
pub use delete::delete;
pub use exec::{Exec, ExecUser, exec};
pub use freeze::{pause, resume};
pub use inspect::{list, processes, state};
pub use kill::kill;
pub use start::start;

pub(crate) use create::{Unfinished, stdio_links, terminal, write_pid_file};
pub(crate) use delete::{destroy, destroy_processes, destroy_unless_gone};
pub(crate) use foreground::{attend, prepare as prepare_attendance};

use crate::error::Result;
use crate::launch::START_SOCKET;
use crate::status::Status;
use crate::store::{Entry, Init, Pending, Record};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;

/// A container's status, derived from the kernel.
pub(crate) fn status(entry: &Entry, record: &Record) -> Result<Status> {
    if record.pending == Some(Pending::Creation) {
        return Ok(Status::Creating);
    }
    let Some(init) = record.init else { return Ok(Status::Stopped) };
    if !is_alive(init)? {
        return Ok(Status::Stopped);
    }
    if record.cgroup.is_frozen()? {
        return Ok(Status::Paused);
    }
    Ok(if entry.has(START_SOCKET) { Status::Created } else { Status::Running })
}

/// Whether an init process is still the one that was recorded, and has not ended.
pub(crate) fn is_alive(init: Init) -> Result<bool> {
    let Some(pid) = Pid::from_raw(init.pid) else { return Ok(false) };
    Ok(sys::proc::stat(pid)?.is_some_and(|stat| stat.start_time == init.start_time && !stat.is_dead()))
}

/// A descriptor for init; None when it has ended. Checked after it is opened, so that it cannot be another process' by then.
pub(crate) fn init_pidfd(init: Init) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(init.pid) else { return Ok(None) };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
    Ok(is_alive(init)?.then_some(pidfd))
}
