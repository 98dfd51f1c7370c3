//! A stand-in for a runtime, which notes when each call of it began and ended.
//!
//! It is this program itself under another name: engines hand the runtime they call neither arguments nor an environment of ours.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// The directory of the stand-ins; a program that is called by a path in it is one.
const DIRECTORY: &str = "timed";

/// The stand-in for one runtime.
#[derive(Debug)]
pub(crate) struct Timed {
    /// The runtime's name.
    pub(crate) name: &'static str,
    /// What an engine is told to call.
    pub(crate) path: PathBuf,
}

/// Since the machine's start, as all processes see it.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

impl Timed {
    /// Makes the one for `program`, in a directory below `dir`.
    pub(crate) fn make(dir: &Path, name: &'static str, program: &Path) -> Result<Self> {
        let directory = dir.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        symlink(std::env::current_exe()?, &path)?;
        symlink(program, path.with_extension("program"))?;
        File::create(path.with_extension("log"))?;
        Ok(Self { name, path })
    }

    /// What docker calls it: `runc` is a name of its own.
    pub(crate) fn for_docker(&self) -> String {
        format!("timed-{}", self.name)
    }

    /// How much of the time between two moments passed in calls of the runtime; those before are forgotten.
    pub(crate) fn spent(&self, from: Duration, to: Duration) -> Result<Duration> {
        let log = self.path.with_extension("log");
        let text = fs::read_to_string(&log)?;
        fs::write(&log, "")?;
        let mut calls = text.lines().map(interval).collect::<Option<Vec<_>>>().context("the calls' log")?;
        calls.sort_unstable();
        // Calls may overlap: what two of them share counts once.
        let (mut spent, mut until) = (Duration::ZERO, from);
        for (begin, end) in calls {
            let (begin, end) = (begin.max(until), end.min(to));
            spent += end.saturating_sub(begin);
            until = until.max(end);
        }
        Ok(spent)
    }
}

fn interval(line: &str) -> Option<(Duration, Duration)> {
    let (begin, end) = line.split_once(' ')?;
    Some((Duration::from_nanos(begin.parse().ok()?), Duration::from_nanos(end.parse().ok()?)))
}

/// The path that this program was called by, when it is a stand-in's.
pub(crate) fn called_as() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::args_os().next()?);
    (path.parent()?.file_name()? == DIRECTORY).then_some(path)
}

/// Does what the runtime does, and returns its exit code. It is not the parent of what the runtime leaves running: that is its
/// caller's, as ever.
pub(crate) fn run(path: &Path) -> Result<u8> {
    let begin = now();
    let program = fs::read_link(path.with_extension("program"))?;
    let status = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| program.display().to_string())?;
    let line = format!("{} {}\n", begin.as_nanos(), now().as_nanos());
    // One write: calls may end at the same time.
    File::options().append(true).open(path.with_extension("log"))?.write_all(line.as_bytes())?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    Ok(u8::try_from(code).unwrap_or(255))
}
