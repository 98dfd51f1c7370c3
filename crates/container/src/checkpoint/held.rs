//! The images of a restore, held so that CRIU reads what was looked at.
//!
//! CRIU opens images by their names, long after [`vet`] has looked at them. Where nobody but root can write, to the directory and to its
//! files, none can be exchanged meanwhile, and the directory itself must only be the same when CRIU gets it. Elsewhere, say below
//! somebody's home, CRIU gets a directory of ours that has every image under its name: a file that root alone can write to is bound
//! there, whatever becomes of its old name, and any other is copied. CRIU's log still goes into the old one, but never through a link.

use super::images::{Directories, make, open, open_images, open_work, path_of};
use super::vet::{self, Chain, Ours};
use crate::error::{Error, Result, Step};
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Uid};
use rustix::fs::{accessat, fchmod, fchown, fstat, fstatvfs, openat, symlinkat};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::mount::{AttrChange, Depth, attr, clone_tree, move_mount, move_mount_at, set_attr};

/// An image directory that was looked at, with those that it builds on.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    chain: Chain,
    ours: Ours,
    /// Mounts of the same directories that have no place yet; where nobody else can write, none are needed.
    mounts: Vec<OwnedFd>,
}

/// The directories for CRIU, as long as it reads them.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) dirs: Directories,
    place: Place,
}

/// A directory for one restore, which is there if something was made in it. It goes with what it is in, or before, but never while
/// this process sees what is mounted there: others' images.
#[derive(Debug)]
struct Place(PathBuf);

impl Held {
    /// Looks whether there is a checkpoint, before anything is made for its restore. `owner` is who the container's root is on the host,
    /// if not root; the images may be his.
    ///
    /// Images of unknown origin may hold anything (CVE-2026-53489 was a link in a checkpoint, which was followed).
    pub(crate) fn open(path: &Path, owner: Option<u32>) -> Result<Self> {
        let ours = Ours::new(owner);
        let chain = vet::images(open_images(path)?, path, ours)?;
        if accessat(&chain.dirs[0], "inventory.img", Access::READ_OK, AtFlags::empty()).is_err() {
            return Err(Error::Request(format!(
                "image directory {}: no inventory.img in it, so this is not a (complete) checkpoint",
                path.display()
            )));
        }
        let mut mounts = Vec::new();
        if let Some(stranger) = &chain.stranger {
            log::debug!("image directory {}: {stranger}, so images are bound or copied", path.display());
            let step = || format!("image directory {}", path.display());
            mounts =
                chain.dirs.iter().map(|dir| blind(dir.as_fd())).collect::<std::io::Result<_>>().step(step)?;
        }
        Ok(Self { path: path.to_owned(), chain, ours, mounts })
    }

