//! What can go wrong with a resctrl group, one line each.

use std::path::PathBuf;

use rustix::io::Errno;
use sys::strerror;

/// An error that names the field of config.json or the file that it is about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has no resctrl, or nobody has mounted it.
    #[error(
        "linux.intelRdt: Intel RDT is not available: no resctrl file system is mounted (mount -t resctrl resctrl \
         /sys/fs/resctrl)"
    )]
    NotMounted,
    /// The machine cannot divide what this field is about.
    #[error("intelRdt.{field} is specified in config, but Intel RDT/{technology} is not enabled")]
    NotEnabled {
        /// The field of `linux.intelRdt`.
        field: &'static str,
        /// Intel's name for it: CAT (caches) or MBA (bandwidth).
        technology: &'static str,
    },
    /// A class that is to be there is not.
    #[error(
        "linux.intelRdt.closID: {path:?}: {} (it must be there when schemata, l3CacheSchema and memBwSchema are empty)",
        strerror(.errno.raw_os_error())
    )]
    NoClass {
        /// Its directory.
        path: PathBuf,
        /// Why it cannot be used.
        errno: Errno,
    },
    /// A class that is there has other schemata than were asked for, and may be shared.
    #[error(
        "linux.intelRdt.closID: {path:?} exists with other schemata: {wanted:?} was asked for, {found:?} is there"
    )]
    OtherSchemata {
        /// The file.
        path: PathBuf,
        /// The line that was asked for.
        wanted: String,
        /// The line of that resource that is there; empty if there is none.
        found: String,
    },
    /// A group of the container's name has somebody's processes in it.
    #[error("resctrl: the container's group is not empty: {path:?}")]
    NotEmpty {
        /// Its directory.
        path: PathBuf,
    },
    /// A call on a file or directory of the file system failed.
    #[error("resctrl: {action} {path:?}: {}{}", strerror(.errno.raw_os_error()), detail(.status))]
    File {
        /// What was tried, up to the path: `write "7" to`, `read`, `mkdir`.
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
        /// What the kernel says about it (`info/last_cmd_status`); may be empty.
        status: String,
    },
}

/// The kernel's own words in brackets, in one line.
fn detail(status: &str) -> String {
    if status.is_empty() || status == "ok" { String::new() } else { format!(" ({})", sys::one_line(status)) }
}
