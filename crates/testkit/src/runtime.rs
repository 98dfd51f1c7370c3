//! The runtimes under test, and where they and CRIU are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which program it is; cases ask only where the two promise different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The program of this repository.
    Rt,
    /// runc, on which the same cases run to test the tests.
    Runc,
}

/// A runtime binary.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Which program it is.
    pub kind: Kind,
    /// Where it is.
    pub binary: PathBuf,
}

impl Runtime {
    /// `rt`: the binary in `RT_TEST_BINARY` (say, a release build), else `built`.
    #[must_use]
    pub fn rt(built: &str) -> Self {
        let binary = std::env::var_os("RT_TEST_BINARY").map_or_else(|| PathBuf::from(built), PathBuf::from);
        Self { kind: Kind::Rt, binary }
    }

    /// runc as `PATH` has it; `needs::runc` says whether it is there.
    #[must_use]
    pub fn runc() -> Self {
        Self { kind: Kind::Runc, binary: in_path("runc").unwrap_or_else(|| PathBuf::from("runc")) }
    }

    /// `rt` or `runc`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Rt => "rt",
            Kind::Runc => "runc",
        }
    }
}

/// The CRIU binary to test with: `RT_CRIU`, else the private prefix of `scripts/get-criu`, else `PATH`'s.
pub(crate) fn criu() -> Option<PathBuf> {
    let given = std::env::var_os("RT_CRIU").map(PathBuf::from);
    let private = || Some(PathBuf::from("/opt/rt-criu/bin/criu")).filter(|path| path.exists());
    given.or_else(private).or_else(|| in_path("criu"))
}

/// `PATH` with CRIU's directory in front: runc looks for `criu` there.
pub(crate) fn path_with_criu() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(directory) = criu().as_deref().and_then(Path::parent).map(Path::to_owned) else {
        return path;
    };
    let directories = std::iter::once(directory).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or(path)
}

/// The first file called `name` in `PATH`, or in the system directories that a user's `PATH` may lack.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
