//! An image directory as enemy input: what is in it, and its files, opened so that none of them can lead elsewhere, block, or
//! go on for ever.

use super::error::{Damage, Error, Result};
use super::frame::{Frames, Magic};
use prost::Message;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The largest image that is read through; 64 GiB of memory of which every other page is dumped make one of this size.
const LARGEST_FILE: u64 = 256 << 20;

/// How much is read through in all, parents included.
const BUDGET: u64 = 1 << 30;

/// How many files a directory may have: some ten for each process.
const MOST_FILES: usize = 1 << 20;

/// How much is left to be read, of all directories of a chain together.
pub(super) type Budget = Rc<Cell<u64>>;

/// Where the files of a folder are.
#[derive(Debug)]
enum Place {
    Directory(OwnedFd),
    /// Without a directory, for tests and fuzzing.
    Memory(BTreeMap<String, Vec<u8>>),
}

/// An open image directory, and what lies in it.
#[derive(Debug)]
pub(super) struct Folder {
    place: Place,
    path: PathBuf,
    budget: Budget,
    /// Every regular file that may be an image, by name.
    files: BTreeMap<String, Size>,
    sizes: BTreeMap<String, KindSize>,
}

/// No image has a longer name.
const LONGEST_NAME: usize = 64;

/// How many kinds of files are told apart; CRIU has some eighty.
const MOST_KINDS: usize = 128;

/// The files of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSize {
    /// How many there are.
    pub files: u64,
    /// How large they are together.
    pub size: Size,
}

/// How large a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Its length, in bytes.
    pub length: u64,
    /// What it takes on the disk: less where holes have been punched into it (`--auto-dedup`).
    pub on_disk: u64,
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.length = self.length.saturating_add(other.length);
        self.on_disk = self.on_disk.saturating_add(other.on_disk);
    }
}

impl Size {
    fn of(stat: &Stat) -> Self {
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Self { length: number(stat.st_size), on_disk: number(stat.st_blocks).saturating_mul(512) }
    }
}

/// The messages of a file.
pub(super) type Image = Frames<Box<dyn Read>>;

impl Folder {
    /// Lists an open directory; `path` is what it is called in errors.
    pub(super) fn list(dir: OwnedFd, path: &Path, budget: Budget) -> Result<Self> {
        let mut folder = Self::empty(path, budget);
        folder.fill(&dir)?;
        folder.place = Place::Directory(dir);
        Ok(folder)
    }

    /// One that is nowhere, with these files, which may be said to be longer than they are.
    pub(super) fn in_memory(files: BTreeMap<String, (Vec<u8>, u64)>) -> Self {
        let mut folder = Self::empty(Path::new("images"), Self::budget());
        let mut contents = BTreeMap::new();
        for (name, (bytes, length)) in files {
            folder.add(name.clone(), Size { length, on_disk: length });
            contents.insert(name, bytes);
        }
        folder.place = Place::Memory(contents);
        folder
    }

    fn empty(path: &Path, budget: Budget) -> Self {
        let place = Place::Memory(BTreeMap::new());
        Self { place, path: path.to_owned(), budget, files: BTreeMap::new(), sizes: BTreeMap::new() }
    }

    /// As much as may be read of a directory and its parents.
    pub(super) fn budget() -> Budget {
        Rc::new(Cell::new(BUDGET))
    }

