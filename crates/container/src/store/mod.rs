//! The state store: one directory for each container under the state root.
//!
//! `<root>/<id>/` holds `state.json` (the [`Record`]), `config.json` (the bundle's, as it was at creation), `start.sock` while
//! the container is created but not started, `empty/`, the directory that masks others, and in a restored one `scratch/`. The
//! rules that make it safe:
//!
//! * A container's directory is made under a temporary name, locked and filled, and then renamed to the id: it appears whole,
//!   or not at all, and two that want the same id cannot both have it.
//! * `state.json` is replaced by rename, so a reader never sees half of it. There is no fsync: the state root is as volatile
//!   as the processes that it describes, and a disk wait would stand in every `create`.
//! * Who changes a container holds the directory's flock(2). The lock goes with its holder, so a record that says `pending`
//!   under a lock that is free belongs to a dead `rt`, and whoever comes next takes back what that one left (see
//!   [`repair`](crate::repair), which opens containers).

mod process;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use process::ProcessId;
pub(crate) use record::{Astray, Pending, Record, VERSION, session_keyring};

use crate::error::{Error, Result, Step};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use spec::Id;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
/// What most files in here fit into, in bytes.
const READ_SIZE: usize = 16 * 1024;
/// Before the names of directories that are still being made; no id can hold this character.
const UNFINISHED: &str = "~";

/// A state root.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// A store in `root`, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The state root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a container's directory with its first record and its config, locked.
    pub(crate) fn make(&self, id: &Id, record: &Record, config: &[u8]) -> Result<Entry> {
        self.make_root().step(|| format!("create state root {}", self.root.display()))?;
        let temporary = self.root.join(format!("{UNFINISHED}{}", std::process::id()));
        // Ours, were it to exist: the name is this process' number.
        let _ = std::fs::remove_dir_all(&temporary);
        let made = self.fill(id, &temporary, record, config);
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&temporary);
        }
        made
    }

    fn make_root(&self) -> std::io::Result<()> {
        match std::fs::create_dir_all(&self.root) {
            // What is there is something else.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(rustix::io::Errno::NOTDIR.into()),
            other => other,
        }
    }

    fn fill(&self, id: &Id, temporary: &Path, record: &Record, config: &[u8]) -> Result<Entry> {
        let step = || format!("create state directory {}", self.root.join(id).display());
        rustix::fs::mkdir(temporary, Mode::from(0o711)).step(step)?;
        let entry = Entry { id: id.clone(), path: self.root.join(id), dir: open_dir(temporary).step(step)? };
        rustix::fs::flock(&entry.dir, FlockOperation::NonBlockingLockExclusive).step(step)?;
        entry.write(CONFIG, config).step(step)?;
        entry.save(record)?;
        self.publish(id, temporary)?;
        Ok(entry)
    }

    /// Gives the finished directory its name.
    fn publish(&self, id: &Id, temporary: &Path) -> Result<()> {
        use rustix::fs::{CWD, renameat_with};
        let target = self.root.join(id);
        match renameat_with(CWD, temporary, CWD, &target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => Err(Error::Exists(id.clone())),
            other => other.step(|| format!("create state directory {}", target.display())),
        }
    }

    /// Opens a container's directory, whatever is in it.
    pub(crate) fn open(&self, id: &Id) -> Result<Entry> {
        let path = self.root.join(id);
        match open_dir(&path) {
            Ok(dir) => Ok(Entry { id: id.clone(), path, dir }),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(Error::NotFound(id.clone())),
            Err(e) => Err(e).step(|| format!("open {}", path.display())),
        }
    }

    /// Removes what was never finished by makers that are gone.
    pub(crate) fn sweep(&self) {
        let names = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
            .for_each(|entry| sweep(&entry.path()));
    }

    /// The ids of all containers, sorted. A state root that does not exist holds none. [Sweeps](Self::sweep) on the way.
    pub(crate) fn ids(&self) -> Result<Vec<Id>> {
        let step = || format!("read state root {}", self.root.display());
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.step(step)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.step(step)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match Id::new(&name) {
                Err(_) if name.starts_with(UNFINISHED) => sweep(&entry.path()),
                Ok(id) if entry.file_type().is_ok_and(|t| t.is_dir()) => ids.push(id),
                _ => {}
            }
        }
        ids.sort();
        Ok(ids)
    }
}

