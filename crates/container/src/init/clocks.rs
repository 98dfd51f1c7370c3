//! The container's clocks: `linux.timeOffsets`.

use super::failure::{During, Failure, Result};
use rustix::fs::{Mode, OFlags};
use spec::Config;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use sys::process::Namespaces;

const OFFSETS: &str = "/proc/self/timens_offsets";

/// A time namespace with offsets, about to be made.
///
/// Offsets can be written only while nobody is in the namespace (time_namespaces(7)), so it is not made by the clone, which would
/// put init into it: init makes it for its children, writes, and joins it itself, as a process with one thread may.
pub(super) struct Clocks {
    file: File,
    lines: String,
}

impl Clocks {
    /// To be called while this process may still open its own files in /proc: in a user namespace they belong to somebody else,
    /// since it is not dumpable. The kernel asks for the rights of whoever opened the file.
    pub(super) fn open(config: &Config) -> Result<Self> {
        let file = File::options().write(true).open(OFFSETS);
        let file = file.map_err(|e| failed(&format!("open {OFFSETS}"), &e))?;
        Ok(Self { file, lines: lines(config) })
    }

    /// Makes the namespace and enters it.
    pub(super) fn enter(mut self) -> Result<()> {
        sys::process::unshare(Namespaces::TIME).during("unshare the time namespace")?;
        let written = self.file.write_all(self.lines.as_bytes());
        written.map_err(|e| failed(&format!("write {:?} to {OFFSETS}", self.lines), &e))?;
        let path = "/proc/self/ns/time_for_children";
        let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .during("open the time namespace")?;
        sys::process::join(namespace.as_fd(), Namespaces::TIME).during("join the time namespace")
    }
}

fn failed(step: &str, error: &std::io::Error) -> Failure {
    let reason = error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror);
    Failure::new(format!("linux.timeOffsets: {step}: {reason}"))
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
