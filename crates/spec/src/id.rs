//! The name of a container.

use crate::{Error, Result};
use std::fmt;
use std::path::Path;

/// A checked container id: runc's charset (letters, digits, `_`, `+`, `-`, `.`), no path in disguise, at most 1024 bytes.
///
/// It becomes a directory's name under the state root and part of a cgroup path, so a slash or `..` must never get through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// The longest id, in bytes.
    pub const MAX: usize = 1024;

    /// Checks and takes an id.
    pub fn new(id: &str) -> Result<Self> {
        let refuse = |reason| {
            let shown: String = id.chars().take(64).collect();
            Err(Error::Id { id: shown, reason })
        };
        if id.is_empty() {
            return refuse("it is empty");
        }
        if id.len() > Self::MAX {
            return refuse("it is longer than 1024 bytes");
        }
        if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b)) {
            return refuse("allowed are letters, digits and _ + - .");
        }
        if id == "." || id == ".." {
            return refuse("it names a directory");
        }
        Ok(Self(id.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for Id {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn refuses_what_could_leave_the_state_root() {
        for bad in ["", ".", "..", "a/b", "../a", "a\0", "a b", "ä", "a\n", &"x".repeat(1025)] {
            assert!(Id::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "...", "A_b+c-d.9", &"x".repeat(1024)] {
            assert_eq!(Id::new(good).unwrap().as_str(), good);
        }
    }
}
