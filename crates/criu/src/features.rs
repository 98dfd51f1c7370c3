//! What the running criu and kernel can do.

use std::fmt;

use crate::wire;

/// A version of CRIU, for comparison: `version >= Version::new(4, 0, 0)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third; 0 where CRIU names only two.
    pub sublevel: u32,
    /// The commit it was built from, where it was built from git.
    pub git: Option<String>,
}

impl Version {
    /// A version without a commit.
    pub const fn new(major: u32, minor: u32, sublevel: u32) -> Self {
        Self { major, minor, sublevel, git: None }
    }

    /// The three numbers as one, as `criu_version` counts: 4.1.1 is 40101.
    pub fn number(&self) -> u32 {
        // Saturating, since a program that is not CRIU may say anything.
        let high = self.major.saturating_mul(10_000).saturating_add(self.minor.saturating_mul(100));
        high.saturating_add(self.sublevel)
    }

    pub(crate) fn from_wire(version: wire::CriuVersion) -> Self {
        let part = |number: i32| u32::try_from(number).unwrap_or_default();
        Self {
            major: part(version.major_number),
            minor: part(version.minor_number),
            sublevel: version.sublevel.map_or(0, part),
            git: version.gitid.filter(|id| !id.is_empty() && id != "0"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.sublevel != 0 {
            write!(f, ".{}", self.sublevel)?;
        }
        match &self.git {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

/// Features that a FEATURE_CHECK knows: those to ask for, and those that work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Soft-dirty page tracking (CONFIG_MEM_SOFT_DIRTY): pre-dumps on top of each other.
    pub mem_track: bool,
    /// userfaultfd(2) with non-cooperative events: lazy pages.
    pub lazy_pages: bool,
    /// pidfds kept from one pre-dump to the next, so that a reused pid is noticed; CRIU 3.16.
    pub pidfd_store: bool,
}

impl Features {
    /// Every feature this crate knows.
    pub const ALL: Self = Self { mem_track: true, lazy_pages: true, pidfd_store: true };

    pub(crate) fn to_wire(self) -> wire::CriuFeatures {
        let ask = |wanted: bool| wanted.then_some(true);
        wire::CriuFeatures {
            mem_track: ask(self.mem_track),
            lazy_pages: ask(self.lazy_pages),
            pidfd_store: ask(self.pidfd_store),
        }
    }

    pub(crate) fn from_wire(found: wire::CriuFeatures) -> Self {
        Self {
            mem_track: found.mem_track(),
            lazy_pages: found.lazy_pages(),
            pidfd_store: found.pidfd_store(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_and_print() {
        assert!(Version::new(4, 1, 1) > Version::new(3, 19, 0));
        assert_eq!(Version::new(4, 1, 1).number(), 40101);
        let wire = wire::CriuVersion {
            major_number: 4,
            minor_number: 2,
            gitid: Some("v4.2".into()),
            ..Default::default()
        };
        assert_eq!(Version::from_wire(wire).to_string(), "4.2 (v4.2)");
    }
}
