//! One error type for every system call, printed the way strace prints a failed call.

use std::fmt;

/// A failed system call: which, with what, and why.
///
/// Displays as `openat2(rootfs 7, "dev/pts"): no such file or directory`. The reason is in the lower case that the Go
/// runtimes print, since engines look for those words in our messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The system call's name, as in its man page.
    pub call: &'static str,
    /// Its telling arguments, as a reader wants to see them (paths quoted, descriptors by number).
    pub args: String,
    /// The `errno` value; always positive.
    pub errno: i32,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `call` with `args`, for a given `errno`.
    pub fn new(call: &'static str, args: impl Into<String>, errno: i32) -> Self {
        Self { call, args: args.into(), errno }
    }

    /// The error of the system call that has just failed on this thread.
    pub fn last(call: &'static str, args: impl Into<String>) -> Self {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self::new(call, args, errno)
    }

    /// Whether the call failed with `errno` (a `libc::E*` value).
    pub fn is(&self, errno: i32) -> bool {
        self.errno == errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}): {}", self.call, self.args, strerror(self.errno))
    }
}

impl std::error::Error for Error {}

/// The text of an errno value in lower case ("no such file or directory").
pub fn strerror(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        // "RPC ..." keeps its capitals; "No such ..." does not.
        Some(first) if !chars.as_str().starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Text that does not break the line, nor move a terminal's cursor, whatever somebody wrote into a file or named it.
pub fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Turns the bare errno of a wrapped call into an [`Error`] that says what was called.
pub trait Context<T> {
    /// Names the call and, only when it failed, its arguments.
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(call, args(), errno.raw_os_error()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(call, args(), error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

/// Checks the return value of a raw libc call: negative means that errno is set.
pub(crate) fn check(ret: i64, call: &'static str, args: impl FnOnce() -> String) -> Result<i64> {
    if ret < 0 { Err(Error::last(call, args())) } else { Ok(ret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_strace_in_lower_case() {
        let error = Error::new("openat2", "\"/x\"", libc::ENOENT);
        assert_eq!(error.to_string(), "openat2(\"/x\"): no such file or directory");
        assert_eq!(strerror(libc::EPERM), "operation not permitted");
    }
}
