//! What an image directory holds.
//!
//! Images come from anywhere, so all that is read here is enemy input: files are opened only where they are files, nothing is
//! believed before it is there, everything has a limit, and what is not as CRIU writes it is an [`Error`] that names the file.
//! Nothing of CRIU's own code runs, and nothing is changed.

mod chain;
mod descriptors;
mod error;
mod folder;
pub(crate) mod frame;
mod inventory;
mod memory;
mod mounts;
mod namespaces;
mod processes;
mod sockets;
#[cfg(test)]
mod tests;

pub use chain::{Found, Parent};
pub use descriptors::{Descriptor, Kind as FileKind, OpenFile};
pub use error::{Damage, Error, Result};
pub use folder::{KindSize, Size};
pub use inventory::{Inventory, Kind};
pub use memory::{Memory, Pages, SharedMemory};
pub use mounts::Mount;
pub use namespaces::{Namespaces, Network};
pub use processes::{Process, State};
pub use sockets::{Addresses, Socket};

use crate::stats::{DumpStats, RestoreStats, read_dump, read_restore};
use descriptors::{Files, Tables};
use folder::Folder;
use memory::Ledger;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

/// An image directory.
#[derive(Clone, Debug)]
pub struct Images {
    /// What is in it.
    pub kind: Kind,
    /// What CRIU says of all of it; a page server writes none.
    pub inventory: Option<Inventory>,
    /// When the inventory was written, as far as the file's own time tells.
    pub written: Option<SystemTime>,
    /// The log's word on which CRIU made it, and on which kernel; images have no place for that.
    pub log: Log,
    /// The processes, each behind its parent.
    pub processes: Vec<Process>,
    /// The size of a page, in bytes.
    pub page_size: u64,
    /// Memory that several processes may have mapped.
    pub shared_memory: Vec<SharedMemory>,
    files: Files,
    tables: Tables,
    /// What was mounted.
    pub mounts: Vec<Mount>,
    /// The namespaces of the first process.
    pub namespaces: Namespaces,
    /// How large the files of each kind are.
    pub sizes: BTreeMap<String, KindSize>,
    /// The directories that this one builds on, the nearest first.
    pub parents: Vec<Parent>,
    /// CRIU's numbers of the dump, if they lie here.
    pub dump_stats: Option<DumpStats>,
    /// Those of the last restore.
    pub restore_stats: Option<RestoreStats>,
}

/// What a log of CRIU's begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// CRIU's version.
    pub criu: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

impl Images {
    /// What is open, sockets of others' among it.
    pub fn files(&self) -> impl Iterator<Item = &OpenFile> + Clone {
        self.files.by_number.values()
    }

    /// The file of this kind and number.
    pub fn file(&self, kind: FileKind, id: u32) -> Option<&OpenFile> {
        self.files.by_number.get(&(kind, id))
    }

    /// The path of a file that an image refers to by its number.
    pub fn path(&self, id: Option<u32>) -> Option<&str> {
        self.file(FileKind::FILE, id?).map(|file| file.name.as_str())
    }

    /// The descriptors of a process.
    pub fn descriptors(&self, process: &Process) -> &[Descriptor] {
        let table = process.descriptor_table().and_then(|table| self.tables.get(&table));
        table.map_or(&[], Vec::as_slice)
    }

    /// How much memory there is in all: shared memory counts once.
    pub fn pages(&self) -> Pages {
        let mut sum = Pages::default();
        self.processes.iter().filter_map(|process| process.memory).for_each(|memory| sum += memory.own);
        self.shared_memory.iter().for_each(|piece| sum += piece.pages);
        sum
    }

    fn kind_of_dump(&self) -> Kind {
        let is_alive = |process: &&Process| !matches!(process.state, Some(State::Zombie(_)));
        let mut alive = self.processes.iter().filter(is_alive).peekable();
        if self.pages().lazy > 0 {
            Kind::Lazy
        } else if alive.peek().is_some() && alive.all(|process| process.memory.is_none()) {
            Kind::WithoutMemory
        } else {
            Kind::Dump
        }
    }
}

