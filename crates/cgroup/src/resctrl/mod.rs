//! Intel RDT and what other makers call its like (`linux.intelRdt`): a container's share of caches and of memory bandwidth, through
//! the kernel's resctrl (Documentation/filesystems/resctrl.rst; kernel 4.10).
//!
//! A group is a directory, as a cgroup is: `tasks` says who is in it, `schemata` what they may use, and what is forked belongs where its
//! parent does. Groups that share a class of service (`closID`) are few, sixteen on many processors; those below `mon_groups` only
//! count, and are many.

mod error;
mod schemata;
mod stats;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use spec::oci::LinuxIntelRdt;

pub use error::Error;
pub use stats::Stats;

use crate::entry::Entry;
use crate::files;

/// What functions of this module return.
pub type Result<T> = std::result::Result<T, Error>;

/// Where it is mounted, unless somebody has put it elsewhere.
const ROOT: &str = "/sys/fs/resctrl";
/// `RDTGROUP_SUPER_MAGIC` (linux/magic.h).
const MAGIC: fs::FsWord = 0x0765_5821;
const TASKS: &str = "tasks";
const SCHEMATA: &str = "schemata";

/// Where resctrl is mounted, if it is.
pub fn root() -> Option<PathBuf> {
    match fs::statfs(ROOT) {
        Ok(found) if found.f_type == MAGIC => return Some(ROOT.into()),
        _ => {}
    }
    mounted(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The mount point of the first resctrl that mountinfo shows.
fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (place, filesystem) = line.split_once(" - ")?;
        let path = place.split(' ').nth(4)?;
        filesystem.starts_with("resctrl ").then(|| crate::layout::unescape(path).into())
    })
}

/// What the kernel can divide here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// L3 caches (CAT), as a whole or code and data apart.
    pub caches: bool,
    /// Memory bandwidth (MBA).
    pub bandwidth: bool,
}

impl Abilities {
    /// Those of the machine; none without resctrl.
    pub fn detect() -> Self {
        root().map_or(Self { caches: false, bandwidth: false }, |root| Self::at(&root))
    }

    fn at(root: &Path) -> Self {
        let has = |name: &str| root.join("info").join(name).exists();
        Self { caches: has("L3") || has("L3CODE"), bandwidth: has("MB") }
    }
}

/// A container's place in resctrl; this is what state.json keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    root: PathBuf,
    /// The directory of its class.
    class: PathBuf,
    /// Whether the class is the container's own, and goes with it; one with a name of its own stays, others may be in it.
    is_own: bool,
    /// Whether a class with a name was not there yet: a creation that fails takes it away again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_new: bool,
    /// The directory of its own counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<PathBuf>,
}

impl Group {
    /// The place of container `id`.
    ///
    /// # Errors
    /// [`Error::NotMounted`], or [`Error::NotEnabled`] for what the machine cannot divide.
    pub fn locate(rdt: &LinuxIntelRdt, id: &str) -> Result<Self> {
        Self::at(root().ok_or(Error::NotMounted)?, rdt, id)
    }

    fn at(root: PathBuf, rdt: &LinuxIntelRdt, id: &str) -> Result<Self> {
        let abilities = Abilities::at(&root);
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if is_given(rdt.l3_cache_schema()) && !abilities.caches {
            return Err(Error::NotEnabled { field: "l3CacheSchema", technology: "CAT" });
        }
        if is_given(rdt.mem_bw_schema()) && !abilities.bandwidth {
            return Err(Error::NotEnabled { field: "memBwSchema", technology: "MBA" });
        }
        let class = match rdt.clos_id().as_deref().filter(|name| !name.is_empty()) {
            // The class of everybody who has no other.
            Some("/") => root.clone(),
            Some(name) => root.join(name),
            None => root.join(id),
        };
        let is_own = !is_given(rdt.clos_id());
        let monitor = (*rdt.enable_monitoring() == Some(true)).then(|| class.join("mon_groups").join(id));
        Ok(Self { is_new: !is_own && !class.exists(), root, class, is_own, monitor })
    }

    /// Makes the directories and writes the schemata.
    ///
    /// A class of a name that is there already keeps its schemata: they must be those that are asked for (config-linux.md, "IntelRdt").
    ///
    /// # Errors
    /// When it fails, nothing that it made is left.
    pub fn create(&self, rdt: &LinuxIntelRdt) -> Result<()> {
        let mut made = Vec::new();
        let created = self.create_all(rdt, &mut made);
        if created.is_err() {
            for dir in made.iter().rev() {
                let _ = fs::rmdir(dir);
            }
        }
        created
    }

