//! What can be wrong with an image directory, as one line each.

/// What this module's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A file of an image directory that cannot be used, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {damage}", sys::one_line(file))]
pub struct Error {
    /// The file's path.
    pub file: String,
    /// What is wrong.
    pub damage: Damage,
}

/// What to do about a file that is not as CRIU wrote it.
const COPY_AGAIN: &str = "copy the directory again from where it was made, or make a new checkpoint";

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A system call failed.
    #[error("{0}")]
    Call(String),
    /// It must be there.
    #[error("no such file, but {needed_by}: {COPY_AGAIN}")]
    Missing {
        /// Why it must.
        needed_by: String,
    },
    /// It is something else than a file.
    #[error("is a {0}, not a file: this is not as CRIU wrote it, do not restore from it")]
    NotAFile(&'static str),
    /// It begins with other bytes than CRIU's files.
    #[error("is not an image of CRIU's (it begins with {0}): name a directory that a checkpoint has written")]
    Foreign(String),
    /// It is an image, but another one.
    #[error("is an image of another kind (0x{found:08x} in place of 0x{wanted:08x}): {COPY_AGAIN}")]
    OtherKind {
        /// The magic number that is there.
        found: u32,
        /// The one that should be.
        wanted: u32,
    },
    /// It ends too early.
    #[error("ends in the middle of what begins at byte {at}: {COPY_AGAIN}")]
    CutOff {
        /// Where the entry begins.
        at: u64,
    },
    /// There is more than one would ever need.
    #[error("{0}: no checkpoint is like that, do not restore from it")]
    TooMuch(String),
    /// An entry makes no sense.
    #[error("the entry at byte {at} is damaged ({reason}): {COPY_AGAIN}")]
    Entry {
        /// Where it begins.
        at: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not fit the others.
    #[error("{0}: {COPY_AGAIN}")]
    Contradiction(String),
    /// A later format.
    #[error("images of version {0}, and this rt knows 1 and 2: use a newer rt")]
    Version(u32),
    /// It is not what was asked for.
    #[error("{0}")]
    NotImages(String),
}

impl Damage {
    /// As the error of a file.
    pub(crate) fn of(self, file: impl Into<String>) -> Error {
        Error { file: file.into(), damage: self }
    }
}

impl From<rustix::io::Errno> for Damage {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Call(sys::strerror(errno.raw_os_error()))
    }
}

impl From<std::io::Error> for Damage {
    fn from(error: std::io::Error) -> Self {
        Self::Call(error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror))
    }
}