    fn fill(&mut self, dir: &OwnedFd) -> Result<()> {
        let path = self.path.to_string_lossy().into_owned();
        let of_directory = |errno: Errno| Damage::from(errno).of(&path);
        let mut names = 0;
        for entry in Dir::read_from(dir).map_err(of_directory)? {
            let name = entry.map_err(of_directory)?.file_name().to_owned();
            names += 1;
            if names > MOST_FILES {
                return Err(Damage::TooMuch(format!("holds more than {MOST_FILES} files")).of(path));
            }
            let stat = match statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(of_directory)?,
            };
            let name = name.to_string_lossy();
            if is_file(&stat) {
                self.add(name.into_owned(), Size::of(&stat));
            } else if name.ends_with(".img") {
                return Err(self.error(&name, Damage::NotAFile(kind_of(&stat))));
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, size: Size) {
        let kind = kind_of_name(&name);
        let is_known = self.sizes.contains_key(kind) || self.sizes.len() < MOST_KINDS;
        let sum = self.sizes.entry(if is_known { kind } else { OTHER }.to_owned()).or_default();
        sum.files += 1;
        sum.size += size;
        if name.len() <= LONGEST_NAME {
            self.files.insert(name, size);
        }
    }

    /// How large the files of each kind are.
    pub(super) fn sizes(&self) -> &BTreeMap<String, KindSize> {
        &self.sizes
    }

    /// Whether there are images of processes, and not of memory alone.
    pub(super) fn has_processes(&self) -> bool {
        self.files.contains_key("pstree.img") || self.numbered("core-").next().is_some()
    }

    /// What may be read of its parents.
    pub(super) fn shared_budget(&self) -> Budget {
        Rc::clone(&self.budget)
    }

    /// The directory; None of one that is nowhere.
    pub(super) fn dir(&self) -> Option<&OwnedFd> {
        match &self.place {
            Place::Directory(dir) => Some(dir),
            Place::Memory(_) => None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> &BTreeMap<String, Size> {
        &self.files
    }

    /// The numbers of the files that are called `PREFIX` NUMBER `.img`.
    pub(super) fn numbered(&self, prefix: &str) -> impl Iterator<Item = u64> {
        let names = self.files.range(prefix.to_owned()..).map(|(name, _)| name);
        names.map_while(move |name| name.strip_prefix(prefix)).filter_map(|rest| {
            let digits = rest.strip_suffix(".img")?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        })
    }

    /// The images' own error about a file.
    pub(super) fn error(&self, name: &str, damage: Damage) -> Error {
        damage.of(self.path.join(name).to_string_lossy())
    }

    /// Opens an image and looks at its kind; None when there is none.
    pub(super) fn image(&self, name: &str, kind: Magic) -> Result<Option<Image>> {
        let opened = self.open(name).and_then(|file| file.map(|file| Frames::open(file, kind)).transpose());
        opened.map_err(|damage| self.error(name, damage))
    }

    /// Opens an image that has to be there, because of `needed_by`.
    pub(super) fn needed(&self, name: &str, kind: Magic, needed_by: impl Fn() -> String) -> Result<Image> {
        let missing = || self.error(name, Damage::Missing { needed_by: needed_by() });
        self.image(name, kind)?.ok_or_else(missing)
    }

    /// The one message of an image, where there is one.
    pub(super) fn one<M: Message + Default>(&self, name: &str, kind: Magic) -> Result<Option<M>> {
        let image = self.image(name, kind)?;
        image.map(|mut image| image.one()).transpose().map_err(|damage| self.error(name, damage))
    }

    /// Every message of an image, where there is one; no more than `most`.
    pub(super) fn each<M: Message + Default>(
        &self,
        name: &str,
        kind: Magic,
        most: usize,
        mut found: impl FnMut(M),
    ) -> Result<()> {
        let Some(mut image) = self.image(name, kind)? else { return Ok(()) };
        for _ in 0..most {
            match image.next().map_err(|damage| self.error(name, damage))? {
                Some(message) => found(message),
                None => return Ok(()),
            }
        }
        Err(self.error(name, Damage::TooMuch(format!("more than {most} entries"))))
    }

    fn open(&self, name: &str) -> std::result::Result<Option<Box<dyn Read>>, Damage> {
        match &self.place {
            Place::Directory(dir) => self.open_file(dir, name),
            Place::Memory(files) => {
                let bytes = files.get(name).cloned();
                Ok(bytes.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
            }
        }
    }

    /// Opens a file for reading, up to the length that it has now.
    fn open_file(&self, dir: &OwnedFd, name: &str) -> std::result::Result<Option<Box<dyn Read>>, Damage> {
        // Looked at first: to open a device may do things.
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Ok(stat) if !is_file(&stat) => return Err(Damage::NotAFile(kind_of(&stat))),
            other => drop(other?),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if !is_file(&stat) {
            return Err(Damage::NotAFile(kind_of(&stat)));
        }
        let length = Size::of(&stat).length;
        let left = self.budget.get().checked_sub(length).filter(|_| length <= LARGEST_FILE);
        let Some(left) = left else {
            return Err(Damage::TooMuch(format!("{length} bytes to read through")));
        };
        self.budget.set(left);
        Ok(Some(Box::new(BufReader::new(File::from(file).take(length)))))
    }

    /// The beginning of a file; None when there is none that can be read.
    pub(super) fn head(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name).ok()??.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// When a file was written.
    pub(super) fn written(&self, name: &str) -> Option<std::time::SystemTime> {
        let stat = statat(self.dir()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
    }
}

/// The kind of what is no image.
const OTHER: &str = "other";

/// The kind of a file: its name without the number of a process, say.
fn kind_of_name(name: &str) -> &str {
    let Some(image) = name.strip_suffix(".img").filter(|_| name.len() <= LONGEST_NAME) else {
        return match name {
            "stats-dump" | "stats-restore" => "stats",
            "rt.json" | "descriptors.json" => "companions",
            _ if name.ends_with(".log") => "log",
            _ => OTHER,
        };
    };
    let image = image.strip_suffix(".tar.gz").unwrap_or(image);
    match image.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_hexdigit()) => kind,
        _ => image,
    }
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn kind_of(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => "symbolic link",
        FileType::Directory => "directory",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "strange thing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_names_without_their_numbers() {
        let kinds = [
            ("pages-1.img", "pages"),
            ("pagemap-shmem-123.img", "pagemap-shmem"),
            ("ghost-file-1af.img", "ghost-file"),
            ("tmpfs-dev-42.tar.gz.img", "tmpfs-dev"),
            ("ip6tables-9.img", "ip6tables"),
            ("fifo-data.img", "fifo-data"),
            ("inventory.img", "inventory"),
            ("stats-dump", "stats"),
            ("dump.log", "log"),
            ("rt.json", "companions"),
            ("passwd", OTHER),
            (".img", ""),
            ("-.img", ""),
        ];
        for (name, kind) in kinds {
            assert_eq!(kind_of_name(name), kind, "{name}");
        }
    }
}
