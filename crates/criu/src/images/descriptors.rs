//! Open files: what is open, and who has it as which descriptor.

use super::error::{Damage, Result};
use super::folder::Folder;
use super::frame::Magic;
use super::{sockets, text};
use crate::wire::images as wire;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// As many as a process may have open by default at the most.
const MOST_FILES: usize = 1 << 20;

/// And as many as all processes may have.
const MOST_DESCRIPTORS: usize = 1 << 21;

/// CRIU's numbers of what can be open.
const KINDS: [(u32, &str); 20] = [
    (1, "file"),
    (2, "pipe"),
    (3, "fifo"),
    (INET, "inet"),
    (UNIX, "unix"),
    (6, "eventfd"),
    (7, "eventpoll"),
    (8, "inotify"),
    (9, "signalfd"),
    (10, "packet"),
    (11, "tty"),
    (12, "fanotify"),
    (13, "netlink"),
    (14, "namespace"),
    (15, "tun"),
    (16, "external"),
    (17, "timerfd"),
    (18, "memfd"),
    (19, "bpfmap"),
    (20, "pidfd"),
];
const REGULAR: u32 = 1;
const INET: u32 = 4;
const UNIX: u32 = 5;

/// Names of namespaces, by the flag of clone(2).
const NAMESPACES: [(u32, &str); 8] = [
    (0x0000_0080, "time"),
    (0x0002_0000, "mnt"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
];

/// Something that is open, once or many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// What it is.
    pub kind: Kind,
    /// CRIU's number for it, of which there is one in each kind.
    pub id: u32,
    /// Its path, or whatever else tells it from others of its kind.
    pub name: String,
    /// It has no name any more: its contents are in a ghost file, or it is linked anew for the restore.
    pub removed: bool,
    /// The caller of the restore has to provide it.
    pub external: bool,
    /// What is known of a socket.
    pub socket: Option<sockets::Socket>,
}

/// What can be open, by CRIU's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(u32);

impl Kind {
    /// Files and directories.
    pub const FILE: Self = Self(REGULAR);

    /// The word for it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(number, _)| *number == self.0).map_or("unknown", |(_, name)| name)
    }
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number in the process.
    pub fd: u32,
    /// What is open.
    pub kind: Kind,
    /// And which.
    pub id: u32,
}

/// All open files of a dump.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) by_number: BTreeMap<(Kind, u32), OpenFile>,
    /// Which piece of shared memory a memfd is, by its number.
    pub(super) memfds: BTreeMap<u32, u64>,
}

/// Tables of descriptors, by CRIU's number.
pub(super) type Tables = BTreeMap<u32, Vec<Descriptor>>;

