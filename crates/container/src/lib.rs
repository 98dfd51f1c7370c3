//! Containers: the state store, launch, and every operation on them.
//!
//! Each operation is a function from a store and a request to an outcome: [`ops`] holds those that every runtime has,
//! [`checkpoint`] and [`restore`] the two that this one exists for. A container's status is read from the kernel each time;
//! the store holds only what the kernel cannot tell. Nothing here prints, and nothing here has a second thread.

pub mod checkpoint;
mod console;
mod devices;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod hooks;
mod init;
mod launch;
mod mountinfo;
mod notify;
pub mod ops;
pub mod pages;
mod pidfd_socket;
mod placement;
mod progress;
mod repair;
pub mod restore;
mod state;
mod status;
mod store;
pub mod takeover;
mod tree;

pub use error::{Error, Result};
pub use launch::Terminal;
pub use progress::{Progress, Watch};
pub use state::State;
pub use status::Status;
pub use store::Store;

pub use cgroup::Host as SystemdHost;
pub use criu::images;
pub use criu::{CgroupMode, CpuCap, NetworkLock, PageSocket, PreDumpMode, Tcp, Tls};
pub use seccomp::{Features as SeccompFeatures, library_version as libseccomp_version};
pub use sys::process::Exit;

use std::ffi::OsStr;
use std::path::PathBuf;

/// The version of CRIU whose RPC schema this speaks.
pub const CRIU_SCHEMA: &str = "4.2";

/// Finds the criu program: the one that `variable` names ($RT_CRIU), else the first in `path` ($PATH), else the private
/// copy that `scripts/get-criu` makes.
pub fn find_criu(variable: Option<&OsStr>, path: Option<&OsStr>) -> Result<PathBuf> {
    Ok(criu::binary::find(None, variable, path)?)
}

/// Whether the machine's cgroup hierarchy is the unified one alone.
pub fn cgroup2_only() -> Result<bool> {
    Ok(cgroup::Layout::detect()?.is_v2())
}

/// The mount options that this runtime knows by name; others are left to the file system.
pub fn mount_options() -> Vec<&'static str> {
    rootfs::MountOptions::known()
}

/// What a seccomp profile may ask for on this machine; None where the kernel has no seccomp.
pub fn seccomp_features() -> Option<SeccompFeatures> {
    seccomp::features(&std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default())
}
