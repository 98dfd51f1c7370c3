//! Everything that can go wrong with a container; always one line.

use crate::status::Status;
use spec::Id;

/// An operation's error.
///
/// Engines look for some of these words (`does not exist`, `container not running`, `already exists`): they are runc's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this id.
    #[error("container {:?} does not exist", .0.as_str())]
    NotFound(Id),
    /// Another container has this id.
    #[error("container with given ID already exists: {:?}", .0.as_str())]
    Exists(Id),
    /// The container's status does not allow the operation.
    #[error("{what}: container {id:?} is {status}")]
    Status {
        /// What was refused, in runc's words.
        what: &'static str,
        /// The container.
        id: String,
        /// Its status.
        status: Status,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Request(String),
    /// The init process could not be set up; it said so itself.
    #[error("unable to start container process: {message}")]
    Init {
        /// What failed, as the init process saw it.
        message: String,
        /// The exit code for the command line: 127 for a program that is not there, 126 for one that cannot be run.
        exit_code: i32,
    },
    /// A step of ours failed.
    #[error("{step}: {error}")]
    Step {
        /// What was being done, and to what.
        step: String,
        /// Why it failed.
        error: String,
    },
    /// A hook failed.
    #[error("error running {kind} hook #{index}: {reason}")]
    Hook {
        /// The kind, as in config.json.
        kind: &'static str,
        /// Its place in the list, from 0.
        index: usize,
        /// Why, with the last line of its stderr.
        reason: String,
    },
    /// A state record that cannot be used.
    #[error("{path}: {reason}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bundle.
    #[error(transparent)]
    Spec(#[from] spec::Error),
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The share of caches and memory bandwidth.
    #[error(transparent)]
    Resctrl(#[from] cgroup::resctrl::Error),
    /// The seccomp profile.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
    /// CRIU.
    #[error(transparent)]
    Criu(#[from] criu::Error),
    /// An image directory.
    #[error(transparent)]
    Images(#[from] criu::images::Error),
    /// The criu program itself, rather than what it was asked to do.
    #[error("{path}: {error}")]
    CriuProgram {
        /// The program.
        path: String,
        /// What it did.
        error: criu::Error,
    },
    /// criu died in the middle of a dump, and the container's first process with it.
    #[error(
        "{0}; the container's first process ended with it, since criu was making a system call in its name"
    )]
    Lost(Box<Error>),
    /// A system call.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

/// What operations return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The name of [`Error::class`].
    pub fn class_name(&self) -> Option<&'static str> {
        self.class().map(criu::Class::name)
    }

    /// The kind of failure, if it is one of CRIU's that has a name (docs/diagnosis.md).
    pub fn class(&self) -> Option<criu::Class> {
        match self {
            Self::Criu(error) | Self::CriuProgram { error, .. } => error.class(),
            Self::Lost(error) => error.class(),
            _ => None,
        }
    }

    /// An error of a session with the criu at `path`, which is named where it may be the wrong program.
    pub(crate) fn of_criu(path: &std::path::Path) -> impl Fn(criu::Error) -> Self {
        move |error| match error {
            criu::Error::Died(_) | criu::Error::Protocol { .. } => {
                Self::CriuProgram { path: path.display().to_string(), error }
            }
            other => Self::Criu(other),
        }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Step<T> for std::result::Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Step { step: step(), error: error_text(&sys::one_line(&e.to_string())) })
    }
}

/// An I/O error's text as the other runtimes print it: without Rust's number, in lower case when that is all it is.
fn error_text(text: &str) -> String {
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text.to_owned(),
    }
}