    fn create_all(&self, rdt: &LinuxIntelRdt, made: &mut Vec<PathBuf>) -> Result<()> {
        let wanted = schemata::wanted(rdt);
        if !self.is_own && wanted.is_empty() {
            fs::access(&self.class, fs::Access::EXISTS)
                .map_err(|errno| Error::NoClass { path: self.class.clone(), errno })?;
        } else if self.make(&self.class, self.is_own, made)? || self.is_own {
            wanted.iter().try_for_each(|text| self.write(text))?;
        } else {
            self.compare(&wanted)?;
        }
        self.monitor.as_ref().map_or(Ok(()), |dir| self.make(dir, true, made).map(drop))
    }

    /// Makes one directory and tells whether it is new; one that is there must be nobody's, if it is to be the container's `own`.
    fn make(&self, dir: &Path, own: bool, made: &mut Vec<PathBuf>) -> Result<bool> {
        match fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                made.push(dir.to_owned());
                Ok(true)
            }
            Err(Errno::EXIST) if own && !self.read(&dir.join(TASKS))?.is_empty() => {
                Err(Error::NotEmpty { path: dir.to_owned() })
            }
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("mkdir", dir, errno)),
        }
    }

    fn compare(&self, wanted: &[String]) -> Result<()> {
        let path = self.class.join(SCHEMATA);
        let found = self.read(&path)?;
        match schemata::difference(wanted, &found) {
            None => Ok(()),
            Some((wanted, found)) => {
                Err(Error::OtherSchemata { path, wanted: wanted.to_owned(), found: found.to_owned() })
            }
        }
    }

    /// Other schemas for a container that may be running; returns what stands there now, for [`write`](Self::write).
    pub fn change(&self, l3_cache: Option<&str>, bandwidth: Option<&str>) -> Result<String> {
        let before = self.read(&self.class.join(SCHEMATA))?;
        self.write(&schemata::joint(l3_cache, bandwidth))?;
        Ok(before + "\n")
    }

    /// Writes lines, each with its end, to the class' schemata: all are taken, or none.
    pub fn write(&self, lines: &str) -> Result<()> {
        let path = self.class.join(SCHEMATA);
        let written =
            files::open(&path, OFlags::WRONLY).and_then(|fd| files::write_once(&fd, lines.as_bytes()));
        written.map_err(|errno| self.failed(&format!("write {lines:?} to"), &path, errno))
    }

    /// Whether the group is there: an administrator may have taken it away.
    pub fn exists(&self) -> bool {
        self.dirs().all(|dir| dir.exists())
    }

    /// Opens the doors for a child, which walks through by itself.
    pub fn entry(&self) -> Result<Entry> {
        let doors = self.dirs().map(|dir| self.door(dir)).collect::<Result<_>>()?;
        Ok(Entry::through(doors, "the container's resctrl group"))
    }

    /// Moves one thread into the group; what it forks from then on is born there.
    pub fn add(&self, thread: i32) -> Result<()> {
        self.dirs().try_for_each(|dir| {
            let written = files::write_once(&self.door(dir)?, thread.to_string().as_bytes());
            written.map_err(|errno| self.failed(&format!("write \"{thread}\" to"), &dir.join(TASKS), errno))
        })
    }

    /// Moves running processes into the group, with all their threads; those that end meanwhile need no place.
    pub fn add_all(&self, processes: &[i32]) -> Result<()> {
        for process in processes {
            let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()) {
                match self.add(thread) {
                    Err(Error::File { errno: Errno::SRCH, .. }) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Takes away what is the container's own. Who is in there yet belongs to the default class then.
    pub fn remove(&self) -> Result<()> {
        if self.is_own {
            return self.remove_dir(&self.class);
        }
        self.monitor.as_ref().map_or(Ok(()), |dir| self.remove_dir(dir))
    }

    /// Takes away what a creation that has failed has made; a class with a name only if nobody is in it.
    pub fn undo(&self) -> Result<()> {
        self.remove()?;
        if self.is_new && self.read(&self.class.join(TASKS)).is_ok_and(|tasks| tasks.is_empty()) {
            self.remove_dir(&self.class)?;
        }
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        match fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("rmdir", dir, errno)),
        }
    }

    /// First the class, which must be entered before the counters below it.
    fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.class), self.monitor.as_ref()].into_iter().flatten()
    }

    fn door(&self, dir: &Path) -> Result<OwnedFd> {
        let path = dir.join(TASKS);
        files::open(&path, OFlags::WRONLY).map_err(|errno| self.failed("open", &path, errno))
    }

    fn read(&self, path: &Path) -> Result<String> {
        let text = files::open(path, OFlags::RDONLY).and_then(|fd| files::read_all(&fd));
        text.map_err(|errno| self.failed("read", path, errno))
    }

    fn failed(&self, action: &str, path: &Path, errno: Errno) -> Error {
        let status = files::open(&self.root.join("info/last_cmd_status"), OFlags::RDONLY);
        let status = status.and_then(|fd| files::read_all(&fd)).unwrap_or_default();
        Error::File { action: action.to_owned(), path: path.to_owned(), errno, status }
    }
}

#[cfg(test)]
mod tests;