    /// The image directory.
    pub(crate) fn images(&self) -> BorrowedFd<'_> {
        self.chain.dirs[0].as_fd()
    }

    /// The directories for a CRIU that shares our view of the file tree, so that nothing can be made for it. Where somebody else can
    /// write, it still follows no link, and so cannot go to images that these build on.
    pub(crate) fn hand_over(mut self, work: Option<&Path>) -> Result<Directories> {
        let work = work.map(made_work).transpose()?;
        let log_place = path_of(work.as_ref().unwrap_or(&self.chain.dirs[0]));
        let images = match (&self.mounts[..], &self.chain.stranger) {
            ([], _) => self.chain.dirs.swap_remove(0),
            ([mount], _) => inside(mount).step(|| format!("image directory {}", self.path.display()))?,
            (_, stranger) => {
                return Err(Error::Request(format!(
                    "image directory {}: {}, and the images build on others; make the directories, and what they are in, root's \
                     alone (chown, chmod go-w)",
                    self.path.display(),
                    stranger.as_deref().unwrap_or_default()
                )));
            }
        };
        Ok(Directories::of(images, work).with_log_in(log_place))
    }

    /// The image directory, opened in another view of the file tree.
    pub(crate) fn open_again(&self) -> Result<OwnedFd> {
        let step = || format!("image directory {}", self.path.display());
        let (now, then) = (open_images(&self.path)?, self.images());
        let number = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let is_same = number(fstat(&now).step(step)?) == number(fstat(then).step(step)?);
        is_same.then_some(now).ok_or_else(exchanged).step(step)
    }

    /// The directories for a CRIU in a view of the file tree of its own, in which we are; what must be made is made in `place`. CRIU
    /// mounts in its work directory, and the kernel lets nobody mount on what was opened in another view.
    pub(crate) fn hand_over_in_view(&self, work: Option<&Path>, place: &Path) -> Result<Handed> {
        let place = Place(place.join("images"));
        let (work, log_place) = match work {
            None => (None, self.mounts.first().and(path_of(&self.chain.dirs[0]))),
            Some(work) => self.work_in_view(work, &place)?,
        };
        let dirs = if self.mounts.is_empty() {
            Directories::of(self.open_again()?, work)
        } else {
            let step = || format!("image directory {}", self.path.display());
            let (images, theirs) = self.gather(&place).step(step)?;
            Directories::of(images, Some(work.unwrap_or(theirs)))
        };
        Ok(Handed { dirs: dirs.with_log_in(log_place), place })
    }

    /// The work directory, and where that is; in one of somebody else's CRIU follows no link.
    fn work_in_view(&self, path: &Path, place: &Place) -> Result<(Option<OwnedFd>, Option<PathBuf>)> {
        let step = || format!("work directory {}", path.display());
        let work = made_work(path)?;
        if self.ours.stranger(&fstat(&work).step(step)?).is_none() {
            return Ok((Some(work), None));
        }
        let mount = blind(work.as_fd()).step(step)?;
        Ok((Some(place.attach(&mount, "work").step(step)?), path_of(&work)))
    }

    /// Makes directories with all images, as they are now; the first of them, and the one that it stands for.
    fn gather(&self, place: &Place) -> std::io::Result<(OwnedFd, OwnedFd)> {
        let mut all = Vec::new();
        for (depth, mount) in self.mounts.iter().enumerate() {
            let theirs = place.attach(mount, &format!("from-{depth}"))?;
            let held = open(&place.make(&depth.to_string())?, OFlags::NOFOLLOW)?;
            for entry in Dir::read_from(&theirs)? {
                let entry = entry?;
                if entry.file_name().to_bytes().ends_with(b".img") {
                    self.take(&theirs, &held, entry.file_name())?;
                }
            }
            if depth + 1 < self.mounts.len() {
                symlinkat(format!("../{}", depth + 1), &held, "parent")?;
            }
            all.push((held, theirs));
        }
        Ok(all.swap_remove(0))
    }

    /// Puts an image under its name into another directory.
    fn take(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> std::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(from, name, flags, Mode::empty()).map_err(|_| exchanged())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(exchanged());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut held = File::from(openat(to, name, flags, Mode::from(0o600))?);
        if self.ours.stranger(&stat).is_none() {
            let mount = clone_tree(&file, Depth::One).map_err(std::io::Error::other)?;
            return move_mount_at(mount, to, &name.to_string_lossy()).map_err(std::io::Error::other);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        require_room(&held, size)?;
        std::io::copy(&mut File::from(file).take(size), &mut held)?;
        if let Some(owner) = self.ours.owner {
            // As `Directories::share_with` has it.
            fchown(&held, Some(Uid::from_raw(owner)), None)?;
            fchmod(&held, Mode::from(0o640))?;
        }
        Ok(())
    }
}

impl Handed {
    /// Removes what was made for CRIU, when it is done. Called outside the view.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_dir_all(&self.place.0);
    }
}

impl Place {
    /// A new directory in it. The root of a user namespace goes through it, too.
    fn make(&self, name: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&path)?;
        Ok(path)
    }

    /// Gives a mount a place here, and opens it.
    fn attach(&self, mount: &OwnedFd, name: &str) -> std::io::Result<OwnedFd> {
        move_mount(mount, open(&self.make(name)?, OFlags::NOFOLLOW)?).map_err(std::io::Error::other)?;
        inside(mount)
    }
}

/// A mount of a directory, without a place yet, through which no link is followed.
pub(super) fn blind(dir: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let mount = clone_tree(dir, Depth::One).map_err(std::io::Error::other)?;
    let change = AttrChange { set: attr::NOSYMFOLLOW, ..AttrChange::default() };
    if let Err(e) = set_attr(&mount, Depth::One, change) {
        // KERNEL(5.14): before, there was no such mount.
        log::debug!("{e}");
    }
    Ok(mount)
}

/// The directory that is mounted there.
pub(super) fn inside(mount: &OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(mount, ".", flags, Mode::empty())?)
}

fn made_work(path: &Path) -> Result<OwnedFd> {
    make(path, "work directory")?;
    open_work(path)
}

/// The state root is mostly a small file system in memory, and others need it as well.
fn require_room(held: &File, size: u64) -> std::io::Result<()> {
    let room = fstatvfs(held)?;
    if size <= room.f_bavail.saturating_mul(room.f_frsize) / 2 {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "somebody else can write to the images, and the state root has no room for a copy of {size} bytes: make them root's (chown)"
    )))
}

fn exchanged() -> std::io::Error {
    std::io::Error::other("was exchanged while it was looked at")
}
