//! A copy of a container's memory, while it runs on.

use super::request::Checkpoint;
use super::{DUMP_LOG, Means, Subject};
use crate::error::{Error, Result};
use crate::progress::Gauge;
use crate::store::{Entry, Pending, ProcessId, Record};
use criu::{DumpOutcome, Features, Notify, PreDump, PreDumpMode, Session};
use rustix::process::Pid;
use std::time::Duration;

/// Makes one. CRIU itself freezes the container for the moments that it needs: only CRIU knows when they are over.
pub(super) fn run(
    entry: &Entry,
    record: &Record,
    subject: &Subject,
    request: Checkpoint,
    mode: Option<PreDumpMode>,
    means: Means<'_>,
) -> Result<criu::Result<DumpOutcome>> {
    let Means { mut session, dirs, gauge } = means;
    require_tracking(&mut session)?;
    let round = PreDump {
        mode,
        parent: request.memory.parent_for_criu(),
        auto_dedup: request.memory.auto_dedup,
        external: subject.external(&request)?,
        freeze_cgroup: record.cgroup.freezer_path().map(|path| path.display().to_string()),
        timeout: request.timeout,
        page_server: request.memory.page_server,
        tls: request.memory.tls,
        ..PreDump::new(subject.init, dirs.for_criu(DUMP_LOG, subject.criu_config.clone()))
    };
    let _thawed_later = (!subject.is_paused).then(|| Guard::new(entry, record, session.pid())).transpose()?;
    let done = session.pre_dump(&round, &mut Watched(gauge));
    if done.is_ok() && request.memory.sync {
        dirs.sync()?;
    }
    Ok(done)
}

/// Nobody who has a say in it.
struct Watched<'a>(Option<Gauge<'a>>);

impl Notify for Watched<'_> {
    fn wanted(&self) -> bool {
        false
    }

    fn interval(&self) -> Option<Duration> {
        self.0.as_ref().map(Gauge::every)
    }

    fn waiting(&mut self) {
        self.0.iter_mut().for_each(Gauge::look);
    }
}

/// Known before anything is frozen.
fn require_tracking(session: &mut Session) -> Result<()> {
    let wanted = Features { mem_track: true, ..Features::default() };
    if session.features(wanted)?.mem_track {
        return Ok(());
    }
    Err(Error::Request(
        "--pre-dump: this kernel cannot track which memory changes (CONFIG_MEM_SOFT_DIRTY); checkpoint without \
         pre-dumps, or use --lazy-pages"
            .into(),
    ))
}

/// The note that the container may be found frozen: were both `rt` and criu killed, the next command would thaw it.
struct Guard<'a> {
    entry: &'a Entry,
    record: Record,
}

impl<'a> Guard<'a> {
    fn new(entry: &'a Entry, record: &Record, criu: Option<i32>) -> Result<Self> {
        let criu = criu.and_then(Pid::from_raw).map(ProcessId::of).transpose()?.flatten();
        let guard = Self { entry, record: Record { pending: Some(Pending::Freeze), criu, ..record.clone() } };
        guard.entry.save(&guard.record)?;
        Ok(guard)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.record.pending = None;
        self.record.criu = None;
        if let Err(e) = self.entry.save(&self.record) {
            log::warn!("{}: {e}", self.entry.id);
        }
    }
}
