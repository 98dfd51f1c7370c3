//! `checkpoint`: a running container becomes a directory of images.
//!
//! ```text
//!   start criu ------------------------------.  (it needs 30 to 60 ms to get ready)
//!   plan, external resources, directories    |
//!   DUMP                                 <---'
//!     CRIU probes the kernel
//!     pre-dump: freeze the cgroup, wait for the kernel's word    --+
//!     CRIU finds it frozen and skips its polling                   | frozen time
//!   kill, or thaw                                                --+
//!   remove cgroup and record
//! ```

pub(crate) mod cgroups;
pub mod check;
mod companions;
mod contents;
pub(crate) mod criu_config;
pub(crate) mod descriptors;
mod dump;
pub(crate) mod external;
pub(crate) mod files;
mod frozen;
pub(crate) mod held;
pub(crate) mod images;
pub(crate) mod manifest;
pub(crate) mod network;
pub(crate) mod outsiders;
mod pre_dump;
mod request;
pub(crate) mod small_file;
mod sockets;
pub(crate) mod stopped;
mod unsupported;
mod vet;

pub use contents::{Contents, Notes, Restored, contents};
pub(crate) use dump::mapped_root;
pub use request::{After, Allowances, Checkpoint, Counted, Kind, Memory, Outcome};

use crate::error::{Error, Result};
use crate::ops::status;
use crate::progress::{Gauge, Watch, Way};
use crate::status::Status;
use crate::store::{Entry, Record, Store};
use images::Directories;
use rootfs::Plan;
use spec::{Config, Namespaces};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of CRIU's log of a dump, in the work directory.
pub const DUMP_LOG: &str = "dump.log";

/// Checkpoints a container. `watch` sees how its memory is written.
pub fn checkpoint(store: &Store, request: Checkpoint, watch: Option<Watch<'_>>) -> Result<Outcome> {
    let started = Instant::now();
    let (entry, record) = store.lock(&request.id)?;
    let subject = Subject::find(&entry, &record, request.criu_config.as_deref())?;
    let session = start(&request)?;
    let dirs = Directories::create(&request.images, request.work.as_deref())?;
    let dirs = dirs.building_on(request.memory.parent.as_deref(), mapped_root(&subject.config))?;
    let cgroup = record.cgroup.clone();
    let gauge = watch.map(|watch| Gauge::new(watch, Way::Dump, dirs.images().as_fd(), &cgroup));
    let means = Means { session, dirs: &dirs, gauge };
    let criu = request.criu.clone();
    let of_criu = Error::of_criu(&criu);
    match request.kind {
        Kind::PreDump(mode) => {
            let asked = check::Asked::new(&request, &record, subject.init, subject.external(&request)?);
            let done = pre_dump::run(&entry, &record, &subject, request, mode, means)?;
            let done = done.map_err(|error| of_criu(asked.explain(error, &record)))?;
            let frozen = done.stats.map_or(Duration::ZERO, |stats| stats.frozen);
            Ok(Outcome::new(started, frozen, dirs.size(), &done))
        }
        Kind::Dump(after) => {
            let (done, frozen) = dump::run(entry, &record, &subject, request, after, means)?;
            Ok(Outcome::new(started, frozen, dirs.size(), &done))
        }
    }
}

/// What a checkpoint is made with.
#[derive(Debug)]
struct Means<'a> {
    session: criu::Session,
    dirs: &'a Directories,
    /// Who watches.
    gauge: Option<Gauge<'a>>,
}

/// A container that can be checkpointed.
#[derive(Debug)]
struct Subject {
    config: Config,
    namespaces: Namespaces,
    plan: Plan,
    /// Its init, as the host counts.
    init: i32,
    /// It was paused, and is to stay so.
    is_paused: bool,
    /// A configuration file that CRIU is to read last.
    criu_config: Option<String>,
}

impl Subject {
    /// Looks at the container; what stands in the way is the error.
    fn find(entry: &Entry, record: &Record, criu_config: Option<&Path>) -> Result<Self> {
        let state = status(entry, record)?;
        let (Status::Running | Status::Paused, Some(init)) = (state, record.init) else {
            return Err(Error::Status {
                what: "container cannot be checkpointed",
                id: entry.id.to_string(),
                status: state,
            });
        };
        let config = entry.config()?;
        refuse_listener(&config)?;
        let namespaces = config.namespaces()?;
        let plan = crate::tree::plan(entry, record, &config)?;
        unsupported::refuse(&config, &namespaces, &plan)?;
        let criu_config = criu_config::file(criu_config, &config)?;
        Ok(Self { config, namespaces, plan, init: init.pid, is_paused: state == Status::Paused, criu_config })
    }

    /// What of it lies outside, with what the caller names besides.
    fn external(&self, request: &Checkpoint) -> Result<Vec<String>> {
        let mut external = external::for_dump(&self.plan, &self.namespaces, self.init, request.portable)?;
        external.extend_from_slice(&request.allow.external);
        Ok(external)
    }
}

/// Starts criu where it can keep what it knows of the kernel. It outlives us, to let the container go on (the record says
/// that it is at work); but nobody waits for one that only serves memory.
fn start(request: &Checkpoint) -> Result<criu::Session> {
    let _view = criu::kernel_cache::view();
    let mut launch = criu::Launch::new(request.criu.clone());
    if request.kind != Kind::Dump(After::ServeMemory) {
        launch.outlive_us();
    }
    Ok(launch.start()?)
}

/// CRIU dumps filters, but not who listens to one: the restored calls would fail with ENOSYS.
fn refuse_listener(config: &Config) -> Result<()> {
    match config.seccomp()?.and_then(|profile| profile.listener) {
        None => Ok(()),
        Some(_) => Err(Error::Request(
            "container cannot be checkpointed: CRIU cannot keep the listener of its seccomp filter \
             (linux.seccomp: SCMP_ACT_NOTIFY)"
                .into(),
        )),
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
