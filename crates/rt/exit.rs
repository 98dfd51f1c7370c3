//! How `rt` ends.

use crate::logging::Log;
use crate::output;

/// The exit codes; one place, so that each has one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Success,
    /// Something failed; the last line on stderr says what.
    Failure,
    /// The status of the container's program, for those commands that wait for it: its own, or 128 + n for a signal.
    Program(i32),
    /// `exec` found no such program (127), or could not run it (126).
    Exec(i32),
}

impl Exit {
    /// The number for the caller.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Program(code) | Self::Exec(code) => code,
        }
    }
}

/// Prints an error, once and last: one line on stderr, and one entry in the log file.
pub(crate) fn of_error(error: &anyhow::Error, log: Option<&Log>) -> Exit {
    let mut message = sys::one_line(&format!("{error:#}"));
    if let Some(cause) = sys::kernel::too_old() {
        message = format!("{message} ({cause})");
    }
    let known = error.downcast_ref::<container::Error>();
    if let Some(log) = log {
        log.error(&message, known.and_then(container::Error::class_name));
    }
    output::message(&message);
    match known {
        Some(container::Error::Init { exit_code, .. }) if *exit_code != 1 => Exit::Exec(*exit_code),
        _ => Exit::Failure,
    }
}
