//! The directory of one container's images.

use super::record::Record;
use crate::error::{Result, Step};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where a container's images are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) dir: &'a Path,
}

impl<'a> Place<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir }
    }

    /// What was noted down there; nothing where there is no such directory.
    pub(super) fn record(&self) -> Result<Record> {
        if !self.dir.exists() {
            return Ok(Record::default());
        }
        Record::read(open_dir(self.dir)?.as_fd())
    }

    /// Removes what an earlier checkpoint left, and no other file.
    pub(super) fn remove_images(&self) -> Result<()> {
        self.remove(|name| is_image(name) || name.as_encoded_bytes() == b"stats-restore")
    }

    /// The container that was restored from here is no more.
    pub(super) fn forget_restored(&self) -> Result<()> {
        self.remove(|name| name == "restore.pid")?;
        let dir = open_dir(self.dir)?;
        let record = Record::read(dir.as_fd())?;
        Record { restored: None, ..record }.write(dir.as_fd())
    }

    fn remove(&self, is_meant: impl Fn(&OsStr) -> bool) -> Result<()> {
        for path in self.files()? {
            if path.file_name().is_some_and(&is_meant) {
                std::fs::remove_file(&path).step(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let step = || format!("image directory {}", self.dir.display());
        let entries = std::fs::read_dir(self.dir).step(step)?;
        entries.map(|entry| Ok(entry.step(step)?.path())).collect()
    }

    /// Gives an engine the images, in a new directory where it looks for them: as further names of the same files where that is possible.
    pub(super) fn hand_to(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to).step(|| format!("create {}", to.display()))?;
        for from in self.files()? {
            let Some(name) = from.file_name().filter(|name| is_image(name)) else { continue };
            let to = to.join(name);
            std::fs::hard_link(&from, &to)
                .or_else(|_| std::fs::copy(&from, &to).map(drop))
                .step(|| format!("copy {} to {}", from.display(), to.display()))?;
        }
        Ok(())
    }
}

/// The images of a container that its engine no longer knows, among those of all containers: by its name, or the beginning of its id.
pub(super) fn of_unknown(home: &Path, named: &str) -> Option<PathBuf> {
    let dirs = std::fs::read_dir(home).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    dirs.filter(|dir| dir.join("inventory.img").exists()).find(|dir| {
        let is_id = dir.file_name().is_some_and(|id| id.as_encoded_bytes().starts_with(named.as_bytes()));
        is_id || Place::new(dir).record().is_ok_and(|record| record.name == named)
    })
}

/// Whether a file is one that makes up a checkpoint.
fn is_image(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".img") || [&b"descriptors.json"[..], b"stats-dump"].contains(&name)
}

/// Opens a directory.
pub(super) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("image directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_without_their_engine() {
        let home = tempfile::tempdir().unwrap();
        for (id, name) in [("ab12", "web"), ("cd34", "db")] {
            let dir = home.path().join(id);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("inventory.img"), "").unwrap();
            Record { name: name.into(), ..Record::default() }.write(open_dir(&dir).unwrap().as_fd()).unwrap();
        }
        std::fs::create_dir(home.path().join("ef56")).unwrap();
        for (named, id) in [("web", Some("ab12")), ("cd", Some("cd34")), ("ef56", None), ("other", None)] {
            assert_eq!(of_unknown(home.path(), named), id.map(|id| home.path().join(id)), "{named}");
        }
        assert_eq!(of_unknown(Path::new("/no/such/home"), "web"), None);
    }

    #[test]
    fn only_images_are_removed_and_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "core-1.img",
            "tmpfs-1.tar.gz.img",
            "stats-dump",
            "descriptors.json",
            "dump.log",
            "mine",
            "docker.json",
        ] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let (place, to) = (Place::new(dir.path()), tempfile::tempdir().unwrap());
        place.hand_to(&to.path().join("a/b")).unwrap();
        assert_eq!(
            names(&to.path().join("a/b")),
            ["core-1.img", "descriptors.json", "stats-dump", "tmpfs-1.tar.gz.img"]
        );
        place.remove_images().unwrap();
        assert_eq!(names(dir.path()), ["docker.json", "dump.log", "mine"]);
    }
}
