//! The images that others build on: each directory's `parent` leads to those of the dump before.

use super::error::{Damage, Result};
use super::folder::{Folder, KindSize, Size};
use super::inventory::{self, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat, statat};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// CRIU's link.
const PARENT: &str = "parent";

/// How many dumps may build on each other.
const MOST_PARENTS: usize = 128;

/// A directory that others build on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// What the link says, seen from the directory that builds on this one.
    pub link: String,
    /// Where that is.
    pub path: PathBuf,
    /// What is in it; None where there is no such directory.
    pub found: Option<Found>,
}

/// What is in a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kind of its images.
    pub kind: Kind,
    /// All of its files.
    pub total: Size,
    /// Its memory.
    pub pages: Size,
}

/// The parents of a directory, the nearest first.
///
/// A link may lead to wherever it says, but over no other link: the images of unknown origin are not to choose by a detour what
/// is read. One that leads nowhere is told; one that leads in a circle, or to an absolute path, is an error, since no checkpoint
/// makes such a link.
pub(super) fn parents(folder: &Folder) -> Result<Vec<Parent>> {
    let mut found = Vec::new();
    let mut seen: Vec<_> = folder.dir().map(identity).into_iter().collect();
    // The directory that the next link lies in.
    let mut from = folder.path().to_owned();
    let mut next = follow(folder)?;
    while let Some((link, opened)) = next {
        let Some(dir) = opened else {
            found.push(Parent { path: from.join(&link), link, found: None });
            break;
        };
        let path = real_path(&dir);
        let problem = if seen.contains(&identity(&dir)) {
            Some(format!("{link:?} leads back to {}, so the chain has no end", path.display()))
        } else if found.len() == MOST_PARENTS {
            Some(format!("{link:?} leads to one of more than {MOST_PARENTS} parents"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Damage::Contradiction(problem).of(from.join(PARENT).to_string_lossy()));
        }
        seen.push(identity(&dir));
        let parent = Folder::list(dir, &path, folder.shared_budget())?;
        found.push(Parent { link, path: path.clone(), found: Some(look(&parent)?) });
        next = follow(&parent)?;
        from = path;
    }
    Ok(found)
}

/// The link, and the directory that it leads to if there is one; None where there is no link.
fn follow(folder: &Folder) -> Result<Option<(String, Option<OwnedFd>)>> {
    follow_link(folder).map_err(|damage| folder.error(PARENT, damage))
}

fn follow_link(folder: &Folder) -> std::result::Result<Option<(String, Option<OwnedFd>)>, Damage> {
    let Some(dir) = folder.dir() else { return Ok(None) };
    let stat = match statat(dir, PARENT, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Err(Damage::Contradiction("is not a symbolic link".into()));
    }
    let link = readlinkat(dir, PARENT, Vec::new())?;
    let shown = sys::one_line(&link.to_string_lossy());
    if link.as_bytes().starts_with(b"/") {
        return Err(Damage::Contradiction(format!("leads to {shown:?}, which is not relative")));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(dir, &link, flags, Mode::empty(), resolve) {
        Ok(dir) => Ok(Some((shown, Some(dir)))),
        Err(Errno::NOENT) => Ok(Some((shown, None))),
        Err(Errno::LOOP) => Err(Damage::Contradiction(format!("{shown:?} leads over another symbolic link"))),
        Err(errno) => Err(Damage::Call(format!("{shown:?}: {}", sys::strerror(errno.raw_os_error())))),
    }
}

fn look(folder: &Folder) -> Result<Found> {
    let mut total = Size::default();
    folder.sizes().values().for_each(|kind| total += kind.size);
    let inventory = inventory::read(folder)?;
    let kind = match inventory {
        None => Kind::Received,
        Some(inventory) if inventory.pre_dump.is_some() || !folder.has_processes() => Kind::PreDump,
        Some(_) => Kind::Dump,
    };
    let pages = folder.sizes().get("pages").copied().unwrap_or_else(KindSize::default);
    Ok(Found { kind, total, pages: pages.size })
}

/// What tells one directory from all others.
fn identity(dir: &OwnedFd) -> Option<(u64, u64)> {
    fstat(dir).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Where a directory is, without the `..` of the links.
fn real_path(dir: &OwnedFd) -> PathBuf {
    let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
    std::fs::read_link(&link).unwrap_or_else(|_| Path::new(&link).to_owned())
}
