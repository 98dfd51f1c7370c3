//! The container's clocks: `linux.timeOffsets`.

use super::failure::{During, Failure, Result};
use rustix::fs::{Mode, OFlags};
use spec::Config;
use std::os::fd::AsFd;
use sys::process::Namespaces;

/// Makes a time namespace with these offsets and enters it.
///
/// Offsets can be written only while nobody is in the namespace (time_namespaces(7)), so it is not made by the clone, which would
/// put init into it: init makes it for its children, writes, and joins it itself, as a process with one thread may.
pub(super) fn enter(config: &Config) -> Result<()> {
    let offsets = lines(config);
    sys::process::unshare(Namespaces::TIME).during("unshare the time namespace")?;
    std::fs::write("/proc/self/timens_offsets", &offsets).map_err(|e| {
        let reason = e.raw_os_error().map_or_else(|| e.to_string(), sys::strerror);
        Failure::new(format!("linux.timeOffsets: write {offsets:?} to /proc/self/timens_offsets: {reason}"))
    })?;
    let path = "/proc/self/ns/time_for_children";
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("open the time namespace")?;
    sys::process::join(namespace.as_fd(), Namespaces::TIME).during("join the time namespace")
}

/// One line for each clock: its name, seconds, nanoseconds.
fn lines(config: &Config) -> String {
    let offsets = config.linux().and_then(|l| l.time_offsets().as_ref()).into_iter().flatten();
    offsets
        .map(|(clock, offset)| {
            format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
        })
        .collect()
}

/// Whether a new time namespace gets offsets.
pub(crate) fn are_shifted(config: &Config) -> bool {
    config.linux().and_then(|l| l.time_offsets().as_ref()).is_some_and(|offsets| !offsets.is_empty())
}
