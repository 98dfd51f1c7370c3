//! What every runtime can do with a container; one file for each command.

mod create;
mod delete;
mod events;
mod exec;
mod foreground;
mod freeze;
mod inspect;
mod kill;
pub(crate) mod members;
mod start;
mod update;

pub use create::{Create, Rootless, Run, create, run};
pub use delete::{delete, delete_matching};
pub use events::{Event, Events};
pub use exec::{Exec, ExecUser, exec};
pub use freeze::{pause, resume};
pub use inspect::{list, processes, state};
pub use kill::kill;
pub use start::start;
pub use update::{Update, update};

pub(crate) use create::{Unfinished, fd_link, stdio_links, terminal, write_pid_file};
pub(crate) use delete::{destroy, destroy_processes, destroy_unless_gone, undo_groups};
pub(crate) use foreground::{attend, prepare as prepare_attendance};

use crate::error::Result;
use crate::launch::START_SOCKET;
use crate::status::Status;
use crate::store::{Entry, Pending, Record};
use spec::Process;

/// Says which capabilities are asked for in vain: they are ignored, as in runc.
pub(crate) fn warn_of_capabilities(process: &Process, has_user_namespace: bool) {
    let names = &process.unknown_capabilities;
    if !names.is_empty() {
        log::warn!("ignoring unknown or unavailable capabilities: [{}]", names.join(" "));
    }
    let Some(sets) = process.capabilities else { return };
    let ambient = spec::capability_list(sets.ambient & !(sets.permitted & sets.inheritable));
    if !ambient.is_empty() {
        log::warn!("can't raise ambient capability {ambient}: not both permitted and inheritable");
    }
    // In a user namespace of its own the container's root has them all.
    let ours = rustix::thread::capabilities(None).map_or(u64::MAX, |ours| ours.permitted.bits());
    let missing = spec::capability_list(sets.permitted & !ours);
    if !has_user_namespace && !missing.is_empty() {
        log::warn!("this process cannot give capabilities that it does not have; ignoring [{missing}]");
    }
}

/// A container's status, derived from the kernel.
pub(crate) fn status(entry: &Entry, record: &Record) -> Result<Status> {
    if record.pending == Some(Pending::Creation) {
        return Ok(Status::Creating);
    }
    let Some(init) = record.init else { return Ok(Status::Stopped) };
    let Some(stat) = init.stat()? else { return Ok(Status::Stopped) };
    if record.criu.is_some_and(|criu| criu.traces(init)) {
        // CRIU thaws those that it has in its hands, and they stand still all the same.
        return Ok(Status::Paused);
    }
    // KERNEL(v1): who is frozen sleeps uninterruptibly, in __refrigerator(); who is seen to run or to wait needs no look at the
    // cgroup, of which a list of many would take most of its time. In cgroup2's freezer one waits like anywhere else.
    let may_be_frozen = record.cgroup.path("freezer").is_none() || !matches!(stat.state, b'R' | b'S');
    if may_be_frozen && record.cgroup.is_frozen()? {
        return Ok(Status::Paused);
    }
    Ok(if entry.has(START_SOCKET) { Status::Created } else { Status::Running })
}
