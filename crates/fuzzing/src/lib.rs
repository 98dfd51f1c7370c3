//! What must hold of any input, foreign or broken: one function for each fuzz target.
//!
//! `make fuzz` lets libFuzzer look for an input that breaks one of them (`fuzz/` holds the programs); the tests of this crate
//! feed them the seeds, which all past findings are among. A property that does not hold is a panic.

mod config;
mod criu;
mod images;
mod machine;
mod mount_options;
mod plan;
mod state;
mod user;

pub use images::directory as image_directory;

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A fuzz target: its name, and what is done with an input.
type Target = (&'static str, fn(&[u8]));

/// Every target; each has a program and a directory of seeds of its name in `fuzz/`.
pub const TARGETS: [Target; 7] = [
    ("config", config::check),
    ("criu", criu::check),
    ("images", images::check),
    ("machine", machine::check),
    ("mount_options", mount_options::check),
    ("state", state::check),
    ("user", user::check),
];

/// Longer inputs are not looked at: what is asked of time and memory is asked up to here.
const LONGEST: usize = 64 * 1024;

/// How much time on a CPU an input may take; ten times as much in the tests, which are not optimised.
const LONGEST_TIME: Duration = Duration::from_secs(if cfg!(fuzzing) { 1 } else { 10 });

/// Checks what must hold of `input` as one of `target`.
///
/// # Panics
/// When it does not hold, when it takes too long, and when there is no such target.
pub fn check(target: &str, input: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target's name");
    if input.len() > LONGEST {
        return;
    }
    let started = time_on_cpu();
    check(input);
    let took = time_on_cpu() - started;
    assert!(took < LONGEST_TIME, "an input of {} bytes took {took:?}", input.len());
}

fn time_on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// An error's text, which must be one line and say something.
fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without words");
    assert!(!text.contains(char::is_control), "an error that is not one line: {text:?}");
    text
}

/// An error about config.json, which must also begin with the place in it.
fn names_a_place(error: &impl std::fmt::Display, file: &str) {
    let text = one_line(error);
    let rest = text.strip_prefix(file).unwrap_or(&text);
    let (place, reason) = rest.split_once(": ").unwrap_or_default();
    assert!(!place.is_empty() && !reason.is_empty(), "an error without a place: {text:?}");
}

/// A path in a container: absolute, and clean enough that no component leads upwards or stands still.
fn is_clean(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let text = path.as_os_str().as_bytes();
    let parts = || text.split(|byte| *byte == b'/').skip(1);
    text == b"/" || text.starts_with(b"/") && parts().all(|part| !matches!(part, b"" | b"." | b".."))
}