/// Reads a directory; `path` is what it is called in errors.
pub fn read(dir: BorrowedFd<'_>, path: &Path) -> Result<Images> {
    let failed = |damage: Damage| damage.of(path.to_string_lossy());
    let owned = dir.try_clone_to_owned().map_err(|error| failed(error.into()))?;
    let folder = Folder::list(owned, path, Folder::budget())?;
    let images = read_folder(&folder)?;
    let parents = chain::parents(&folder)?;
    Ok(Images { parents, dump_stats: read_dump(dir), restore_stats: read_restore(dir), ..images })
}

/// The security module whose labels a dump has, by its inventory alone.
pub fn security_module(dir: BorrowedFd<'_>, path: &Path) -> Result<Option<&'static str>> {
    let owned = dir.try_clone_to_owned().map_err(|error| Damage::from(error).of(path.to_string_lossy()))?;
    let folder = Folder::list(owned, path, Folder::budget())?;
    Ok(inventory::read(&folder)?.and_then(|inventory| inventory.lsm))
}

/// Reads files that lie nowhere; see [`crate::fuzzing::images`].
pub(crate) fn in_memory(files: BTreeMap<String, (Vec<u8>, u64)>) -> Result<Images> {
    read_folder(&Folder::in_memory(files))
}

/// All but what lies elsewhere.
fn read_folder(folder: &Folder) -> Result<Images> {
    let inventory = inventory::read(folder)?;
    let kind = kind(folder, inventory.as_ref());
    let kind = kind.map_err(|damage| damage.of(folder.path().to_string_lossy()))?;
    let files = descriptors::files(folder)?;
    let mut ledger = Ledger::open(folder, &files.memfds)?;
    let mut processes = match kind {
        Kind::PreDump | Kind::Received => processes::of_memory_alone(folder, &mut ledger)?,
        _ => processes::read(folder, &mut ledger)?,
    };
    let page_size = ledger.page_size()?;
    if page_size != memory::USUAL_PAGE {
        processes.iter_mut().filter_map(|process| process.memory.as_mut()).for_each(Memory::forget_untouched);
    }
    let mut users = BTreeMap::new();
    processes
        .iter()
        .filter_map(Process::descriptor_table)
        .for_each(|table| *users.entry(table).or_default() += 1);
    let mut images = Images {
        kind,
        written: folder.written("inventory.img"),
        log: log(folder),
        page_size,
        shared_memory: std::mem::take(&mut ledger.shared),
        tables: descriptors::tables(folder, &users)?,
        files,
        mounts: mounts::read(folder)?,
        namespaces: namespaces::read(folder, inventory.as_ref(), processes.first())?,
        sizes: folder.sizes().clone(),
        parents: Vec::new(),
        dump_stats: None,
        restore_stats: None,
        inventory,
        processes,
    };
    if kind == Kind::Dump {
        images.kind = images.kind_of_dump();
    }
    Ok(images)
}

/// What there is, as far as names tell.
fn kind(folder: &Folder, inventory: Option<&Inventory>) -> std::result::Result<Kind, Damage> {
    let has_memory = folder.numbered("pagemap-").next().is_some();
    let problem = match (inventory, folder.has_processes()) {
        (Some(Inventory { pre_dump: Some(_), .. }), _) => return Ok(Kind::PreDump),
        // Old versions do not mark pre-dumps.
        (Some(_), false) if has_memory => return Ok(Kind::PreDump),
        (Some(_), _) => return Ok(Kind::Dump),
        (None, false) if has_memory => return Ok(Kind::Received),
        (None, true) => {
            "no inventory.img in it, which is written last: the dump has failed, or still goes on; its log tells"
        }
        (None, false) => "no images of CRIU's in it: name a directory that a checkpoint has written",
    };
    Err(Damage::NotImages(problem.into()))
}

/// Looks for two lines near the beginning of the log.
fn log(folder: &Folder) -> Log {
    let head = folder.head("dump.log", 64 * 1024).unwrap_or_default();
    let head = String::from_utf8_lossy(&head);
    let after = |words: &str| {
        let line = head.lines().find_map(|line| Some(line.split_once(words)?.1))?;
        Some(sys::one_line(line))
    };
    // "Running on NAME Linux 6.12.1 ..."
    let kernel = after(") Running on ").and_then(|line| Some(line.split(' ').nth(2)?.to_owned()));
    let criu = after(") Version: ").and_then(|line| Some(line.split(' ').next()?.to_owned()));
    Log { criu, kernel }
}

/// A string of an image, in which names of files need not be UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
