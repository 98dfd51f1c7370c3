//! A copy of a container's memory, while it runs on.

use super::request::Checkpoint;
use super::{DUMP_LOG, Means, Subject, mapped_root, outsiders, stopped};
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
    let mut guard = Guard::new(entry, record, session.pid(), subject.is_paused, gauge)?;
    let done = session.pre_dump(&round, &mut guard);
    if done.is_ok() {
        mapped_root(&subject.config).map_or(Ok(()), |uid| dirs.share_with(uid))?;
        if request.memory.sync {
            dirs.sync()?;
        }
    }
    Ok(done)
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
    /// The criu that is at work.
    criu: Option<Pid>,
    /// How often it is to be looked at; it does not tell when it has seized all.
    seizing: Option<Duration>,
    gauge: Option<Gauge<'a>>,
}

impl<'a> Guard<'a> {
    fn new(
        entry: &'a Entry,
        record: &Record,
        criu: Option<i32>,
        is_paused: bool,
        gauge: Option<Gauge<'a>>,
    ) -> Result<Self> {
        let criu = criu.and_then(Pid::from_raw);
        let seizing = stopped::interval(record, outsiders::living(record)?.values());
        let mut record = record.clone();
        record.pending = (!is_paused).then_some(Pending::Freeze);
        record.criu = criu.map(ProcessId::of).transpose()?.flatten();
        entry.save(&record)?;
        Ok(Self { entry, record, criu, seizing, gauge })
    }
}

/// Has no say in it.
impl Notify for Guard<'_> {
    fn wanted(&self) -> bool {
        false
    }

    fn interval(&self) -> Option<Duration> {
        self.seizing.into_iter().chain(self.gauge.as_ref().map(Gauge::every)).min()
    }

    fn waiting(&mut self) {
        stopped::look(self.criu, &mut self.seizing, self.entry, &mut self.record);
        self.gauge.iter_mut().for_each(Gauge::look);
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
