//! Reading CRIU's log for the lines that matter.
//!
//! A line reads `(00.012345) 4711: Error (criu/sk-inet.c:192): inet: Connected TCP socket`: a timestamp at level 3
//! and up, a pid when a restored task speaks, a level and a place for what is wrong. The first error is nearly
//! always the cause and the later ones its consequences ("Dumping FAILED."), but some machines make CRIU complain at
//! each start about things that do not matter to it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags, openat};

/// Errors at the start of a log that CRIU goes on after: raising its own limit without CAP_SYS_RESOURCE, and probing
/// for features that need more rights than the operation does.
const HARMLESS: [&str; 4] = [
    "rlimit: Can't setup RLIMIT_NOFILE for self",
    "cgroupns not supported. This is not fatal.",
    "Can't load /run/criu.kdat",
    "status_fd is obsoleted",
];

/// Errors that only say that there was one.
const CONSEQUENCES: [&str; 9] = [
    "Dumping FAILED.",
    "Pre-dumping FAILED.",
    "Restoring FAILED.",
    "failed with -1",
    "Child exited with an error",
    "Child wasn't terminated normally",
    "RPC client reported script error",
    "Can't recv request",
    "exited, status=",
];

/// How many error lines a report keeps.
const MAX_LINES: usize = 32;

/// No line of CRIU's is longer (its buffer has 1 KiB), but a log may be anything.
const MAX_LINE: u64 = 4096;

/// How far a file's timestamp may lag behind the clock: it is taken at the kernel's tick.
const TIMESTAMP_LAG: Duration = Duration::from_millis(20);

/// The level of a line that reports something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `Error`.
    Error,
    /// `Warn`.
    Warning,
}

/// One error or warning of CRIU's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad.
    pub level: Level,
    /// The place in CRIU's source, `criu/sk-inet.c:192`; empty for lines of other programs.
    pub place: String,
    /// What it says.
    pub text: String,
    /// The process that says it, when a restored one speaks, as the container counts.
    pub pid: Option<i32>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            _ if self.place.is_empty() => f.write_str(&self.text),
            Level::Error => write!(f, "Error ({}): {}", self.place, self.text),
            Level::Warning => write!(f, "Warn ({}): {}", self.place, self.text),
        }
    }
}

impl Line {
    /// A line of CRIU's log, if it is an error or a warning.
    pub fn parse(line: &str) -> Option<Self> {
        let (level, before, rest) = ["Error (", "Warn  ("].iter().find_map(|mark| {
            let (before, rest) = line.split_once(mark)?;
            let prefix = before.chars().all(|c| c.is_ascii_digit() || " ().:pie".contains(c));
            prefix.then_some((
                if mark.starts_with('E') { Level::Error } else { Level::Warning },
                before,
                rest,
            ))
        })?;
        let (place, text) = rest.split_once("): ")?;
        let pid = before
            .trim_end()
            .strip_suffix(':')
            .and_then(|before| before.split(' ').next_back()?.parse().ok());
        Some(Self { level, place: place.to_owned(), text: text.trim_end().to_owned(), pid })
    }
}

/// Whether an error of this text says nothing about why an operation failed.
pub fn is_harmless(text: &str) -> bool {
    HARMLESS.iter().any(|part| text.contains(part))
}

/// What a log has to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The log, when it could be read.
    pub path: Option<PathBuf>,
    /// Its first errors and warnings, in order, without the harmless ones.
    pub lines: Vec<Line>,
}

impl Report {
    /// The line that says best why: the first error that is not merely a consequence, else the first error.
    pub fn cause(&self) -> Option<&Line> {
        let errors = || self.lines.iter().filter(|line| line.level == Level::Error);
        let telling = |line: &&Line| !CONSEQUENCES.iter().any(|part| line.text.contains(part));
        errors().find(telling).or_else(|| errors().next())
    }

    /// Takes in what was logged, line by line.
    pub fn scan(&mut self, log: impl Read) -> io::Result<()> {
        let mut log = BufReader::new(log);
        let mut bytes = Vec::new();
        while self.lines.len() < MAX_LINES {
            bytes.clear();
            if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            self.lines.extend(
                Line::parse(&String::from_utf8_lossy(&bytes)).filter(|line| !is_harmless(&line.text)),
            );
        }
        Ok(())
    }

