//! `start`.

use super::status;
use crate::error::{Error, Result, Step};
use crate::hooks;
use crate::launch::{START_SOCKET, wire};
use crate::notify;
use crate::state::HookState;
use crate::status::Status;
use crate::store::{Entry, Record, Store};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use spec::{HookKind, Id};
use std::path::Path;
use sys::process::Child;

/// Starts a created container's program, and waits until it runs; its failure to is the error.
///
/// `notify_socket` is the service manager's `$NOTIFY_SOCKET`: a container that was made with one is waited for until it is ready.
pub fn start(store: &Store, id: &Id, notify_socket: Option<&Path>) -> Result<()> {
    let (entry, record) = store.lock(id)?;
    match status(&entry, &record)? {
        Status::Created => {}
        Status::Stopped => return refuse("cannot start a container that has stopped", id, Status::Stopped),
        Status::Running => return refuse("cannot start an already running container", id, Status::Running),
        other => return refuse("cannot start a container", id, other),
    }
    let readiness = notify::Relay::listen(&entry, notify_socket)?;
    let step = || format!("start {id}");
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .step(step)?;
    let address = SocketAddrUnix::new(entry.short_path(START_SOCKET)).step(step)?;
    match rustix::net::connect(&socket, &address) {
        // A start that was killed half way: its socket is left, but nobody waits on it any more.
        Err(rustix::io::Errno::CONNREFUSED) => {
            entry.unlink(START_SOCKET);
            return refuse("cannot start an already running container", id, Status::Running);
        }
        other => other.step(step)?,
    }
    // Nobody starts it a second time, whatever becomes of this start.
    entry.unlink(START_SOCKET);
    // Read while init executes the program.
    let config = entry.config();
    wire::next_report(&socket)?;
    log::debug!("{id}: the program runs");
    let config = config?;
    if hooks::any(&config, &[HookKind::Poststart]) {
        let state = HookState::new(id, &record.bundle, &config);
        let pid = record.init.map_or(0, |init| init.pid);
        if let Err(e) = hooks::run(&config, HookKind::Poststart, &state.json("running", pid), None) {
            super::destroy_processes(&record)?;
            return Err(e);
        }
    }
    wait_until_ready(&entry, &record, readiness)
}

/// Others may use the container meanwhile.
fn wait_until_ready(entry: &Entry, record: &Record, readiness: Option<notify::Relay>) -> Result<()> {
    let (Some(relay), Some(init)) = (readiness, record.init) else { return Ok(()) };
    entry.unlock()?;
    match (init.pidfd()?, Pid::from_raw(init.pid)) {
        (Some(pidfd), Some(pid)) => relay.wait(&Child { pid, pidfd }),
        _ => Ok(()),
    }
}

fn refuse(what: &'static str, id: &Id, status: Status) -> Result<()> {
    Err(Error::Status { what, id: id.to_string(), status })
}
