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
//!   under a lock that is free belongs to a dead `rt`, and whoever comes next takes back what that one left.

mod process;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use process::ProcessId;
pub(crate) use record::{Astray, Pending, Record, VERSION};

use crate::checkpoint::stopped;
use crate::error::{Error, Result, Step};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use spec::Id;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    pub(crate) fn create(&self, id: &Id, record: &Record, config: &[u8]) -> Result<Entry> {
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

    /// Gives the finished directory its name. A container of that name which a killed `rt` left half made gives way.
    fn publish(&self, id: &Id, temporary: &Path) -> Result<()> {
        let target = self.root.join(id);
        let rename = || {
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                temporary,
                rustix::fs::CWD,
                &target,
                RenameFlags::NOREPLACE,
            )
        };
        let mut renamed = rename();
        if renamed == Err(rustix::io::Errno::EXIST) {
            if self.is_abandoned(id)? {
                renamed = rename();
            }
            if renamed == Err(rustix::io::Errno::EXIST) {
                return Err(Error::Exists(id.clone()));
            }
        }
        renamed.step(|| format!("create state directory {}", target.display()))
    }

    /// Whether what has this id was left half made, or half removed, by a killed `rt`; if so, it is gone now.
    fn is_abandoned(&self, id: &Id) -> Result<bool> {
        match self.open(id).and_then(|entry| Ok(entry.try_lock()?.then(|| entry.repair()))) {
            Ok(Some(Err(Error::NotFound(_)))) | Err(Error::NotFound(_)) => Ok(true),
            Ok(Some(Err(e))) | Err(e) => Err(e),
            // It is a container, or somebody is at work on it.
            Ok(Some(Ok(_)) | None) => Ok(false),
        }
    }

    /// Opens a container to look at it. Whatever a killed `rt` left half done is taken back first, unless another `rt` is at
    /// work on the container right now.
    pub(crate) fn look(&self, id: &Id) -> Result<(Entry, Record)> {
        let entry = self.open(id)?;
        let record = match entry.load() {
            // Half removed: nobody needs the rest.
            Err(Error::NotFound(id)) if entry.try_lock()? => {
                let _ = std::fs::remove_dir_all(&entry.path);
                return Err(Error::NotFound(id));
            }
            other => other?,
        };
        let is_at_work = record.criu.map(ProcessId::is_alive).transpose()?.unwrap_or(false);
        if record.pending.is_none() || is_at_work || !entry.try_lock()? {
            return Ok((entry, record));
        }
        let record = entry.repair()?;
        entry.unlock()?;
        Ok((entry, record))
    }

    /// Opens a container to put a process into it: as [`look`](Self::look), but waits for a criu whose `rt` was killed, which might
    /// freeze or dump that process with the others.
    pub(crate) fn join(&self, id: &Id) -> Result<(Entry, Record)> {
        let (entry, record) = self.look(id)?;
        if record.criu.is_none() || !entry.try_lock()? {
            return Ok((entry, record));
        }
        let record = entry.repair()?;
        entry.unlock()?;
        Ok((entry, record))
    }

    /// Opens a container to change it: waits for the lock, and takes back whatever a killed `rt` left half done.
    pub(crate) fn lock(&self, id: &Id) -> Result<(Entry, Record)> {
        let entry = self.open(id)?;
        rustix::fs::flock(&entry.dir, FlockOperation::LockExclusive)
            .step(|| format!("lock {}", entry.path.display()))?;
        let record = entry.repair()?;
        Ok((entry, record))
    }

    fn open(&self, id: &Id) -> Result<Entry> {
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

/// How long a criu without its `rt` may take to give a container back: as long as a dump takes to write what it has in hand. Twice, the
/// second time with the container running.
const CRIU_TIMEOUT: Duration = Duration::from_secs(30);

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
    pub(crate) fn remove(self) -> Result<()> {
        self.unlink(RECORD);
        match std::fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).step(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Lets others change the container again.
    pub(crate) fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.dir, FlockOperation::Unlock)
            .step(|| format!("unlock {}", self.path.display()))
    }

    fn try_lock(&self) -> Result<bool> {
        match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e).step(|| format!("lock {}", self.path.display())),
        }
    }

    /// Takes back what a killed `rt` left half done. Called with the lock held.
    fn repair(&self) -> Result<Record> {
        let mut record = match self.load() {
            Err(Error::NotFound(id)) => {
                // Removed by another while this one waited for the lock, or its removal was cut short.
                let _ = std::fs::remove_dir_all(&self.path);
                return Err(Error::NotFound(id));
            }
            other => other?,
        };
        self.wait_for_criu(&mut record)?;
        match record.pending.take() {
            None => return Ok(record),
            Some(Pending::Freeze) => record.cgroup.thaw()?,
            Some(Pending::Creation) => {
                log::debug!("removing {}, which was never finished", self.path.display());
                crate::ops::destroy_processes(&record)?;
                crate::devices::give_back(self, &record);
                record.cgroup.remove()?;
                self.unlink(RECORD);
                std::fs::remove_dir_all(&self.path).step(|| format!("remove {}", self.path.display()))?;
                return Err(Error::NotFound(self.id.clone()));
            }
        }
        self.save(&record)?;
        Ok(record)
    }

    /// A criu whose `rt` was killed finds its socket closed at the next stage, takes its code out of the container's processes and
    /// ends. Until then they are in its hands.
    fn wait_for_criu(&self, record: &mut Record) -> Result<()> {
        stopped::bring_back(record)?;
        let Some(criu) = record.criu else { return Ok(()) };
        let is_over = stopped::wait_for_criu(criu, self, record, CRIU_TIMEOUT)? || {
            // It may wait for something that cannot come while the container is frozen.
            if record.pending == Some(Pending::Freeze) {
                record.cgroup.thaw()?;
            }
            criu.wait_end(CRIU_TIMEOUT)?
        };
        if is_over {
            record.criu = None;
            return Ok(());
        }
        Err(Error::Request(format!(
            "container {:?}: criu (process {}), whose runtime was killed, still works on it: wait for it, or end it",
            self.id.as_str(),
            criu.pid
        )))
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
