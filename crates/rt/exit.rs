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

/// The oldest kernel that `rt` runs on, major and minor version: the one that brought mount_setattr(2), and, one earlier, close_range(2)
/// with `CLOSE_RANGE_CLOEXEC`. What younger ones add is marked `KERNEL(x.y)` where it is used.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// What to say of a failure where the kernel is older than that: calls fail there that are not checked one by one.
fn too_old(release: &str) -> Option<String> {
    let (major, minor) = OLDEST_KERNEL;
    (sys::kernel::version(release)? < OLDEST_KERNEL)
        .then(|| format!("this is Linux {release}, and rt needs {major}.{minor} or later"))
}

/// Prints an error, once and last: one line on stderr, and one entry in the log file.
pub(crate) fn of_error(error: &anyhow::Error, log: Option<&Log>) -> Exit {
    let mut message = sys::one_line(&format!("{error:#}"));
    if let Some(cause) = too_old(&sys::kernel::release()) {
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

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn an_old_kernel_is_named() {
        assert!(too_old("5.10.0-46-cloud-amd64").is_some_and(|text| text.contains("5.12 or later")));
        assert!(too_old("4.18.0-553.el8_10.x86_64").is_some());
        assert_eq!([too_old("5.12.1"), too_old("6.18.44-fc-v669"), too_old("next")], [None, None, None]);
    }
}
