//! The directories of a checkpoint.

use super::held::{blind, inside};
use super::vet::{self, Ours};
use crate::error::{Error, Result, Step};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::process::Uid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directory of the images and, where it is another, the one for the log and CRIU's working files; both open.
#[derive(Debug)]
pub(crate) struct Directories {
    images: OwnedFd,
    work: Option<OwnedFd>,
    /// Where the log is, when it does not show by the descriptor.
    log_place: Option<PathBuf>,
}

impl Directories {
    /// Makes and opens the directories of a dump. Images hold all of a container's memory, so they are root's alone.
    pub(crate) fn create(images: &Path, work: Option<&Path>) -> Result<Self> {
        make(images, "image directory")?;
        if let Some(work) = work {
            make(work, "work directory")?;
        }
        let opened = Self::of(open_images(images)?, work.map(open_work).transpose()?);
        for (dir, path) in [(Some(&opened.images), Some(images)), (opened.work.as_ref(), work)] {
            if let (Some(dir), Some(path)) = (dir, path) {
                rustix::fs::accessat(dir, ".", Access::WRITE_OK, AtFlags::empty())
                    .step(|| format!("write to {}", path.display()))?;
            }
        }
        Ok(opened)
    }

    /// Directories that are open already.
    pub(crate) fn of(images: OwnedFd, work: Option<OwnedFd>) -> Self {
        Self { images, work, log_place: None }
    }

    /// The same, with the place of the log as others see it.
    pub(crate) fn with_log_in(self, log_place: Option<PathBuf>) -> Self {
        Self { log_place, ..self }
    }

    /// Gets them ready for images that build on those in `parent`, or on none. `owner` is who the container's root is here, if not root.
    ///
    /// CRIU follows links where it reads and writes, and its way to the images of the dump before is one. Without these it gets the
    /// directory through a mount that follows none; with them, nobody else may be able to put one there.
    pub(crate) fn building_on(self, parent: Option<&Path>, owner: Option<u32>) -> Result<Self> {
        self.forget_other_parent(parent)?;
        if let Some(parent) = parent {
            self.check_parent(parent)?;
            vet::base(&self.images, parent, Ours::new(owner))?;
        }
        let without_links = |dir: OwnedFd| {
            let stranger = Ours::new(None).stranger(&rustix::fs::fstat(&dir)?);
            if stranger.is_some() { inside(&blind(dir.as_fd())?) } else { Ok(dir) }
        };
        let step = || "open the directory of the images".to_owned();
        let log_place = path_of(self.work());
        let images = if parent.is_none() { without_links(self.images).step(step)? } else { self.images };
        Ok(Self { images, work: self.work.map(without_links).transpose().step(step)?, log_place })
    }

    /// Removes the link to a parent that is another dump's: CRIU would keep it, and build on that.
    fn forget_other_parent(&self, parent: Option<&Path>) -> Result<()> {
        match rustix::fs::readlinkat(&self.images, vet::PARENT, Vec::new()) {
            Ok(target) if parent.is_none_or(|parent| parent.as_os_str().as_bytes() != target.to_bytes()) => {
                rustix::fs::unlinkat(&self.images, vet::PARENT, AtFlags::empty())
                    .step(|| "remove the link to the images of a checkpoint before".into())
            }
            // There is none, it is the right one, or it is no link.
            _ => Ok(()),
        }
    }

    /// Looks whether the images that a dump builds on are there: CRIU would only warn, and write everything.
    fn check_parent(&self, parent: &Path) -> Result<()> {
        let refused =
            |problem: String| Error::Request(format!("--parent-path {}: {problem}", parent.display()));
        if parent.is_absolute() {
            return Err(refused("must be relative to the image directory".into()));
        }
        let inventory = parent.join("inventory.img");
        rustix::fs::accessat(&self.images, &inventory, Access::READ_OK, AtFlags::empty()).map_err(|errno| {
            refused(format!(
                "no checkpoint there, seen from the image directory (inventory.img: {})",
                sys::strerror(errno.raw_os_error())
            ))
        })
    }

