//! A look at images before CRIU, which has all our rights, is told to read them.
//!
//! They may come from anywhere. What they may not do is to lead out of their directory, to block who reads them, or to be
//! exchanged meanwhile ([`held`](super::held) sees to that); what is in them is CRIU's to judge, and what is to be made of them is
//! said by config.json alone.

use crate::error::{Error, Result, Step};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// CRIU's link to the images of the dump before.
pub(super) const PARENT: &CStr = c"parent";

/// How many dumps may build on each other.
const MAX_PARENTS: usize = 128;

/// Directories of images, all open: exchanging their names does nothing any more.
#[derive(Debug)]
pub(super) struct Chain {
    /// The one that was asked for, and those that it builds on, the nearest first.
    pub(super) dirs: Vec<OwnedFd>,
    /// Why somebody else could exchange what is in them; None: nobody can.
    pub(super) stranger: Option<String>,
}

/// Who may have images without being somebody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    caller: u32,
    /// Besides root and the caller.
    pub(super) owner: Option<u32>,
}

impl Ours {
    pub(super) fn new(owner: Option<u32>) -> Self {
        Self { caller: rustix::process::geteuid().as_raw(), owner }
    }

    /// Why somebody else can write to a file, or put others into a directory. What an access list allows shows in the group's bits
    /// (acl(5)).
    pub(super) fn stranger(self, stat: &Stat) -> Option<String> {
        self.other_owner(stat).or_else(|| {
            let mode = stat.st_mode & 0o7777;
            (mode & 0o022 != 0).then(|| format!("can be written by others (mode {mode:o})"))
        })
    }

    fn other_owner(self, stat: &Stat) -> Option<String> {
        let is_ours = [0, self.caller].contains(&stat.st_uid) || self.owner == Some(stat.st_uid);
        (!is_ours).then(|| format!("belongs to user {}", stat.st_uid))
    }

    /// The same of a directory on the way: where it is sticky, nobody can rename what is ours in it (inode(7)).
    fn stranger_on_the_way(self, stat: &Stat) -> Option<String> {
        if stat.st_mode & 0o1000 != 0 { self.other_owner(stat) } else { self.stranger(stat) }
    }
}

/// Checks an image directory and those that it builds on.
pub(super) fn images(dir: OwnedFd, path: &Path, ours: Ours) -> Result<Chain> {
    let step = || format!("image directory {}", path.display());
    let mut stranger = None;
    let mut dirs = Vec::new();
    let mut next = Some(dir);
    while let Some(dir) = next {
        if dirs.len() > MAX_PARENTS {
            return Err(refusal(path, "more parents than can be"));
        }
        let seen = look(&dir, path, ours)?;
        stranger = stranger.or(seen.stranger);
        next = None;
        if let Some(target) = seen.parent {
            let (parent, on_the_way) =
                parent(&dir, Path::new(OsStr::from_bytes(target.to_bytes())), ours).step(step)?;
            stranger = stranger.or(on_the_way);
            next = Some(parent);
        }
        dirs.push(dir);
    }
    Ok(Chain { dirs, stranger })
}

/// Checks the images that a dump into `dir` is to build on. CRIU goes to them by their names, and with its own link among what it
/// writes, so where somebody else could put another, nothing is safe.
pub(super) fn base(dir: &OwnedFd, target: &Path, ours: Ours) -> Result<()> {
    let step = || format!("--parent-path {}", target.display());
    let own = ours.stranger(&fstat(dir).step(step)?);
    let (parent, on_the_way) = parent(dir, target, ours).step(step)?;
    let chain = images(parent, target, ours)?;
    let Some(why) = own.or(on_the_way).or(chain.stranger) else { return Ok(()) };
    Err(Error::Request(format!(
        "--parent-path {}: {why}, and could lead CRIU elsewhere by a link; make the image directories, and what they are in, root's \
         alone (chown, chmod go-w)",
        target.display()
    )))
}

/// What was seen in one directory.
struct Seen {
    /// Where its link to a parent leads.
    parent: Option<CString>,
    stranger: Option<String>,
}

/// Checks one directory.
fn look(dir: &OwnedFd, path: &Path, ours: Ours) -> Result<Seen> {
    let step = || format!("image directory {}", path.display());
    let stat = fstat(dir).step(step)?;
    if stat.st_mode & 0o1002 == 0o002 {
        return Err(refusal(
            path,
            &format!("can be written by everybody (mode {:o})", stat.st_mode & 0o7777),
        ));
    }
    let mut seen = Seen { parent: None, stranger: ours.stranger(&stat) };
    for entry in Dir::read_from(dir).step(step)? {
        let entry = entry.step(step)?;
        let name = entry.file_name();
        let stat = statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).step(step)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let stranger = ours.stranger(&stat).map(|why| format!("{} {why}", name.to_string_lossy()));
                seen.stranger = seen.stranger.or(stranger);
            }
            // A page server that serves lazily has a socket in the work directory, which may be this one.
            FileType::Directory | FileType::Socket => {}
            FileType::Symlink if name == PARENT => {
                let target = readlinkat(dir, name, Vec::new()).step(step)?;
                if target.to_bytes().starts_with(b"/") {
                    return Err(refusal(path, &format!("parent leads to {target:?}, which is not relative")));
                }
                seen.parent = Some(target);
            }
            _ => return Err(refusal(path, &format!("{name:?} is neither a file nor a directory"))),
        }
    }
    Ok(seen)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the directory that is `target` as seen from another; and why somebody else could make it lead elsewhere.
