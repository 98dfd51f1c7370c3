//! A directory for what criu wants to write when it only looks.

use crate::error::{Result, Step};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Of our own, and gone when this is.
pub(super) struct Scratch {
    path: PathBuf,
    dir: OwnedFd,
}

impl Scratch {
    pub(super) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("rt-criu-check-{}", std::process::id()));
        let step = || format!("create {}", path.display());
        std::fs::DirBuilder::new().mode(0o700).create(&path).step(step)?;
        let dir = std::fs::File::open(&path).step(step)?.into();
        Ok(Self { path, dir })
    }

    pub(super) fn for_criu(&self) -> criu::Images<'_> {
        criu::Images { log_file: Some("check.log".into()), ..criu::Images::new(self.dir.as_fd()) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
