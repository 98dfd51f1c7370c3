//! `rt.json`: what `rt` itself must remember of a checkpoint. It lies beside the images; runc's `descriptors.json` has no place for it.

use super::files::{Found, Passed, StdioNames};
use super::small_file;
use crate::error::{Error, Result};
use rootfs::Hollow;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;

const NAME: &str = "rt.json";
/// The version of the format below; a later one is refused.
const VERSION: u32 = 1;

/// What a restore must know that CRIU's images do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    version: u32,
    /// CRIU's names of the host's files and sockets behind stdio.
    pub(crate) stdio: StdioNames,
    /// The descriptors from 3 on that it was passed. Not in `descriptors.json`: runc would give CRIU its own socket for the fourth there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) passed: Vec<Passed>,
    /// The container's own network namespace was as it was made, so it is not among the images: the restore makes a new one.
    pub(crate) new_network: bool,
    /// What was left out of the images because there is so little in it.
    #[serde(default)]
    pub(crate) hollow: Vec<Hollow>,
    /// It has a directory for `$NOTIFY_SOCKET`, which is a mount that the bundle does not name.
    #[serde(default)]
    pub(crate) notify: bool,
    /// When the container was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    /// The version of the CRIU that made the images, which they do not say themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) criu: Option<String>,
    /// The release of the kernel that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<String>,
}

impl Manifest {
    pub(super) fn new(found: Found, new_network: bool, hollow: Vec<Hollow>, notify: bool) -> Self {
        let Found { stdio, passed } = found;
        Self {
            version: VERSION,
            stdio,
            passed,
            new_network,
            hollow,
            notify,
            created: None,
            criu: None,
            kernel: None,
        }
    }

    /// Says when the container was made.
    pub(super) fn created(self, created: &str) -> Self {
        Self { created: Some(created.to_owned()), ..self }
    }

    /// Says who made the images.
    pub(super) fn made_by(self, criu: Option<&criu::Version>) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { criu: criu.map(ToString::to_string), kernel: Some(kernel), ..self }
    }

    /// Writes it into an image directory.
    pub(super) fn write(&self, images: BorrowedFd<'_>) -> Result<()> {
        small_file::write(images, NAME, self)
    }

    /// Reads it; images of another runtime have none.
    pub(crate) fn read(images: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self::find(images)?.unwrap_or_default())
    }

    /// Reads it; None where there is none.
    pub(super) fn find(images: BorrowedFd<'_>) -> Result<Option<Self>> {
        small_file::read(images, NAME)?.map(|bytes| Self::parse(&bytes)).transpose()
    }

    /// What such a file says.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = small_file::parse(bytes, NAME)?;
        if manifest.version > VERSION {
            return Err(Error::Request(format!(
                "{NAME}: written by a newer rt (version {})",
                manifest.version
            )));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn survives_a_round_trip_and_refuses_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let images = File::open(dir.path()).unwrap();
        assert_eq!(Manifest::read(images.as_fd()).unwrap(), Manifest::default());
        let passed = vec![Passed { link: "pipe:[7]".into(), name: None, flags: 1 }];
        let found = Found { stdio: [None, Some("file[1:2]".into()), None], passed };
        let manifest = Manifest::new(found, true, Vec::new(), true);
        manifest.write(images.as_fd()).unwrap();
        assert_eq!(Manifest::read(images.as_fd()).unwrap(), manifest);
        std::fs::write(dir.path().join(NAME), r#"{"version":9,"stdio":[null,null,null],"newNetwork":false}"#)
            .unwrap();
        assert!(Manifest::read(images.as_fd()).unwrap_err().to_string().contains("version 9"));
    }
}