fn parent(dir: &OwnedFd, target: &Path, ours: Ours) -> rustix::io::Result<(OwnedFd, Option<String>)> {
    let mut at = None;
    let mut stranger = None;
    for part in target.components() {
        let from = at.as_ref().unwrap_or(dir);
        let Ok(next) = openat(from, part.as_os_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) else {
            // Another link, or none at all, which the kernel tells.
            let parent = openat(dir, target, DIRECTORY, Mode::empty())?;
            return Ok((parent, Some("the way to its parent leads over another link".into())));
        };
        stranger = stranger.or(ours.stranger_on_the_way(&fstat(&next)?));
        at = Some(next);
    }
    Ok((at.ok_or(rustix::io::Errno::NOENT)?, stranger))
}

fn refusal(path: &Path, problem: &str) -> Error {
    Error::Request(format!("image directory {}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, Permissions, create_dir, remove_file, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn check(path: &Path) -> std::result::Result<(), String> {
        images(File::open(path).unwrap().into(), path, Ours::new(None)).map(drop).map_err(|e| e.to_string())
    }

    #[test]
    fn who_could_exchange_images_is_told() {
        let base = tempfile::tempdir().unwrap();
        let (first, second) = (base.path().join("first"), base.path().join("second"));
        let chmod = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for dir in [&first, &second] {
            create_dir(dir).unwrap();
            chmod(dir, 0o755);
            std::fs::write(dir.join("inventory.img"), "").unwrap();
            chmod(&dir.join("inventory.img"), 0o644);
        }
        symlink("../first", second.join("parent")).unwrap();
        let stranger = || {
            let chain = images(File::open(&second).unwrap().into(), &second, Ours::new(None)).unwrap();
            assert_eq!(chain.dirs.len(), 2);
            chain.stranger.unwrap_or_default()
        };
        assert_eq!(stranger(), "");
        chmod(&first.join("inventory.img"), 0o664);
        assert_eq!(stranger(), "inventory.img can be written by others (mode 664)");
        chmod(&first.join("inventory.img"), 0o644);
        // In what they are in they could be renamed, but not in a directory like /tmp.
        chmod(base.path(), 0o777);
        assert_eq!(stranger(), "can be written by others (mode 777)");
        chmod(base.path(), 0o1777);
        assert_eq!(stranger(), "");
        symlink("first", base.path().join("link")).unwrap();
        remove_file(second.join("parent")).unwrap();
        symlink("../link", second.join("parent")).unwrap();
        assert!(stranger().contains("another link"));
        let ours = Ours { caller: 1, owner: Some(2) };
        let owned_by = |uid| {
            let mut stat = fstat(File::open(&first).unwrap()).unwrap();
            stat.st_uid = uid;
            ours.stranger(&stat)
        };
        assert_eq!((owned_by(0), owned_by(1), owned_by(2)), (None, None, None));
        assert_eq!(owned_by(3), Some("belongs to user 3".into()));
    }

    #[test]
    fn files_directories_and_a_relative_parent_pass_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let (first, second) = (base.path().join("first"), base.path().join("second"));
        for dir in [&first, &second] {
            create_dir(dir).unwrap();
            std::fs::write(dir.join("inventory.img"), "").unwrap();
        }
        symlink("../first", second.join("parent")).unwrap();
        assert_eq!(check(&second), Ok(()));
        symlink("/etc/hostname", first.join("x.img")).unwrap();
        assert!(check(&second).unwrap_err().contains("\"x.img\" is neither a file nor a directory"));
        remove_file(first.join("x.img")).unwrap();
        symlink("../second", first.join("parent")).unwrap();
        assert!(check(&second).unwrap_err().contains("more parents"));
        remove_file(first.join("parent")).unwrap();
        symlink(base.path(), first.join("parent")).unwrap();
        assert!(check(&first).unwrap_err().contains("not relative"));
        remove_file(first.join("parent")).unwrap();
        set_permissions(&first, Permissions::from_mode(0o777)).unwrap();
        assert!(check(&second).unwrap_err().contains("by everybody (mode 777)"));
    }
}
