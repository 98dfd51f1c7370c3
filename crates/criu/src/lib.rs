//! A client for CRIU's RPC protocol. It knows nothing of containers.
//!
//! A [`Session`] is one `criu swrk` process and the socket to it. Questions ([`Session::version`],
//! [`Session::features`], ...) leave it open; [`Session::dump`], [`Session::restore`] and the like consume it,
//! because CRIU ends after them. While an operation runs CRIU tells of its stages, and a [`Notify`] answers each.
//! What comes back is an outcome with timings, or an [`Error`] whose text is one line: what failed, what to do about
//! it, and CRIU's own words.
//!
//! ```no_run
//! use std::{fs::File, os::fd::AsFd};
//! let images = File::open("/tmp/images")?;
//! let binary = criu::binary::find(None, None, std::env::var_os("PATH").as_deref())?;
//! let mut session = criu::Launch::new(binary).start()?; // returns at once, CRIU starts meanwhile
//! println!("criu {}", session.version()?);
//! let outcome = session.dump(&criu::Dump::new(4711, criu::Images::new(images.as_fd())), &mut ())?;
//! println!("dumped in {:?}", outcome.timeline.total);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod binary;
mod class;
mod daemon;
pub mod diagnose;
#[cfg(test)]
mod diagnose_tests;
mod dump;
mod error;
mod exchange;
mod features;
#[doc(hidden)]
pub mod fuzzing;
pub mod images;
mod in_words;
pub mod kernel_cache;
mod lazy;
pub mod log;
mod notify;
mod options;
mod page_server;
mod pattern;
mod restore;
mod rules;
mod session;
pub mod stats;
#[cfg(test)]
mod tests;
mod wire;

pub use class::Class;
pub use daemon::{Daemon, Task};
pub use dump::{AfterDump, Dump, DumpOutcome, PreCopy, PreDump, PreDumpMode};
pub use error::{Death, Ended, Error, Failure, Operation, Result};
pub use exchange::{Mark, Refusal, Timeline};
pub use features::{Features, Version};
pub use notify::{Answer, ExternalFiles, Notify, Reason};
pub use options::{
    Allowances, CgroupMode, CgroupRoot, Cgroups, CpuCap, Images, InheritFd, JoinNamespace, LogLevel, Mounts,
    NetworkLock, PageSocket, Tcp, Tls,
};
pub use page_server::{PageServer, PageServerOutcome};
pub use restore::{Restore, RestoreOutcome};
pub use session::{Launch, Session};