/// Reads the tables of these numbers, each of which so many processes have.
pub(super) fn tables(folder: &Folder, users: &BTreeMap<u32, usize>) -> Result<Tables> {
    let mut tables = Tables::new();
    let mut count = 0;
    for (id, users) in users {
        let name = format!("fdinfo-{id}.img");
        let failed = |damage| folder.error(&name, damage);
        let needed_by = || "a process has descriptors in it (ids-*.img)".to_owned();
        let mut image = folder.needed(&name, Magic::FDINFO, needed_by)?;
        let mut table = Vec::new();
        while let Some(entry) = image.next::<wire::FdinfoEntry>().map_err(failed)? {
            // Who shows them shows them for each process.
            count += users;
            if count > MOST_DESCRIPTORS {
                return Err(failed(Damage::TooMuch(format!("more than {MOST_DESCRIPTORS} descriptors"))));
            }
            let fd = image.need(entry.fd, "fd").map_err(failed)?;
            table.push(Descriptor { fd, kind: Kind(entry.r#type()), id: entry.id() });
        }
        table.sort_by_key(|descriptor| descriptor.fd);
        tables.insert(*id, table);
    }
    Ok(tables)
}

/// What the images of old versions are called, which have one for each kind.
type OldImage = (&'static str, Magic, fn(&[u8]) -> std::result::Result<wire::FileEntry, prost::DecodeError>);

/// Those of which more is known than their number. What has no more stands in fdinfo-*.img already.
const OLD: [OldImage; 6] = [
    ("reg-files.img", Magic::REG_FILES, |bytes| {
        let reg = wire::RegFileEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(REGULAR), id: reg.id, reg: Some(reg), ..Default::default() })
    }),
    ("pipes.img", Magic::PIPES, |bytes| {
        let pipe = wire::PipeEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(2), id: pipe.id, pipe: Some(pipe), ..Default::default() })
    }),
    ("fifo.img", Magic::FIFO, |bytes| {
        let fifo = wire::FifoEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(3), id: fifo.id, fifo: Some(fifo), ..Default::default() })
    }),
    ("inetsk.img", Magic::INETSK, |bytes| {
        let isk = wire::InetSkEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(INET), id: isk.id, isk: Some(isk), ..Default::default() })
    }),
    ("unixsk.img", Magic::UNIXSK, |bytes| {
        let usk = wire::UnixSkEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(UNIX), id: usk.id, usk: Some(usk), ..Default::default() })
    }),
    ("tty.img", Magic::TTY, |bytes| {
        let tty = wire::TtyFileEntry::decode(bytes)?;
        Ok(wire::FileEntry { r#type: Some(11), id: tty.id, tty: Some(tty), ..Default::default() })
    }),
];

/// Reads everything that is open.
pub(super) fn files(folder: &Folder) -> Result<Files> {
    let mut found = BTreeMap::new();
    let mut memfds = BTreeMap::new();
    let names = Names::read(folder)?;
    let mut late = Vec::new();
    let new: OldImage = ("files.img", Magic::FILES, |bytes| wire::FileEntry::decode(bytes));
    for (name, kind, decode) in std::iter::once(new).chain(OLD) {
        let failed = |damage| folder.error(name, damage);
        let Some(mut image) = folder.image(name, kind)? else { continue };
        while let Some(bytes) = image.bytes().map_err(failed)? {
            let entry = decode(bytes).map_err(|error| failed(image.damaged(&error.to_string())))?;
            if found.len() == MOST_FILES {
                return Err(failed(Damage::TooMuch(format!("more than {MOST_FILES} open files"))));
            }
            let id = image.need(entry.id, "id").map_err(failed)?;
            let key = (Kind(entry.r#type()), id);
            late.extend(regular_of(&entry).map(|regular| (key, regular)));
            memfds.extend(names.memfd(&entry).map(|memfd| (id, memfd.shmid().into())));
            found.insert(key, names.file(key, &entry));
        }
    }
    // What a fifo, say, has its path from may come after it.
    for (key, regular) in late {
        let path = found.get(&(Kind::FILE, regular)).map(|file| file.name.clone());
        if let (Some(file), Some(path)) = (found.get_mut(&key), path) {
            file.name = path;
        }
    }
    Ok(Files { by_number: found, memfds })
}

/// The number of the regular file that has this one's path.
fn regular_of(entry: &wire::FileEntry) -> Option<u32> {
    let fifo = entry.fifo.as_ref().and_then(|fifo| fifo.regf_id);
    fifo.or_else(|| entry.tty.as_ref().and_then(|tty| tty.regf_id))
}

/// What other entries say of a file's name.
#[derive(Default)]
struct Names {
    memfds: BTreeMap<u64, wire::MemfdInodeEntry>,
    removed: BTreeSet<u32>,
}

impl Names {
    fn read(folder: &Folder) -> Result<Self> {
        let mut names = Self::default();
        folder.each("memfd.img", Magic::MEMFD_INODE, MOST_FILES, |entry: wire::MemfdInodeEntry| {
            names.memfds.insert(entry.inode_id(), entry);
        })?;
        folder.each(
            "remap-fpath.img",
            Magic::REMAP_FPATH,
            MOST_FILES,
            |entry: wire::RemapFilePathEntry| {
                names.removed.insert(entry.orig_id());
            },
        )?;
        Ok(names)
    }

    fn memfd(&self, entry: &wire::FileEntry) -> Option<&wire::MemfdInodeEntry> {
        self.memfds.get(&entry.memfd.as_ref()?.inode_id().into())
    }

    fn file(&self, (kind, id): (Kind, u32), entry: &wire::FileEntry) -> OpenFile {
        let socket = sockets::of(entry);
        OpenFile {
            kind,
            id,
            name: socket.as_ref().map_or_else(|| self.name(entry), sockets::Socket::name),
            removed: kind == Kind::FILE && self.removed.contains(&id),
            external: entry.reg.as_ref().is_some_and(wire::RegFileEntry::ext)
                || socket.as_ref().is_some_and(|socket| socket.external),
            socket,
        }
    }

    fn name(&self, entry: &wire::FileEntry) -> String {
        let numbered = |what: &str, number: u64| format!("{what}:[{number}]");
        match entry {
            wire::FileEntry { reg: Some(reg), .. } => text(reg.name()),
            wire::FileEntry { pipe: Some(pipe), .. } => numbered("pipe", pipe.pipe_id().into()),
            wire::FileEntry { fifo: Some(fifo), .. } => numbered("pipe", fifo.pipe_id().into()),
            wire::FileEntry { memfd: Some(_), .. } => {
                self.memfd(entry).map_or_else(String::new, |memfd| text(memfd.name()))
            }
            wire::FileEntry { nsf: Some(file), .. } => {
                let known = NAMESPACES.iter().find(|(flag, _)| *flag == file.ns_cflag());
                known.map_or_else(String::new, |(_, name)| (*name).to_owned())
            }
            wire::FileEntry { psk: Some(packet), .. } => format!("protocol {:#06x}", packet.protocol()),
            wire::FileEntry { nlsk: Some(netlink), .. } => format!("protocol {}", netlink.protocol()),
            wire::FileEntry { efd: Some(event), .. } => format!("counter {}", event.counter()),
            wire::FileEntry { tunf: Some(tun), .. } => text(tun.netdev()),
            wire::FileEntry { bpf: Some(map), .. } => text(map.map_name()),
            wire::FileEntry { pidfd: Some(pidfd), .. } => format!("process {}", pidfd.nspid()),
            _ => String::new(),
        }
    }
}
