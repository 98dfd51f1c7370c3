//! The directory of one container's images.

use super::record::Record;
use crate::checkpoint::descriptors;
use crate::error::{Error, Result, Step};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
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

    /// Holds the directory, for one operation at a time: two dumps of one container would spoil each other's images, two restores
    /// would be two containers. Who was killed here before has left it in order then.
    pub(super) fn hold(&self) -> Result<OwnedFd> {
        let dir = open_dir(self.dir)?;
        let step = || format!("lock the image directory {}", self.dir.display());
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(Error::Request(format!(
                "image directory {}: another checkpoint or restore is at work there",
                self.dir.display()
            ))),
            other => {
                other.step(step)?;
                self.mend()?;
                Ok(dir)
            }
        }
    }

    /// Puts an earlier checkpoint aside until there is another one.
    pub(super) fn put_aside(&self) -> Result<()> {
        self.remove(|name| name.as_encoded_bytes() == b"stats-restore")?;
        if !self.dir.join("inventory.img").exists() {
            return self.remove(is_image);
        }
        let moving = self.dir.join(MOVING);
        std::fs::create_dir(&moving).step(|| format!("create {}", moving.display()))?;
        move_images(self.dir, &moving)?;
        rename(&moving, &self.dir.join(ASIDE))
    }

    /// Half a checkpoint is none: removes it, and puts the one before back in its place.
    pub(super) fn put_back(&self) -> Result<()> {
        self.remove(is_image)?;
        if self.dir.join(ASIDE).exists() {
            rename(&self.dir.join(ASIDE), &self.dir.join(MOVING))?;
        }
        self.finish_move()
    }

    /// There is a new checkpoint: the one before is of no more use.
    pub(super) fn drop_aside(&self) -> Result<()> {
        let aside = self.dir.join(ASIDE);
        match std::fs::remove_dir_all(&aside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.step(|| format!("remove {}", aside.display())),
        }
    }

    /// What a dump that was killed has left: the new checkpoint if it is complete, else the one before.
    fn mend(&self) -> Result<()> {
        self.finish_move()?;
        match (self.dir.join(ASIDE).exists(), self.dir.join(descriptors::NAME).exists()) {
            (false, _) => Ok(()),
            // It is written when all else is.
            (true, true) => self.drop_aside(),
            (true, false) => self.put_back(),
        }
    }

    /// Whatever is on the way belongs here.
    fn finish_move(&self) -> Result<()> {
        let moving = self.dir.join(MOVING);
        if !moving.exists() {
            return Ok(());
        }
        move_images(&moving, self.dir)?;
        std::fs::remove_dir(&moving).step(|| format!("remove {}", moving.display()))
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

/// Where an earlier checkpoint is while another one is made.
const ASIDE: &str = "previous";
/// Where images are on their way there or back: a move that is cut short is undone by the next who holds the directory.
const MOVING: &str = "previous.moving";

fn move_images(from: &Path, to: &Path) -> Result<()> {
    for path in Place::new(from).files()? {
        if let Some(name) = path.file_name().filter(|name| is_image(name)) {
            rename(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).step(|| format!("move {} to {}", from.display(), to.display()))
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
        place.put_aside().unwrap();
        assert_eq!(names(dir.path()), ["docker.json", "dump.log", "mine"], "no inventory: no checkpoint");
    }

    /// The contents of the images, by name.
    fn images(dir: &Path) -> Vec<(String, String)> {
        let files = Place::new(dir).files().unwrap().into_iter();
        let image = |path: PathBuf| {
            let name = path.file_name().filter(|name| is_image(name))?.to_str()?.to_owned();
            Some((name, std::fs::read_to_string(path).unwrap()))
        };
        let mut images: Vec<_> = files.filter_map(image).collect();
        images.sort();
        images
    }

    fn write(dir: &Path, names: &[&str], text: &str) {
        names.iter().for_each(|name| std::fs::write(dir.join(name), text).unwrap());
    }

    const ALL: [&str; 3] = ["core-1.img", "descriptors.json", "inventory.img"];

    fn all(text: &str) -> Vec<(String, String)> {
        ALL.iter().map(|name| ((*name).to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn the_checkpoint_before_is_there_until_there_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        write(dir.path(), &ALL, "old");
        place.put_aside().unwrap();
        assert_eq!(images(dir.path()), []);
        write(dir.path(), &ALL[..1], "new");
        place.put_back().unwrap();
        assert_eq!(images(dir.path()), all("old"));
        place.put_aside().unwrap();
        write(dir.path(), &ALL, "new");
        place.drop_aside().unwrap();
        assert_eq!(images(dir.path()), all("new"));
        assert_eq!(place.files().unwrap().len(), ALL.len());
    }

    #[test]
    fn who_holds_the_directory_next_mends_what_was_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        let mended = |text: &str| {
            drop(place.hold().unwrap());
            assert_eq!(images(dir.path()), all(text));
            assert_eq!(place.files().unwrap().len(), ALL.len());
        };
        write(dir.path(), &ALL, "old");
        // In a dump, when it is complete, and on the way aside.
        place.put_aside().unwrap();
        write(dir.path(), &["core-1.img", "inventory.img"], "new");
        mended("old");
        place.put_aside().unwrap();
        write(dir.path(), &ALL, "new");
        mended("new");
        std::fs::create_dir(dir.path().join(MOVING)).unwrap();
        rename(&dir.path().join("core-1.img"), &dir.path().join(MOVING).join("core-1.img")).unwrap();
        mended("new");
    }

    #[test]
    fn one_at_a_time_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = Place::new(dir.path()).hold().unwrap();
        let error = Place::new(dir.path()).hold().unwrap_err().to_string();
        assert!(error.ends_with("another checkpoint or restore is at work there"), "{error}");
        drop(held);
        Place::new(dir.path()).hold().unwrap();
    }
}
