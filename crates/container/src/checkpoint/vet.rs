//! A look at images before CRIU, which has all our rights, is told to read them.
//!
//! They may come from anywhere. What they may not do is to lead out of their directory, to block who reads them, or to be
//! exchanged meanwhile; what is in them is CRIU's to judge, and what is to be made of them is said by config.json alone.

use crate::error::{Error, Result, Step};
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// CRIU's link to the images of the dump before.
const PARENT: &CStr = c"parent";

/// How many dumps may build on each other.
const MAX_PARENTS: usize = 128;

/// Checks an image directory and those that it builds on.
pub(super) fn images(dir: &OwnedFd, path: &Path) -> Result<()> {
    let step = || format!("image directory {}", path.display());
    let mut next = look(dir, path)?.then(|| parent(dir)).transpose().step(step)?;
    for _ in 0..MAX_PARENTS {
        let Some(dir) = next else { return Ok(()) };
        next = look(&dir, path)?.then(|| parent(&dir)).transpose().step(step)?;
    }
    Err(refusal(path, "more parents than can be"))
}

/// Checks one directory; whether it has a parent.
fn look(dir: &OwnedFd, path: &Path) -> Result<bool> {
    let step = || format!("image directory {}", path.display());
    let mode = fstat(dir).step(step)?.st_mode;
    if mode & 0o1002 == 0o002 {
        return Err(refusal(path, &format!("can be written by everybody (mode {:o})", mode & 0o7777)));
    }
    let mut has_parent = false;
    for entry in Dir::read_from(dir).step(step)? {
        let entry = entry.step(step)?;
        let name = entry.file_name();
        let stat = statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).step(step)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // A page server that serves lazily has a socket in the work directory, which may be this one.
            FileType::RegularFile | FileType::Directory | FileType::Socket => {}
            FileType::Symlink if name == PARENT => {
                let target = readlinkat(dir, name, Vec::new()).step(step)?;
                if target.to_bytes().starts_with(b"/") {
                    return Err(refusal(path, &format!("parent leads to {target:?}, which is not relative")));
                }
                has_parent = true;
            }
            _ => return Err(refusal(path, &format!("{name:?} is neither a file nor a directory"))),
        }
    }
    Ok(has_parent)
}

fn parent(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    openat(dir, PARENT, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
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
        images(&OwnedFd::from(File::open(path).unwrap()), path).map_err(|e| e.to_string())
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
