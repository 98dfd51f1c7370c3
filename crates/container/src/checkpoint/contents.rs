//! What an image directory holds: CRIU's images, and what `rt` and runc put beside them.

use super::request::Counted;
use super::{descriptors, manifest::Manifest, micros};
use crate::error::{Result, Step};
use criu::images::Images;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// An image directory, looked at and not touched.
#[derive(Debug)]
pub struct Contents {
    /// Where it is, without links.
    pub path: PathBuf,
    /// CRIU's images.
    pub images: Images,
    /// What `rt` wrote down; None where another runtime made the checkpoint.
    pub notes: Option<Notes>,
    /// Where stdio led (`descriptors.json`); None where nobody wrote it down.
    pub stdio: Option<[String; 3]>,
    /// What CRIU counted, if its statistics lie there too.
    pub counted: Option<Counted>,
    /// What it counted at the last restore that had its working files there.
    pub restored: Option<Restored>,
}

/// CRIU's own numbers of a restore (`stats-restore`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restored {
    /// How long it took until all processes existed, in microseconds.
    pub forking_us: u64,
    /// Until all could run, in microseconds.
    pub restore_us: u64,
    /// Pages that were filled from the images.
    pub pages_restored: u64,
}

/// What `rt.json` says.
#[derive(Debug)]
pub struct Notes {
    /// The version of CRIU that made the dump.
    pub criu: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The network namespace was as it was made, so the restore makes a new one.
    pub new_network: bool,
    /// The tmpfs mounts that were told in words, since next to nothing was in them.
    pub hollow: Vec<PathBuf>,
}

impl Contents {
    /// The version of CRIU that made the dump: as `rt` noted it, or else in the word of a log.
    pub fn criu(&self) -> Option<&str> {
        let noted = self.notes.as_ref().and_then(|notes| notes.criu.as_deref());
        noted.or(self.images.log.criu.as_deref())
    }

    /// The release of the kernel that it was made on, likewise.
    pub fn kernel(&self) -> Option<&str> {
        let noted = self.notes.as_ref().and_then(|notes| notes.kernel.as_deref());
        noted.or(self.images.log.kernel.as_deref())
    }
}

/// Looks at what is in an image directory.
pub fn contents(path: &Path) -> Result<Contents> {
    let step = || format!("image directory {}", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).step(step)?;
    let images = criu::images::read(dir.as_fd(), path)?;
    let notes = Manifest::find(dir.as_fd()).step(step)?;
    Ok(Contents {
        path: std::fs::canonicalize(path).step(step)?,
        counted: images.dump_stats.map(Counted::of),
        restored: images.restore_stats.map(|stats| Restored {
            forking_us: micros(stats.forking),
            restore_us: micros(stats.restore),
            pages_restored: stats.pages_restored,
        }),
        images,
        notes: notes.map(|manifest| Notes {
            criu: manifest.criu,
            kernel: manifest.kernel,
            new_network: manifest.new_network,
            hollow: manifest.hollow.into_iter().map(|hollow| hollow.name).collect(),
        }),
        stdio: descriptors::find(dir.as_fd()).step(step)?,
    })
}
