//! What a killed `rt` has left half done, and the opening of containers, which takes it back first.
//!
//! The [`store`](crate::store) knows files and locks; what they mean for processes, cgroups and a criu that is still at work is known
//! here. Whoever holds a container's lock finds in its record all that there is to undo: nobody writes to it then but us.

use crate::checkpoint::stopped;
use crate::error::{Error, Result};
use crate::store::{Entry, Pending, ProcessId, Record, Store};
use spec::Id;
use std::time::Duration;

/// How long a criu without its `rt` may take to give a container back: as long as a dump takes to write what it has in hand. Twice, the
/// second time with the container running.
const CRIU_TIMEOUT: Duration = Duration::from_secs(30);

impl Store {
    /// Makes a container's directory with its first record and its config, locked. A container of that name which a killed `rt` left
    /// half made gives way.
    pub(crate) fn create(&self, id: &Id, record: &Record, config: &[u8]) -> Result<Entry> {
        match self.make(id, record, config) {
            Err(Error::Exists(_)) if self.is_abandoned(id)? => self.make(id, record, config),
            other => other,
        }
    }

    /// Whether what has this id was left half made, or half removed, by a killed `rt`; if so, it is gone now.
    fn is_abandoned(&self, id: &Id) -> Result<bool> {
        match self.open(id).and_then(|entry| Ok(entry.try_lock()?.then(|| repair(&entry)))) {
            Ok(Some(Err(Error::NotFound(_)))) | Err(Error::NotFound(_)) => Ok(true),
            Ok(Some(Err(e))) | Err(e) => Err(e),
            // It is a container, or somebody is at work on it.
            Ok(Some(Ok(_)) | None) => Ok(false),
        }
    }

    /// Opens a container to look at it. Whatever a killed `rt` left half done is taken back first, unless that would take waiting: for
    /// another `rt`, or for a criu, that is at work on the container right now. What the kernel says of it is true all the same.
    pub(crate) fn look(&self, id: &Id) -> Result<(Entry, Record)> {
        let entry = self.open(id)?;
        let record = match entry.load() {
            // Half removed: nobody needs the rest.
            Err(Error::NotFound(id)) if entry.try_lock()? => {
                entry.clear();
                return Err(Error::NotFound(id));
            }
            other => other?,
        };
        let is_at_work = record.criu.map(ProcessId::is_alive).transpose()?.unwrap_or(false);
        if is_at_work { Ok((entry, record)) } else { repaired(entry, record) }
    }

    /// Opens a container to put a process into it: as [`look`](Self::look), but waits for a criu whose `rt` was killed, which might
    /// freeze or dump that process with the others.
    pub(crate) fn join(&self, id: &Id) -> Result<(Entry, Record)> {
        let (entry, record) = self.look(id)?;
        repaired(entry, record)
    }

    /// Opens a container to change it: waits for the lock, and takes back whatever a killed `rt` left half done.
    pub(crate) fn lock(&self, id: &Id) -> Result<(Entry, Record)> {
        let entry = self.open(id)?;
        entry.lock()?;
        let record = repair(&entry)?;
        Ok((entry, record))
    }
}

/// A container that was opened, after its repair if it needs one and nobody is at work on it.
fn repaired(entry: Entry, record: Record) -> Result<(Entry, Record)> {
    if record.is_settled() || !entry.try_lock()? {
        return Ok((entry, record));
    }
    let record = repair(&entry)?;
    entry.unlock()?;
    Ok((entry, record))
}

/// Takes back what a killed `rt` left half done. Called with the lock held.
fn repair(entry: &Entry) -> Result<Record> {
    let mut record = match entry.load() {
        Err(Error::NotFound(id)) => {
            // Removed by another while this one waited for the lock, or its removal was cut short.
            entry.clear();
            return Err(Error::NotFound(id));
        }
        other => other?,
    };
    if record.is_settled() {
        return Ok(record);
    }
    wait_for_criu(entry, &mut record)?;
    match record.pending.take() {
        None => {}
        Some(Pending::Freeze) => record.cgroup.thaw()?,
        Some(Pending::Creation) => return Err(take_away(entry, &record)?),
    }
    entry.save(&record)?;
    Ok(record)
}

/// Takes a container away that was never finished; it is not found then.
fn take_away(entry: &Entry, record: &Record) -> Result<Error> {
    log::debug!("removing {}, which was never finished", entry.path.display());
    crate::ops::destroy_processes(record)?;
    crate::devices::give_back(entry, record);
    crate::ops::undo_groups(record)?;
    entry.remove()?;
    Ok(Error::NotFound(entry.id.clone()))
}

/// A criu whose `rt` was killed finds its socket closed at the next stage, takes its code out of the container's processes and
/// ends. Until then they are in its hands.
fn wait_for_criu(entry: &Entry, record: &mut Record) -> Result<()> {
    stopped::bring_back(record)?;
    let Some(criu) = record.criu else { return Ok(()) };
    let is_over = stopped::wait_for_criu(criu, entry, record, CRIU_TIMEOUT)? || {
        // It may wait for something that cannot come while the container is frozen.
        if record.pending == Some(Pending::Freeze) {
            record.cgroup.thaw()?;
        }
        criu.wait_end(CRIU_TIMEOUT)?
    };
    if is_over {
        record.criu = None;
        let was_paused = record.pending.is_none() && record.init.map_or(Ok(false), ProcessId::is_alive)?;
        // CRIU thaws what it has in its hands, and freezes it again at its end, if it is not killed.
        return if was_paused { Ok(record.cgroup.freeze()?) } else { Ok(()) };
    }
    Err(Error::Request(format!(
        "container {:?}: criu (process {}), whose runtime was killed, still works on it: wait for it, or end it",
        entry.id.as_str(),
        criu.pid
    )))
}
