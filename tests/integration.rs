//! The integration tests: as root, against the real binaries, the real CRIU, the real cgroups.
//!
//! One test binary, one module per command in `cases/`. Most cases run on `rt` and on runc, as
//! `module::case/rt` and `module::case/runc`: `cargo test --test integration -- checkpoint --skip /runc`.
//!
//! | variable | meaning |
//! |---|---|
//! | `RT_TEST_BINARY` | the `rt` to test, in place of the one just built (say, a release build) |
//! | `RT_CRIU` | the CRIU to use; else `/opt/rt-criu/bin/criu`, else `criu` in `PATH` |
//! | `RT_TEST_PATIENCE` | multiplies all time limits (a whole number; for slow machines) |
//! | `RT_TEST_BRIEF` | when set, only cases about the kernel and its cgroups run on runc too, and races have fewer rounds |
//! | `RT_TEST_NO_SKIPS` | when set, a skipped case fails the run |
//! | `RT_TEST_KEEP` | when set, the directories of the cases stay in `/tmp/rt-tests` |

#![allow(clippy::print_stdout, reason = "the closing summary is this program's output")]

mod cases;

use std::process::ExitCode;

use testkit::{Arguments, Suite};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let suite = cases::all(Suite::new(env!("CARGO_BIN_EXE_rt")));
    let (closing, code) = suite.finish(&arguments);
    print!("{closing}");
    code
}
