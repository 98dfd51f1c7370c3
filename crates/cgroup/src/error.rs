//! What can go wrong with a cgroup, one line each: controller, file, value, reason.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::strerror;

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the controller, the file and the value it is about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call outside the cgroup tree failed (reading /proc, loading the device filter).
    #[error("cgroup: {0}")]
    Sys(#[from] sys::Error),
    /// A call on a file or directory of the cgroup tree failed.
    #[error("{}: {action} {path:?}: {}", prefix(.controller), strerror(.errno.raw_os_error()))]
    File {
        /// The controller whose hierarchy it is; empty for cgroup2's.
        controller: String,
        /// What was tried, up to the path: `write "7" to`, `read`, `mkdir`.
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
    },
    /// A limit was asked for, and the kernel offers no controller for it here.
    #[error("cgroup {controller}: controller is not available here, cannot set {file} to {value:?}")]
    MissingController {
        /// The controller's name.
        controller: String,
        /// The file that would have been written.
        file: String,
        /// The value that would have been written.
        value: String,
    },
    /// A limit was asked for, and the caller may not make a cgroup in which it could be set.
    #[error(
        "cgroup {controller}: no permission to make a cgroup here, cannot set {file} to {value:?}; delegate one to this user \
         and name it in linux.cgroupsPath, or ask for no limit"
    )]
    NotPermitted {
        /// The controller's name.
        controller: String,
        /// The file that would have been written.
        file: String,
        /// The value that would have been written.
        value: String,
    },
    /// The container was made by a user who may not make cgroups.
    #[error("cgroup: the container has none of its own, cannot freeze or thaw")]
    NoCgroup,
    /// The container has no cgroup that could be frozen.
    #[error("cgroup freezer: controller is not available here, cannot freeze or thaw")]
    NoFreezer,
    /// Neither a v1 hierarchy nor cgroup2 is mounted.
    #[error("cgroup: no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup")]
    NotMounted,
    /// `linux.cgroupsPath` cannot be used.
    #[error("cgroup: linux.cgroupsPath {path:?}: {reason}")]
    BadPath {
        /// The path as the spec has it.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `linux.cgroupsPath` cannot be used where systemd makes the cgroups.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"{}\" instead",
        .0.escape_default()
    )]
    UnitPath(String),
    /// What is to be a slice's name is none.
    #[error("invalid slice name: {}", .0.escape_default())]
    SliceName(String),
    /// What is to be a unit's name is none.
    #[error("invalid unit name {0:?}: up to 255 letters, digits and :-_.\\@ make one")]
    UnitName(String),
    /// An annotation that is to be a property of the unit cannot be used.
    #[error("annotation org.systemd.property.{name}: {reason}")]
    Annotation {
        /// The property's name as given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a unit of this name already.
    #[error("systemd: unit {0} exists already, and is not a failed one")]
    UnitExists(String),
    /// systemd could not be reached, or refused.
    #[error("systemd: {action}: {error}")]
    Systemd {
        /// What was asked of it.
        action: String,
        /// Why it failed.
        error: dbus::Error,
    },
    /// systemd began what it was asked for and did not bring it to its end.
    #[error("systemd: {action}: the job ended as {result:?}")]
    Job {
        /// What was asked of it.
        action: String,
        /// The job's result: `failed`, `timeout`, `canceled` ...
        result: String,
    },
    /// Nothing says where the user's systemd is.
    #[error("systemd: no user manager: neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set")]
    NoUserManager,
    /// Only cgroup2 can be handed to a user's systemd.
    #[error("cannot use rootless systemd cgroups manager on cgroup v1")]
    UserManagerOnV1,
    /// An argument of `exec --cgroup` cannot be used.
    #[error("invalid --cgroup argument: {argument} {reason}")]
    BadSubPath {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A resource of the spec has a value that no kernel would take.
    #[error("linux.resources.{field}: {reason}")]
    BadResource {
        /// The field below `linux.resources`, such as `cpu.shares`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel of v1 cannot press a container's memory below the new limit.
    #[error(
        "cgroup memory: unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})"
    )]
    MemoryInUse {
        /// The limit, in bytes.
        limit: String,
        /// What is used now, in bytes.
        usage: String,
        /// What was used at most, in bytes.
        peak: String,
    },
    /// A limit below what is used was asked for, together with `checkBeforeUpdate`.
    #[error("cgroup memory: rejecting {what} limit {limit} <= usage {usage}")]
    LimitBelowUsage {
        /// `memory`, or `memory+swap`.
        what: &'static str,
        /// The limit, in bytes.
        limit: i64,
        /// What is used now, in bytes.
        usage: u64,
    },
    /// The cgroup exists already, with processes in it.
    #[error("cgroup: container's cgroup is not empty: {count} process(es) found in {path:?}")]
    NotEmpty {
        /// The cgroup's directory.
        path: PathBuf,
        /// How many processes are in it and below.
        count: usize,
    },
    /// The cgroup exists already and is frozen: whatever is started in it would never run.
    #[error("cgroup freezer: container's cgroup unexpectedly frozen: {path:?}")]
    Frozen {
        /// The cgroup's directory.
        path: PathBuf,
    },
    /// Freezing did not finish in time; the cgroup was thawed again.
    #[error(
        "cgroup freezer: {path:?} is still not frozen after {seconds} s: a process is in an uninterruptible wait"
    )]
    FreezeTimeout {
        /// The cgroup's directory.
        path: PathBuf,
        /// How long it was waited.
        seconds: u64,
    },
}

impl Error {
    pub(crate) fn file(controller: &str, action: impl Into<String>, path: &Path, errno: Errno) -> Self {
        Self::File { controller: controller.to_owned(), action: action.into(), path: path.to_owned(), errno }
    }

    pub(crate) fn resource(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::BadResource { field: field.into(), reason: reason.into() }
    }

    /// The errno of a failed call on the cgroup tree.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::File { errno, .. } => Some(*errno),
            Self::Sys(error) => Some(Errno::from_raw_os_error(error.errno)),
            _ => None,
        }
    }
}

fn prefix(controller: &str) -> String {
    if controller.is_empty() { "cgroup".to_owned() } else { format!("cgroup {controller}") }
}
