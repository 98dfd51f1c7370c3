//! `delete`, and the end of a container wherever else it comes.

use super::status;
use crate::error::{Error, Result};
use crate::hooks;
use crate::state::HookState;
use crate::status::Status;
use crate::store::{Entry, ProcessId, Record, Store};
use rustix::process::Signal;
use spec::{Config, HookKind, Id};
use std::os::fd::AsFd;
use std::time::Duration;
use sys::regex::Regex;

/// How long a killed process may take to end before it is an error.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Deletes a container that has ended, or with `force` ends it first; then one that does not exist is no error.
pub fn delete(store: &Store, id: &Id, force: bool) -> Result<()> {
    store.sweep();
    let (entry, record) = match store.lock(id) {
        Err(Error::NotFound(_)) if force => return Ok(()),
        Err(Error::Record { path, reason }) if force => {
            log::warn!("{path}: {reason}");
            return remove_unreadable(store, id);
        }
        other => other?,
    };
    match status(&entry, &record)? {
        Status::Stopped => {}
        // A container that was never started has nothing to lose; runc lets it go, too.
        Status::Created => {}
        _ if force => {}
        status => {
            return Err(Error::Status {
                what: "cannot delete container that is not stopped",
                id: id.to_string(),
                status,
            });
        }
    }
    let config = entry.config().ok();
    destroy(entry, &record, config.as_ref())
}

/// Deletes all containers whose ids match an extended regular expression (regex(7)), as [`delete`] does each.
///
/// # Errors
/// The first; the others are deleted all the same.
pub fn delete_matching(store: &Store, pattern: &str, force: bool) -> Result<()> {
    let regex = Regex::new(pattern).map_err(|e| Error::Request(format!("--regex {pattern:?}: {e}")))?;
    let mut result = Ok(());
    for id in store.ids()?.into_iter().filter(|id| regex.matches(id.as_str())) {
        match (delete(store, &id, force), &result) {
            (Err(e), Ok(())) => result = Err(e),
            (Err(e), Err(_)) => log::warn!("{e}"),
            (Ok(()), _) => {}
        }
    }
    result
}

/// Forgets a container whose record is of no use. What it may have left running cannot be known any more.
fn remove_unreadable(store: &Store, id: &Id) -> Result<()> {
    use crate::error::Step;
    let path = store.root().join(id);
    std::fs::remove_dir_all(&path).step(|| format!("remove {}", path.display()))
}

/// Ends a container's processes, removes its cgroup and its directory, and runs its poststop hooks.
pub(crate) fn destroy(entry: Entry, record: &Record, config: Option<&Config>) -> Result<()> {
    destroy_processes(record)?;
    crate::devices::give_back(&entry, record);
    if record.cgroup.remove().is_err() {
        // What lives still was out of reach, and may be forking.
        record.cgroup.kill_stragglers()?;
        record.cgroup.remove()?;
    }
    record.resctrl.as_ref().map_or(Ok(()), cgroup::resctrl::Group::remove)?;
    log::debug!("{}: processes ended, cgroup removed", entry.id);
    let state = config.map(|c| HookState::new(&entry.id, &record.bundle, c));
    entry.remove()?;
    drop(entry);
    if let (Some(config), Some(state)) = (config, state) {
        // The container is gone whatever its hooks say (runtime-spec, lifecycle step 13: log a warning, and go on).
        hooks::run_each(config, HookKind::Poststop, &state.json("stopped", 0), None)
            .for_each(|e| log::warn!("{e}"));
    }
    Ok(())
}

/// Takes away the cgroup of a container that was never finished, and its group in resctrl.
pub(crate) fn undo_groups(record: &Record) -> Result<()> {
    record.cgroup.remove()?;
    Ok(record.resctrl.as_ref().map_or(Ok(()), cgroup::resctrl::Group::undo)?)
}

/// Destroys a container that another command may have deleted meanwhile.
pub(crate) fn destroy_unless_gone(store: &Store, id: &Id, config: &Config) -> Result<()> {
    match store.lock(id) {
        Ok((entry, record)) => destroy(entry, &record, Some(config)),
        Err(Error::NotFound(_)) => Ok(()),
        Err(e) => Err(Error::Request(format!("remove container {id}: {e}"))),
    }
}

/// Kills what is left of a container's processes, waits for init's end, and takes a file tree that is among the host's mounts away.
pub(crate) fn destroy_processes(record: &Record) -> Result<()> {
    let pidfd = record.init.map(ProcessId::pidfd).transpose()?.flatten();
    if record.cgroup.is_none() {
        // While init is there: its orphans could not be told from others'.
        super::members::signal_all(record, Signal::KILL.as_raw())?;
    }
    if let Some(pidfd) = &pidfd {
        let _ = sys::process::signal(pidfd.as_fd(), Signal::KILL.as_raw());
    }
    record.cgroup.kill_all()?;
    if let Some(init) = record.init
        && !init.wait_end(END_TIMEOUT)?
    {
        return Err(Error::Request(format!(
            "process {} was killed but does not end (state D: waiting for a disk or a driver?)",
            init.pid
        )));
    }
    Ok(record.covered.map_or(Ok(()), |covered| rootfs::detach_tree(&record.rootfs, covered))?)
}
