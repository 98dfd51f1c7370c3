//! What may be asked of a restore, and what comes of one.

use crate::checkpoint::{Allowances, micros};
use cgroup::Host;
use serde::Serialize;
use spec::Id;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use sys::process::Exit;

/// A request to restore a container.
#[derive(Debug)]
pub struct Restore {
    /// The id that it gets; it need not be the one it had.
    pub id: Id,
    /// The bundle's directory; it need not be the one it had.
    pub bundle: PathBuf,
    /// Where the images are.
    pub images: PathBuf,
    /// Where the log and working files go, if not with the images.
    pub work: Option<PathBuf>,
    /// What CRIU may find.
    pub allow: Allowances,
    /// Fetch memory when it is needed, from `criu lazy-pages` in the same work directory.
    pub lazy_pages: bool,
    /// Take out of the images what has been read.
    pub auto_dedup: bool,
    /// What may be different here from where it was dumped.
    pub tolerate: Tolerances,
    /// Leave it paused: none of its processes has run when this returns.
    pub leave_paused: bool,
    /// Descriptors that stand for those, from 3 on, that the container was passed when it was made; None for one that is not there.
    pub passed: Vec<Option<OwnedFd>>,
    /// Descriptors that stand for resources of the outside, by CRIU's names for these.
    pub inherit_fds: Vec<(String, OwnedFd)>,
    /// The criu program.
    pub criu: PathBuf,
    /// A configuration file that it reads last, instead of the container's or the machine's.
    pub criu_config: Option<PathBuf>,
    /// Who receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Where init's process id is to be written.
    pub pid_file: Option<PathBuf>,
    /// Return when it runs, instead of when it has ended.
    pub detach: bool,
    /// Leave it the caller's session keyring, instead of a new one.
    pub no_new_keyring: bool,
    /// Do not adopt the orphans of the container.
    pub no_subreaper: bool,
    /// The systemd that is to make the cgroup; None: it is made here.
    pub systemd: Option<Host>,
    /// Another security profile than the dumped one (`apparmor:NAME`, `selinux:LABEL`).
    pub lsm_profile: Option<String>,
    /// Another SELinux context for mounts.
    pub lsm_mount_context: Option<String>,
}

/// Differences between then and now that a restore may overlook.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tolerances {
    /// Permissions of files that have changed; CRIU 3.18.
    pub file_modes: bool,
    /// Kernel parameters that this kernel does not have.
    pub missing_sysctls: bool,
    /// A kernel older than 5.15: restore mounts as CRIU did before 3.17.
    pub old_mounts: bool,
}

/// What came of a restore.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// From the request to CRIU until its last word, in microseconds.
    pub restore_us: u64,
    /// From the request until the container runs, in microseconds.
    pub total_us: u64,
    /// What CRIU counted; none when it wrote no statistics.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub criu: Option<Counted>,
    /// How init ended, for a restore in the foreground.
    #[serde(skip)]
    pub exit: Option<Exit>,
}

/// CRIU's own numbers of a restore (`stats-restore`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    /// Until all processes were there, in microseconds.
    pub forking_us: u64,
    /// Until all were ready to run, in microseconds.
    pub criu_restore_us: u64,
    /// Pages that were filled from the images.
    pub pages_restored: u64,
    /// Pages that were compared with the parent process'.
    pub pages_compared: u64,
    /// Pages that were the same there, and are shared.
    pub pages_shared: u64,
}

impl Counted {
    pub(super) fn of(stats: criu::stats::RestoreStats) -> Self {
        Self {
            forking_us: micros(stats.forking),
            criu_restore_us: micros(stats.restore),
            pages_restored: stats.pages_restored,
            pages_compared: stats.pages_compared,
            pages_shared: stats.pages_skipped_cow,
        }
    }
}
