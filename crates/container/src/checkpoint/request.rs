//! What may be asked of a checkpoint, and what comes of one.

use criu::{CgroupMode, CpuCap, NetworkLock, PageSocket, PreDumpMode, Tcp, Tls};
use serde::Serialize;
use spec::Id;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::micros;

/// A request to checkpoint a container.
#[derive(Debug)]
pub struct Checkpoint {
    /// The container.
    pub id: Id,
    /// Where the images go.
    pub images: PathBuf,
    /// Where the log and working files go, if not with the images.
    pub work: Option<PathBuf>,
    /// How much of it is written, and what becomes of it.
    pub kind: Kind,
    /// Gets a NUL byte when [`After::ServeMemory`] can be served.
    pub status: Option<File>,
    /// Where its memory goes.
    pub memory: Memory,
    /// What CRIU may find.
    pub allow: Allowances,
    /// Give unlinked files that have other names a temporary name for the restore.
    pub link_remap: bool,
    /// The largest unlinked file whose contents go into the images, in bytes; CRIU's default is 1 MiB.
    pub ghost_limit: Option<u32>,
    /// Write images that any runtime can restore, which takes the container longer: nothing is left out that `rt` alone makes again.
    pub portable: bool,
    /// Seconds that freezing may take; CRIU's default is 10.
    pub timeout: Option<u32>,
    /// The criu program.
    pub criu: PathBuf,
    /// A configuration file that it reads last, instead of the container's or the machine's.
    pub criu_config: Option<PathBuf>,
}

/// The kinds of checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Dump(After),
    /// Its memory alone, while it runs on but for moments: for a later checkpoint that names this one as its parent.
    PreDump(Option<PreDumpMode>),
}

/// What becomes of the container when it is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is gone: the images are all that is left of it.
    Remove,
    /// It runs on (or stays paused).
    LeaveRunning,
    /// It stays, paused: for who wants to see the images (or its files) safe elsewhere first.
    LeavePaused,
    /// Its memory is not written, but served to whoever restores it, at [`Memory::page_server`]; then it is gone.
    ServeMemory,
}

/// Where memory goes, and what of it need not be written.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The images of the checkpoint before, relative to this one's: only what changed since is written.
    pub parent: Option<PathBuf>,
    /// Note down which memory changes from now on, for a checkpoint on top of this one.
    pub track: bool,
    /// Take out of the parent's images what this one has anew.
    pub auto_dedup: bool,
    /// Send it here instead of writing it.
    pub page_server: Option<PageSocket>,
    /// Encrypts the way there.
    pub tls: Option<Tls>,
    /// Have the images on the disk before the container is let go.
    pub sync: bool,
}

/// What CRIU may find in a container and how it is to treat it: the options that a dump and a restore have in common.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    /// TCP connections.
    pub tcp: Tcp,
    /// How packets are held back meanwhile; None for as little as the container needs.
    pub network_lock: Option<NetworkLock>,
    /// Unix sockets connected to the outside.
    pub ext_unix_sk: bool,
    /// A session or terminal of the outside.
    pub shell_job: bool,
    /// File locks.
    pub file_locks: bool,
    /// Leave what is in the network namespace to somebody else.
    pub empty_network: bool,
    /// Further resources of the outside, in CRIU's words for them.
    pub external: Vec<String>,
    /// What to do about cgroups; None chooses by what the container has.
    pub cgroups: Option<CgroupMode>,
    /// What of the processor is noted down at a dump and compared at a restore; None for nothing.
    pub cpu_cap: Option<CpuCap>,
}

impl Allowances {
    /// The part of them that is said alike at a dump and at a restore.
    pub(crate) fn to_criu(&self) -> criu::Allowances {
        criu::Allowances {
            tcp: self.tcp,
            network_lock: self.network_lock,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            orphan_pts_master: true,
            cpu_cap: self.cpu_cap,
            ..Default::default()
        }
    }
}

/// What came of a checkpoint.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// From the freeze request to the moment the processes run on or are dead, in microseconds; 0 for a container that was
    /// paused before. For a pre-dump CRIU's own count.
    pub frozen_us: u64,
    /// From the request to CRIU's last word, in microseconds.
    pub dump_us: u64,
    /// All of the operation, in microseconds.
    pub total_us: u64,
    /// What is in the image directory, in bytes; images that were sent to a page server are not.
    pub image_bytes: u64,
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
    /// Pages that were not written because the parent has them.
    pub pages_in_parent: u64,
    /// Pages that were written.
    pub pages_written: u64,
}

impl After {
    /// Whether the container stays, one way or the other.
    pub(super) fn stays(self) -> bool {
        matches!(self, Self::LeaveRunning | Self::LeavePaused)
    }
}

impl Memory {
    /// CRIU's name of the parent.
    pub(super) fn parent_for_criu(&self) -> Option<String> {
        self.parent.as_ref().map(|path| path.display().to_string())
    }
}

impl Outcome {
    pub(super) fn new(
        started: Instant,
        frozen: Duration,
        image_bytes: u64,
        done: &criu::DumpOutcome,
    ) -> Self {
        Self {
            frozen_us: micros(frozen),
            dump_us: micros(done.timeline.total),
            total_us: micros(started.elapsed()),
            image_bytes,
            criu: done.stats.map(Counted::of),
        }
    }
}

impl Counted {
    pub(super) fn of(stats: criu::stats::DumpStats) -> Self {
        Self {
            criu_freezing_us: micros(stats.freezing),
            criu_frozen_us: micros(stats.frozen),
            memory_dump_us: micros(stats.memory_dump),
            memory_write_us: micros(stats.memory_write),
            pages_scanned: stats.pages_scanned,
            pages_in_parent: stats.pages_skipped_parent,
            pages_written: stats.pages_written,
        }
    }
}