/// Removes a directory that was never finished, once its maker is gone.
fn sweep(path: &Path) {
    // Its name is its maker's process id. The lock alone does not tell: a maker takes it a moment after the mkdir.
    let maker =
        path.file_name().map(|name| name.to_string_lossy().replace(UNFINISHED, "")).unwrap_or_default();
    if Path::new("/proc").join(maker).exists() {
        return;
    }
    let abandoned = open_dir(path)
        .is_ok_and(|dir| rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok());
    if abandoned {
        let _ = std::fs::remove_dir_all(path);
    }
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// An open container directory; the lock, once taken, lasts as long as this.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The container's id.
    pub id: Id,
    /// The directory's path.
    pub path: PathBuf,
    dir: OwnedFd,
}

impl Entry {
    /// Replaces the record.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        let step = || format!("write {}", self.path.join(RECORD).display());
        let json = serde_json::to_vec(record).step(step)?;
        self.write("state.json.new", &json).step(step)?;
        rustix::fs::renameat(&self.dir, "state.json.new", &self.dir, RECORD).step(step)
    }

    /// Reads the record.
    pub(crate) fn load(&self) -> Result<Record> {
        let bad =
            |reason: String| Error::Record { path: self.path.join(RECORD).display().to_string(), reason };
        let bytes = match self.read(RECORD) {
            Err(rustix::io::Errno::NOENT) => return Err(Error::NotFound(self.id.clone())),
            other => other.map_err(|e| bad(sys::strerror(e.raw_os_error())))?,
        };
        Record::parse(&bytes).map_err(bad)
    }

    /// The config.json that the container was made with.
    pub(crate) fn config(&self) -> Result<spec::Config> {
        let path = self.path.join(CONFIG);
        let bytes = self.read(CONFIG).step(|| format!("read {}", path.display()))?;
        Ok(spec::Config::parse(bytes, &path.display().to_string())?)
    }

    /// A directory for what is mounted during a restore, in CRIU's view of the file tree alone. The root of a user namespace goes through
    /// it, too.
    pub(crate) fn scratch_dir(&self) -> Result<PathBuf> {
        self.dir("scratch", Mode::from(0o711))
    }

    fn dir(&self, name: &str, mode: Mode) -> Result<PathBuf> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.dir, name, mode) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(path),
            Err(e) => Err(e).step(|| format!("create {}", path.display())),
        }
    }

    /// A path to a file in here that stays short and true whatever the state root is called: sun_path holds 108 bytes.
    pub(crate) fn short_path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd()))
    }

    /// The descriptor that holds the lock, for a forked child to close.
    pub(crate) fn lock_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether there is a file of this name in here.
    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.dir, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Removes a file in here; one that is not there is no error.
    pub(crate) fn unlink(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
    }

    /// Removes the directory: the container is gone. The record goes first, so that what a crash leaves names no container.
    pub(crate) fn remove(&self) -> Result<()> {
        self.unlink(RECORD);
        match std::fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).step(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is left of a directory without a record, as far as that is possible.
    pub(crate) fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }

    /// Waits until nobody else changes the container, and has it alone then.
    pub(crate) fn lock(&self) -> Result<()> {
        rustix::fs::flock(&self.dir, FlockOperation::LockExclusive)
            .step(|| format!("lock {}", self.path.display()))
    }

    /// Lets others change the container again.
    pub(crate) fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.dir, FlockOperation::Unlock)
            .step(|| format!("unlock {}", self.path.display()))
    }

    /// Has it alone, if nobody else has; whether that is so.
    pub(crate) fn try_lock(&self) -> Result<bool> {
        match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e).step(|| format!("lock {}", self.path.display())),
        }
    }

    /// Makes an empty file in here.
    pub(crate) fn write_empty(&self, name: &str) -> Result<()> {
        self.write(name, b"").step(|| format!("create {}", self.path.join(name).display()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::from(0o600))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest)?..];
        }
        Ok(())
    }

    fn read(&self, name: &str) -> rustix::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        let mut bytes = Vec::with_capacity(READ_SIZE);
        // Of a regular file the kernel hands over as much as it can: what does not fill the buffer was the end.
        while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes))? > 0
            && bytes.len() == bytes.capacity()
        {
            bytes.reserve(READ_SIZE);
        }
        Ok(bytes)
    }
}
