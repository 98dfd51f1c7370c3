//! The errors of planning and of applying.

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file tree that cannot be made as the bundle asks for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `config.json` asks for what makes no sense or is not supported.
    #[error("{field}: {problem}")]
    Invalid {
        /// The place in `config.json`, like `mounts[3].destination`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A system call failed.
    #[error("{step}: {source}")]
    Step {
        /// What was being done, like `mount "proc" to "/proc"`.
        step: String,
        /// The call.
        source: sys::Error,
    },
    /// The container's files are not what they must be for a step to be safe.
    #[error("{step}: {problem}")]
    Refused {
        /// What was being done.
        step: String,
        /// What was found.
        problem: String,
    },
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn refused(step: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Refused { step: step.into(), problem: problem.into() }
    }

    /// The `errno` of the failed system call, where there was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Step { source, .. } => Some(source.errno),
            Self::Invalid { .. } | Self::Refused { .. } => None,
        }
    }
}

/// Says which step a system call belongs to.
pub(crate) trait InStep<T> {
    /// Names the step; `step` runs on failure only.
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> InStep<T> for sys::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Step { step: step(), source })
    }
}
