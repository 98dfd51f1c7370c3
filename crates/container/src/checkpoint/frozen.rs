//! Holding a container still while CRIU writes it down, and no longer.

use super::companions::Companions;
use super::external::{self, HollowMounts};
use super::files::{self, Found};
use super::{After, outsiders, sockets, stopped};
use crate::error::{Error, Result};
use crate::progress::Gauge;
use crate::store::{Entry, Pending, ProcessId, Record};
use criu::{Answer, Dump, DumpOutcome, ExternalFiles, NetworkLock, Notify, Session};
use rustix::process::Pid;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

/// A container during its dump; dropped, it runs on as before.
///
/// `rt` freezes the cgroup itself: it waits for the kernel's word where CRIU polls in steps of 100 ms. It does so at CRIU's
/// `pre-dump` stage, when CRIU is done probing the kernel and has not touched the container yet: the container need not
/// stand still for that.
pub(super) struct Frozen<'a> {
    entry: &'a Entry,
    record: Record,
    after: After,
    /// The freeze is its user's; it stays.
    was_paused: bool,
    /// The criu that is at work, once there is one.
    criu: Option<Pid>,
    /// The record says that it is.
    noted: bool,
    since: Option<Instant>,
    /// How long it stood still, when it no longer does.
    still: Option<Duration>,
    /// What of the host was found open.
    found: Found,
    /// The search for tmpfs that need not be dumped, unless each is to be.
    hollow_mounts: Option<HollowMounts<'a>>,
    /// The mounts that were found hollow.
    hollow: Vec<rootfs::Hollow>,
    companions: Companions<'a>,
    /// All images are there, and ours beside them.
    written: bool,
    /// How often CRIU, which seizes the processes, is to be looked at.
    seizing: Option<Duration>,
    /// Terminals of the host may be stdio.
    pub(super) terminals: bool,
    /// Who is told that a lazy dump listens.
    pub(super) status: Option<File>,
    /// Who watches.
    pub(super) gauge: Option<Gauge<'a>>,
}

impl<'a> Frozen<'a> {
    pub(super) fn new(
        entry: &'a Entry,
        record: &Record,
        after: After,
        was_paused: bool,
        hollow_mounts: Option<HollowMounts<'a>>,
        companions: Companions<'a>,
    ) -> Self {
        Self {
            entry,
            record: record.clone(),
            after,
            was_paused,
            criu: None,
            noted: false,
            since: None,
            still: None,
            found: Found::default(),
            hollow_mounts,
            hollow: Vec::new(),
            companions,
            written: false,
            seizing: None,
            terminals: false,
            status: None,
            gauge: None,
        }
    }

    /// Dumps; afterwards the container stands still, or its processes are dead.
    pub(super) fn dump(&mut self, mut session: Session, mut dump: Dump<'_>) -> criu::Result<DumpOutcome> {
        self.criu = session.pid().and_then(Pid::from_raw);
        let version = session.version()?;
        log::debug!("criu {version} is ready");
        self.companions.criu = Some(version.clone());
        let (lock, can_skip) = (dump.allow.network_lock, version >= criu::Version::new(3, 19, 0));
        if lock.is_none() && can_skip && self.needs_no_lock(&dump) {
            dump.allow.network_lock = Some(NetworkLock::Skip);
        }
        session.dump(&dump, self)
    }

    /// Whether there is no connection that packets could disturb. Where connections are not allowed there is none, or the
    /// dump fails; where they are, the answer must not change before the freeze, so the freeze comes first.
    fn needs_no_lock(&mut self, dump: &Dump<'_>) -> bool {
        !dump.allow.tcp.established || (self.freeze().is_ok() && !sockets::has_connections(dump.pid))
    }

    fn freeze(&mut self) -> Result<()> {
        if self.noted {
            return Ok(());
        }
        // Written down first: were this process killed, the next command would wait for criu, and thaw.
        self.record.criu = self.criu.map(ProcessId::of).transpose()?.flatten();
        self.record.pending = (!self.was_paused).then_some(Pending::Freeze);
        self.entry.save(&self.record)?;
        self.noted = true;
        if !self.was_paused {
            self.since = Some(Instant::now());
            self.record.cgroup.freeze()?;
        }
        Ok(())
    }

    /// Whether the images are complete, whatever becomes of CRIU now: it tells of `post-dump` when it has written the last of them.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Lets it run on, or its killed processes end, or leaves it as it is. The time is how long it stood still.
    pub(super) fn end(mut self) -> Result<Duration> {
        self.let_go()?;
        if self.after.stays() {
            self.forget()?;
        }
        Ok(self.still.unwrap_or_default())
    }

    fn let_go(&mut self) -> Result<()> {
        let Some(since) = self.since else { return Ok(()) };
        if self.after != After::LeavePaused {
            self.record.cgroup.thaw()?;
        }
        self.since = None;
        self.still = Some(since.elapsed());
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.noted) {
            return Ok(());
        }
        self.record.pending = None;
        self.record.criu = None;
        self.entry.save(&self.record)
    }
}

impl Notify for Frozen<'_> {
    fn interval(&self) -> Option<Duration> {
        self.seizing.into_iter().chain(self.gauge.as_ref().map(Gauge::every)).min()
    }

    fn waiting(&mut self) {
        stopped::look(self.criu, &mut self.seizing, self.entry, &mut self.record);
        self.gauge.iter_mut().for_each(Gauge::look);
    }

    fn pre_dump(&mut self) -> Answer {
        self.freeze()?;
        let living = outsiders::living(&self.record)?;
        stopped::settle(&living, self.entry, &mut self.record)?;
        self.seizing = stopped::interval(&self.record, living.values());
        match (outsiders::refusal(&outsiders::find(&living, &self.record)), self.after) {
            (None, _) => Ok(()),
            (Some(reason), After::Remove | After::ServeMemory) => Err(reason.into()),
            (Some(reason), After::LeaveRunning | After::LeavePaused) => {
                log::warn!("{reason}");
                Ok(())
            }
        }
    }

    fn query_external_files(&mut self) -> Answer<ExternalFiles> {
        self.seizing = None;
        self.found = files::find(&self.record, self.terminals)?;
        let mut external: Vec<String> = self.found.names().collect();
        if let Some(mounts) = &self.hollow_mounts {
            self.hollow = mounts.find()?;
        }
        external.extend(self.hollow.iter().map(external::dumped_as));
        Ok(ExternalFiles { external, ..Default::default() })
    }

    fn post_dump(&mut self) -> Answer {
        self.companions.write(&self.found, &self.hollow)?;
        self.written = true;
        Ok(())
    }

    /// CRIU has let go of all processes, or killed them; its own end takes some milliseconds, for which nobody need stand still.
    fn answered(&mut self) {
        if let Err(e) = self.let_go() {
            log::debug!("{}: {e}", self.entry.id);
        }
    }

    fn status_ready(&mut self) -> Answer {
        log::debug!("{}: waits for who fetches its memory", self.entry.id);
        // Whoever waits sees the end of the file as well.
        self.status.take().map_or(Ok(()), |mut status| Ok(status.write_all(b"\0")?))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let frozen = self.since.take().is_some();
        let thawed = if frozen { self.record.cgroup.thaw().map_err(Error::from) } else { Ok(()) };
        // One that was dumped and is to be removed keeps its note until it is gone.
        let forgotten = if frozen || self.was_paused && !self.written { self.forget() } else { Ok(()) };
        if let Err(e) = thawed.and(forgotten) {
            log::warn!("{}: {e}", self.entry.id);
        }
    }
}
