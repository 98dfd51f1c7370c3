//! From a checked seccomp profile to a BPF program.
//!
//! libseccomp knows system calls by name on every architecture and writes the program; [`enosys`] puts in front of it what
//! libseccomp does not do. That takes some milliseconds for an engine's default profile, so a program is kept, and found again
//! by its profile ([`Cache`]). Nothing here touches the calling process: whoever is to be confined loads the program by
//! itself ([`sys::seccomp::load`]), without a detour through libseccomp.

mod cache;
mod compile;
mod enosys;
mod features;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use compile::compile;
pub use features::{Features, features};
pub use sys::seccomp::Instruction;

/// Why a profile cannot become a program; always one line, which names the JSON path.
#[derive(Debug, thiserror::Error)]
#[error("config.json: {path}: {reason}")]
pub struct Error {
    /// The JSON path of the field.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The version of libseccomp ("2.5.4").
pub fn library_version() -> String {
    libseccomp::ScmpVersion::current().map_or_else(|_| "unknown".into(), |version| version.to_string())
}
