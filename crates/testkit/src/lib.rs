//! What the integration tests share: runtimes, bundles, a runner that never hangs, loud skips, and a
//! check that a case leaves nothing of itself on the machine.
//!
//! A case is a function `fn(&Test) -> Outcome`. It gets a [`Test`], which knows the runtime under test (`rt`
//! or `runc`), a directory and a tag of its own. Every container id, path and cgroup of the case holds
//! that tag, so cases run in parallel, the suite may run twice at once, and what a killed run left
//! behind is found and removed by the next one.

mod bundle;
mod command;
mod container;
pub mod daemon;
mod leftovers;
pub mod needs;
mod network;
mod profile;
mod runtime;
mod suite;
mod swap;
mod systemd;
mod terminal;
mod test;
mod wait;

pub use bundle::{Bundle, BundleBuilder};
pub use command::{Cmd, Output, Running};
pub use container::Container;
pub use libtest_mimic::{Arguments, Failed};
pub use network::NetworkNamespace;
pub use profile::Profile;
pub use runtime::{Kind, Runtime};
pub use serde_json::{Value, json};
pub use suite::{Body, Case, Suite, Summary, also_on_v2, both, comparing, rounds, rt_only};
pub use swap::Swapping;
pub use systemd::{Layout, Systemd};
pub use terminal::{Console, ConsoleSocket, pipe, pseudo_terminal};
pub use test::Test;
pub use wait::{patience, wait_until};

/// What a helper of the test bed returns; any error that can be displayed turns into [`Failed`] with `?`.
pub type Fallible<T> = Result<T, Failed>;

/// What a case returns.
pub type Outcome = Fallible<()>;
