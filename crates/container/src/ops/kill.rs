//! `kill`.

use super::{members, status};
use crate::error::{Error, Result};
use crate::status::Status;
use crate::store::{ProcessId, Store};
use rustix::process::Signal;
use spec::Id;
use spec::oci::LinuxNamespaceType as Ns;
use std::os::fd::AsFd;

/// Sends a signal, by number, to init, or with `all` to every process of the container.
///
/// A frozen process can only be killed by thawing it (on cgroup v1); SIGKILL does that.
pub fn kill(store: &Store, id: &Id, signal: i32, all: bool) -> Result<()> {
    let (mut entry, mut record) = store.look(id)?;
    if !record.is_settled() {
        // A checkpoint is under way, and CRIU waits for ever for a process that was killed under its hands (CRIU(4.2)).
        (entry, record) = store.lock(id)?;
    }
    let now = status(&entry, &record)?;
    let kill = signal == Signal::KILL.as_raw();
    // Init's end ends a pid namespace; without one of its own, its other processes would live on.
    let shares_pids = !entry.config().is_ok_and(|c| c.namespaces().is_ok_and(|n| n.is_private(Ns::Pid)));
    if all || (kill && shares_pids) {
        if now == Status::Stopped && members::pids(&record)?.is_empty() {
            return if all { Ok(()) } else { Err(not_running(id, now)) };
        }
        members::signal_all(&record, signal)?;
    } else {
        let pidfd =
            record.init.filter(|_| now != Status::Stopped).map(ProcessId::pidfd).transpose()?.flatten();
        let Some(pidfd) = pidfd else { return Err(not_running(id, Status::Stopped)) };
        sys::process::signal(pidfd.as_fd(), signal)?;
    }
    log::debug!("{id}: signal {signal} sent{}", if all { " to all" } else { "" });
    if kill && now == Status::Paused {
        record.cgroup.thaw()?;
    }
    Ok(())
}

fn not_running(id: &Id, status: Status) -> Error {
    Error::Status { what: "container not running", id: id.to_string(), status }
}