    /// Takes the last lines of a program that did not log in CRIU's way (a dynamic linker that misses a library),
    /// unless there are better ones.
    pub fn tail(&mut self, text: &str) {
        if self.lines.is_empty() {
            let mut last: Vec<&str> =
                text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
            last.reverse();
            self.lines.extend(last.into_iter().filter(|line| !is_harmless(line)).map(|line| Line {
                level: Level::Error,
                place: String::new(),
                text: line.to_owned(),
                pid: None,
            }));
        }
    }
}

/// A log that an operation is about to write.
#[derive(Debug)]
pub struct Expected<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
    /// Asked for beforehand: of a directory that was opened in a mount namespace which has ended, the kernel tells the path from its
    /// mount on only.
    path: Option<PathBuf>,
    since: SystemTime,
}

impl<'a> Expected<'a> {
    /// The log `name` in `dir`, to be written from now on.
    pub fn new(dir: BorrowedFd<'a>, name: &'a str) -> Self {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        Self { dir, name, path: path.ok().map(|path| path.join(name)), since: SystemTime::now() }
    }

    /// The same, in a directory that others see there.
    #[must_use]
    pub(crate) fn seen_in(self, dir: Option<&Path>) -> Self {
        Self { path: dir.map(|dir| dir.join(self.name)).or(self.path), ..self }
    }

    /// Reads it; an empty report when there is none, or only that of an earlier operation: criu can fail before it opens its log.
    pub fn read(&self) -> Report {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut report = Report::default();
        let is_fresh = |file: &File| {
            let written = file.metadata().and_then(|meta| meta.modified());
            written.is_ok_and(|written| written + TIMESTAMP_LAG >= self.since)
        };
        let file = openat(self.dir, self.name, flags, Mode::empty()).map(File::from);
        if let Some(file) = file.ok().filter(is_fresh) {
            // What was read before an error is worth having.
            let _ = report.scan(file);
            report.path.clone_from(&self.path);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "\
(00.000100) Version: 4.1.1 (gitid 0)
Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
Warn  (compel/arch/x86/src/lib/infect.c:418): Will restore 17219 with interrupted system call
(00.055337)      1: Error (criu/files-reg.c:2227): File tmp/log has bad size 44 (expect 4)
pie: 7: Error (criu/pie/restorer.c:1): no
Error (criu/cr-restore.c:2320): Restoring FAILED.
";

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.scan(text.as_bytes()).unwrap();
        report
    }

    #[test]
    fn the_cause_is_the_first_error_that_matters() {
        let report = report(LOG);
        let cause = report.cause().unwrap().to_string();
        assert_eq!(cause, "Error (criu/files-reg.c:2227): File tmp/log has bad size 44 (expect 4)");
        assert_eq!(report.lines.len(), 4, "{report:?}");
        assert_eq!(
            report.lines.iter().map(|line| line.pid).collect::<Vec<_>>(),
            [None, Some(1), Some(7), None]
        );
    }

    #[test]
    fn a_consequence_is_better_than_nothing() {
        let report = report("Error (criu/cr-dump.c:1681): Dump files (pid: 7) failed with -1\n");
        assert!(report.cause().unwrap().text.contains("Dump files"));
    }

    #[test]
    fn file_names_that_look_like_errors_do_not_count() {
        assert_eq!(Line::parse("(00.1) Dumping path for 3 fd via self 4 [/tmp/Error (x): y]"), None);
    }

    #[test]
    fn the_words_of_a_dynamic_linker_are_kept() {
        let mut report = Report::default();
        report.tail(
            "criu: error while loading shared libraries: libnet.so.1: cannot open shared object file\n",
        );
        assert!(report.cause().unwrap().to_string().starts_with("criu: error while loading"));
    }

    proptest! {
        #[test]
        fn any_log_is_read_without_panic_and_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut report = Report::default();
            report.scan(bytes.as_slice()).unwrap();
            report.tail(&String::from_utf8_lossy(&bytes));
            prop_assert!(report.lines.len() <= MAX_LINES);
        }

        #[test]
        fn lines_survive_a_round_trip(place in "[a-z/]{1,20}\\.c:[0-9]{1,4}", text in "[ -~]{1,80}") {
            let line = Line { level: Level::Error, place, text: text.trim_end().to_owned(), pid: None };
            prop_assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
    }
}
