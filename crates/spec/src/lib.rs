//! config.json, loaded and checked: pure, but for reading the bundle's file.
//!
//! [`oci_spec`]'s types are handed on as they are ([`oci`]); a type of our own stands only where a check or a resolved value
//! makes it differ: [`Process`], [`Namespaces`], [`Seccomp`], [`Id`].

mod bundle;
mod capability;
mod default;
mod hooks;
mod id;
mod lenient;
mod namespaces;
mod process;
mod resources;
mod scheduling;
mod seccomp;
mod validate;

pub use bundle::{Bundle, Config};
pub use capability::{CapabilitySets, capability_bit, capability_list, capability_names};
pub use default::{Host, default_config};
pub use hooks::{HookKind, hooks};
pub use id::Id;
pub use namespaces::{Namespace, Namespaces};
pub use oci_spec::runtime as oci;
pub use process::{Process, Rlimit, User, is_variable};
pub use resources::ResourceChange;
pub use scheduling::{CpuAffinity, MemoryPolicy, NumberSet, Scheduler};
pub use seccomp::{Seccomp, SeccompAction, SeccompCondition, SeccompFlags, SeccompListener, SeccompRule};
pub use validate::net_devices;

/// The lowest runtime-spec version whose bundles run here.
pub const OCI_VERSION_MIN: &str = "1.0.0";
/// The runtime-spec version that this runtime implements and writes.
pub const OCI_VERSION: &str = "1.3.0";

/// Why a bundle cannot be used; always one line, which names the file or the JSON path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the bundle cannot be read.
    #[error("{path}: {reason}{hint}")]
    File {
        /// The file.
        path: String,
        /// The error's text.
        reason: String,
        /// What to do about it, with a leading separator; may be empty.
        hint: &'static str,
    },
    /// The text is no JSON, or a field has the wrong type.
    #[error("{file}: {path}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// The JSON path of the field ("process.user.uid").
        path: String,
        /// What the parser says, with line and column.
        reason: String,
    },
    /// A field has a value that cannot be used.
    #[error("config.json: {path}: {reason}")]
    Field {
        /// The JSON path of the field.
        path: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A container id that is not allowed.
    #[error("invalid container id {id:?}: {reason}")]
    Id {
        /// The id as given, shortened when long.
        id: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
}

/// What this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A field's error.
    pub fn field(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { path: one_line(&path.into()), reason: one_line(&reason.into()) }
    }
}

/// Text of a document in an error, which stays one line whatever the document says.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
