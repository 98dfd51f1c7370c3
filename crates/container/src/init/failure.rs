//! How a step of the init process fails.

/// A failed step, as it travels to the parent: one line and an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// 127: no such program; 126: it cannot be run; 1: anything else.
    pub(crate) exit_code: i32,
}

impl Failure {
    /// A failure that is not about the program to run.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1 }
    }
}

/// What init's steps return.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Says which step failed.
pub(crate) trait During<T> {
    fn during(self, step: &str) -> Result<T>;
}

impl<T, E: std::fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, step: &str) -> Result<T> {
        self.map_err(|e| Failure::new(format!("{step}: {e}")))
    }
}