    /// As CRIU takes them, with the log's name there, and a configuration file that it reads last.
    pub(crate) fn for_criu(&self, log: &str, config_file: Option<String>) -> criu::Images<'_> {
        criu::Images {
            work_dir: self.work.as_ref().map(AsFd::as_fd),
            work_path: self.log_place.clone(),
            log_file: Some(log.to_owned()),
            // Every mapping is logged at this level: megabytes, for who asked for them.
            config_file,
            log_level: log::log_enabled!(log::Level::Debug).then_some(criu::LogLevel::Debug),
            ..criu::Images::new(self.images.as_fd())
        }
    }

    /// Lets the root of a user namespace, who is `uid` here, read the images as well as our own group.
    ///
    /// In a restore CRIU opens some images as host root who has just entered the namespace, and has no more rights than the
    /// file modes give him, and some as root of the namespace: the one gets in by the group, the other as the owner.
    pub(crate) fn share_with(&self, uid: u32) -> Result<()> {
        let step = || "share the images with the container's root".to_owned();
        for entry in rustix::fs::Dir::read_from(&self.images).step(step)? {
            let name = entry.step(step)?.file_name().to_owned();
            let mode = match name.to_bytes() {
                b".." => continue,
                b"." => 0o750,
                _ => 0o640,
            };
            let owner = Some(Uid::from_raw(uid));
            rustix::fs::chownat(&self.images, &name, owner, None, AtFlags::SYMLINK_NOFOLLOW).step(step)?;
            rustix::fs::chmodat(&self.images, &name, Mode::from(mode), AtFlags::empty()).step(step)?;
        }
        Ok(())
    }

    /// Keeps the images of a container that runs on after all from being restored beside it.
    pub(super) fn spoil(&self) {
        let _ = rustix::fs::unlinkat(&self.images, "inventory.img", AtFlags::empty());
    }

    /// What the images take, in bytes.
    pub(super) fn size(&self) -> u64 {
        size_of(self.images.as_fd(), b"")
    }

    /// Waits until the images are on the disk. Each for itself: syncfs(2) would wait for what others have written there.
    pub(crate) fn sync(&self) -> Result<()> {
        let step = || "sync the images to the disk".to_owned();
        for entry in rustix::fs::Dir::read_from(&self.images).step(step)? {
            let entry = entry.step(step)?;
            if entry.file_type() == FileType::RegularFile {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file =
                    rustix::fs::openat(&self.images, entry.file_name(), flags, Mode::empty()).step(step)?;
                rustix::fs::fsync(file).step(step)?;
            }
        }
        rustix::fs::fsync(&self.images).step(step)
    }

    /// Whether the contents of a network namespace are among the images.
    pub(crate) fn has_network(&self) -> bool {
        let names = rustix::fs::Dir::read_from(&self.images).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name().to_owned()).any(|name| name.to_bytes().starts_with(b"netdev-"))
    }

    /// The image directory.
    pub(crate) fn images(&self) -> &OwnedFd {
        &self.images
    }

    /// The one for CRIU's working files, which may be the same.
    pub(crate) fn work(&self) -> &OwnedFd {
        self.work.as_ref().unwrap_or(&self.images)
    }
}

/// The bytes of the files in a directory whose names begin so; those that have gone meanwhile have none.
pub(crate) fn size_of(dir: BorrowedFd<'_>, prefix: &[u8]) -> u64 {
    let entries = rustix::fs::Dir::read_from(dir).into_iter().flatten().flatten();
    let files = entries.filter(|entry| {
        entry.file_type() == FileType::RegularFile && entry.file_name().to_bytes().starts_with(prefix)
    });
    let sizes = files.filter_map(|entry| {
        let stat = rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    });
    sizes.sum()
}

/// Where an open directory is.
pub(super) fn path_of(dir: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).ok()
}

/// Opens an image directory.
pub(super) fn open_images(path: &Path) -> Result<OwnedFd> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        let problem = "is a symbolic link; name the directory that it leads to";
        return Err(Error::Request(format!("image directory {}: {problem}", path.display())));
    }
    open(path, OFlags::NOFOLLOW).step(|| format!("image directory {}", path.display()))
}

/// Opens a work directory. containerd's is a link of its own making.
pub(super) fn open_work(path: &Path) -> Result<OwnedFd> {
    open(path, OFlags::empty()).step(|| format!("work directory {}", path.display()))
}

pub(super) fn open(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a directory that is root's alone, if it is not there.
pub(super) fn make(path: &Path, what: &str) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .step(|| format!("create {what} {}", path.display()))
}
