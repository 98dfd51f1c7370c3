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
pub(crate) mod descriptors;
pub(crate) mod external;
pub(crate) mod files;
mod frozen;
pub(crate) mod images;
pub(crate) mod manifest;
pub(crate) mod network;
mod outsiders;
mod small_file;
mod sockets;
mod unsupported;
mod vet;

use crate::error::{Error, Result};
use crate::ops::{destroy, status};
use crate::status::Status;
use crate::store::{Record, Store};
use criu::{AfterDump, CgroupMode, Dump};
use frozen::Frozen;
use images::Directories;
use manifest::Manifest;
use serde::Serialize;
use spec::{Config, Id};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of CRIU's log of a dump, in the work directory.
pub const DUMP_LOG: &str = "dump.log";

/// What CRIU may find in a container and how it is to treat it: the options that a dump and a restore have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Established TCP connections.
    pub tcp_established: bool,
    /// Unix sockets connected to the outside.
    pub ext_unix_sk: bool,
    /// A session or terminal of the outside.
    pub shell_job: bool,
    /// File locks.
    pub file_locks: bool,
    /// What to do about cgroups; None chooses by what the container has.
    pub cgroups: Option<CgroupMode>,
}

/// What becomes of the container when it is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is gone: the images are all that is left of it.
    Remove,
    /// It runs on (or stays paused).
    LeaveRunning,
}

/// A request to checkpoint a container.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The container.
    pub id: Id,
    /// Where the images go.
    pub images: PathBuf,
    /// Where the log and working files go, if not with the images.
    pub work: Option<PathBuf>,
    /// What becomes of it.
    pub after: After,
    /// What CRIU may find.
    pub allow: Allowances,
    /// The criu program.
    pub criu: PathBuf,
}

/// What came of a checkpoint.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// From the freeze request to the moment the processes run on or are dead, in microseconds; 0 for a container that was
    /// paused before.
    pub frozen_us: u64,
    /// From the request to CRIU's last word, in microseconds.
    pub dump_us: u64,
    /// All of the operation, in microseconds.
    pub total_us: u64,
    /// What CRIU counted; none when it wrote no statistics.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub criu: Option<Counted>,
}

/// CRIU's own numbers of a dump (`stats-dump`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    /// How long freezing took, in microseconds.
    pub criu_freezing_us: u64,
    /// How long the tasks stood still by CRIU's own clock, in microseconds.
    pub criu_frozen_us: u64,
    /// How long memory was read, in microseconds.
    pub memory_dump_us: u64,
    /// How long memory was written, in microseconds.
    pub memory_write_us: u64,
    /// Pages that were looked at.
    pub pages_scanned: u64,
    /// Pages that were written.
    pub pages_written: u64,
}

/// Checkpoints a container.
pub fn checkpoint(store: &Store, request: &Checkpoint) -> Result<Outcome> {
    let started = Instant::now();
    let (entry, record) = store.lock(&request.id)?;
    let state = status(&entry, &record)?;
    let (Status::Running | Status::Paused, Some(init)) = (state, record.init) else {
        return Err(Error::Status {
            what: "container cannot be checkpointed",
            id: request.id.to_string(),
            status: state,
        });
    };
    let config = entry.config()?;
    refuse_listener(&config)?;
    let namespaces = config.namespaces()?;
    let plan = crate::tree::plan(&entry, &record, &config)?;
    unsupported::refuse(&config, &namespaces, &plan)?;
    let session = start(&request.criu)?;
    let dirs = Directories::create(&request.images, request.work.as_deref())?;
    let mut external = external::for_dump(&plan, &namespaces, init.pid)?;
    let new_network = network::can_be_made_anew(&config, init.pid)?;
    if new_network {
        external.push(external::network_of(init.pid)?);
    }
    let dump = dump_request(request, &record, &config, init.pid, external, &dirs)?;
    let hollow = external::HollowMounts { plan: &plan, config: &config, init: init.pid };
    let mut frozen = Frozen::new(&entry, &record, request.after, state == Status::Paused, hollow);
    let outcome = frozen.dump(session, dump).map_err(Error::of_criu(&request.criu))?;
    let (stdio, hollow) = (std::mem::take(&mut frozen.stdio), std::mem::take(&mut frozen.hollow));
    let manifest = Manifest::new(stdio, new_network, hollow, crate::notify::has_directory(&entry));
    manifest.write(dirs.images().as_fd())?;
    descriptors::write(dirs.images().as_fd(), &record.stdio)?;
    if let Some(uid) = mapped_root(&config) {
        dirs.share_with(uid)?;
    }
    let frozen_time = frozen.end()?;
    if request.after == After::Remove {
        destroy(entry, &record, Some(&config))?;
    }
    Ok(Outcome {
        frozen_us: micros(frozen_time),
        dump_us: micros(outcome.timeline.total),
        total_us: micros(started.elapsed()),
        criu: outcome.stats.map(counted),
    })
}

/// Starts criu where it can keep what it knows of the kernel.
fn start(criu: &Path) -> Result<criu::Session> {
    let _view = criu::kernel_cache::view();
    Ok(criu::Launch::new(criu.to_owned()).start()?)
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

/// Who the container's root is on the host, where it has its own user namespace.
fn mapped_root(config: &Config) -> Option<u32> {
    let mut mappings = config.linux()?.uid_mappings().iter().flatten();
    mappings.find(|mapping| mapping.container_id() == 0).map(spec::oci::LinuxIdMapping::host_id)
}

/// The request to CRIU. RPC booleans that nobody asked for stay unset, so that the administrator's configuration holds.
fn dump_request<'a>(
    request: &Checkpoint,
    record: &Record,
    config: &Config,
    init: i32,
    external: Vec<String>,
    dirs: &'a Directories,
) -> Result<Dump<'a>> {
    let allow = request.allow;
    Ok(Dump {
        root: Some(record.rootfs.display().to_string()),
        after: if request.after == After::LeaveRunning { AfterDump::Run } else { AfterDump::Kill },
        freeze_cgroup: record.cgroup.freezer_path().map(|path| path.display().to_string()),
        external,
        ext_unix_sk: allow.ext_unix_sk,
        shell_job: allow.shell_job,
        file_locks: allow.file_locks,
        orphan_pts_master: true,
        tcp: criu::Tcp { established: allow.tcp_established, ..Default::default() },
        cgroups: cgroups::for_dump(allow.cgroups, config, &record.cgroup, init)?,
        ..Dump::new(init, dirs.for_criu(DUMP_LOG))
    })
}

fn counted(stats: criu::stats::DumpStats) -> Counted {
    Counted {
        criu_freezing_us: micros(stats.freezing),
        criu_frozen_us: micros(stats.frozen),
        memory_dump_us: micros(stats.memory_dump),
        memory_write_us: micros(stats.memory_write),
        pages_scanned: stats.pages_scanned,
        pages_written: stats.pages_written,
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
