//! The JSON document; `docs/images.md` describes it. Fields that `checkpoint --stats` has as well are named as there.
//!
//! It is written piece by piece: what a directory of unknown origin repeats a million times is never in memory as a whole.

use container::checkpoint::{Contents, Counted, Restored};
use container::images::{Addresses, KindSize, Mount, Network, OpenFile, Pages, Parent, Process, State};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

/// The version of the format; fields may be added without a new one.
const VERSION: u32 = 1;

pub(super) fn write(out: &mut dyn Write, contents: &Contents) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Document::of(contents))?;
    out.write_all(b"\n")
}

/// A list whose elements are made while it is written.
struct Each<'a, T>(Box<dyn Fn() -> Box<dyn Iterator<Item = T> + 'a> + 'a>);

impl<'a, T> Each<'a, T> {
    fn of<I: Iterator<Item = T> + 'a>(elements: impl Fn() -> I + 'a) -> Self {
        Self(Box::new(move || Box::new(elements())))
    }
}

impl<T: Serialize> Serialize for Each<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format_version: u32,
    path: Cow<'a, str>,
    kind: &'static str,
    written: Option<String>,
    uptime_us: Option<u64>,
    image_version: Option<u32>,
    criu: Option<&'a str>,
    kernel: Option<&'a str>,
    hostname: Option<&'a str>,
    namespaces: &'a [&'static str],
    networks: Each<'a, NetworkOut<'a>>,
    pre_dump_mode: Option<&'static str>,
    tcp_close: bool,
    lsm: Option<&'static str>,
    page_size: u64,
    pages: PagesOut,
    processes: Each<'a, ProcessOut<'a>>,
    shared_memory: Each<'a, SharedOut>,
    files: Each<'a, FileOut<'a>>,
    sockets: Each<'a, SocketOut<'a>>,
    mounts: Each<'a, MountOut<'a>>,
    sizes: Each<'a, SizeOut<'a>>,
    parents: Each<'a, ParentOut<'a>>,
    companions: Companions<'a>,
    stats: Option<&'a Counted>,
    restored: Option<&'a Restored>,
}

impl<'a> Document<'a> {
    fn of(contents: &'a Contents) -> Self {
        let images = &contents.images;
        let inventory = images.inventory.as_ref();
        Self {
            format_version: VERSION,
            path: contents.path.to_string_lossy(),
            kind: images.kind.name(),
            written: images.written.map(|time| humantime::format_rfc3339_seconds(time).to_string()),
            uptime_us: inventory.and_then(|inventory| inventory.uptime).map(micros),
            image_version: inventory.map(|inventory| inventory.version),
            criu: contents.criu(),
            kernel: contents.kernel(),
            hostname: images.namespaces.hostname.as_deref(),
            namespaces: &images.namespaces.own,
            networks: Each::of(|| images.namespaces.networks.iter().map(NetworkOut::of)),
            pre_dump_mode: inventory.and_then(|inventory| inventory.pre_dump),
            tcp_close: inventory.is_some_and(|inventory| inventory.tcp_close),
            lsm: inventory.and_then(|inventory| inventory.lsm),
            page_size: images.page_size,
            pages: PagesOut::of(images.pages()),
            processes: Each::of(move || images.processes.iter().map(|it| ProcessOut::of(contents, it))),
            shared_memory: Each::of(|| {
                images.shared_memory.iter().map(|it| SharedOut { id: it.id, pages: PagesOut::of(it.pages) })
            }),
            files: Each::of(|| images.files().map(FileOut::of)),
            sockets: Each::of(|| images.files().filter_map(SocketOut::of)),
            mounts: Each::of(|| images.mounts.iter().map(MountOut::of)),
            sizes: Each::of(|| images.sizes.iter().map(|(kind, size)| SizeOut::of(kind, size))),
            parents: Each::of(|| images.parents.iter().map(ParentOut::of)),
            companions: Companions::of(contents),
            stats: contents.counted.as_ref(),
            restored: contents.restored.as_ref(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct NetworkOut<'a> {
    external: Option<&'a str>,
    devices: &'a [String],
}

impl<'a> NetworkOut<'a> {
    fn of(network: &'a Network) -> Self {
        Self { external: network.external.as_deref(), devices: &network.devices }
    }
}

#[derive(Serialize)]
struct PagesOut {
    dumped: u64,
    in_parent: u64,
    lazy: u64,
}

impl PagesOut {
    fn of(pages: Pages) -> Self {
        let Pages { dumped, in_parent, lazy, zero: _ } = pages;
        Self { dumped, in_parent, lazy }
    }
}

#[derive(Serialize)]
struct SharedOut {
    id: u64,
    #[serde(flatten)]
    pages: PagesOut,
}

#[derive(Serialize)]
struct ProcessOut<'a> {
    pid: u32,
    parent: u32,
    group: u32,
    session: u32,
    threads: u32,
    name: Option<&'a str>,
    state: Option<&'static str>,
    wait_status: Option<u32>,
    program: Option<&'a str>,
    cwd: Option<&'a str>,
    root: Option<&'a str>,
    memory: Option<MemoryOut>,
    descriptors: Each<'a, DescriptorOut<'a>>,
}

#[derive(Serialize)]
struct MemoryOut {
    #[serde(flatten)]
    own: PagesOut,
    shared: u64,
    zero: Option<u64>,
}

#[derive(Serialize)]
struct DescriptorOut<'a> {
    fd: u32,
    kind: &'static str,
    id: u32,
    name: Option<&'a str>,
}

impl<'a> ProcessOut<'a> {
    fn of(contents: &'a Contents, process: &'a Process) -> Self {
        let images = &contents.images;
        let path = |id| images.path(id);
        let memory = |memory: container::images::Memory| MemoryOut {
            own: PagesOut::of(memory.own),
            shared: memory.shared,
            zero: memory.zero(),
        };
        let descriptor = move |it: &container::images::Descriptor| DescriptorOut {
            fd: it.fd,
            kind: it.kind.name(),
            id: it.id,
            name: images.file(it.kind, it.id).map(|file| file.name.as_str()),
        };
        Self {
            pid: process.pid,
            parent: process.parent,
            group: process.group,
            session: process.session,
            threads: process.threads,
            name: process.name.as_deref(),
            state: process.state.map(State::name),
            wait_status: match process.state {
                Some(State::Zombie(status)) => Some(status),
                _ => None,
            },
            program: path(process.program),
            cwd: path(process.cwd),
            root: path(process.root),
            memory: process.memory.map(memory),
            descriptors: Each::of(move || images.descriptors(process).iter().map(descriptor)),
        }
    }
}

#[derive(Serialize)]
struct FileOut<'a> {
    kind: &'static str,
    id: u32,
    name: &'a str,
    removed: bool,
    external: bool,
}

impl<'a> FileOut<'a> {
    fn of(file: &'a OpenFile) -> Self {
        let (kind, name) = (file.kind.name(), file.name.as_str());
        Self { kind, id: file.id, name, removed: file.removed, external: file.external }
    }
}

#[derive(Serialize)]
struct SocketOut<'a> {
    kind: &'static str,
    id: u32,
    protocol: &'a str,
    state: &'static str,
    external: bool,
    #[serde(flatten)]
    addresses: AddressesOut<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AddressesOut<'a> {
    Inet { local: Option<String>, remote: Option<String> },
    Unix { path: Option<&'a str>, inode: u32, peer: Option<u32> },
}

impl<'a> SocketOut<'a> {
    fn of(file: &'a OpenFile) -> Option<Self> {
        let socket = file.socket.as_ref()?;
        Some(Self {
            kind: file.kind.name(),
            id: file.id,
            protocol: &socket.protocol,
            state: socket.state,
            external: socket.external,
            addresses: match &socket.addresses {
                Addresses::Inet { local, remote } => AddressesOut::Inet {
                    local: local.map(|address| address.to_string()),
                    remote: remote.map(|address| address.to_string()),
                },
                Addresses::Unix { path, inode, peer } => {
                    AddressesOut::Unix { path: path.as_deref(), inode: *inode, peer: *peer }
                }
            },
        })
    }
}

#[derive(Serialize)]
struct MountOut<'a> {
    mountpoint: &'a str,
    #[serde(rename = "type")]
    file_system: &'a str,
    source: &'a str,
    root: &'a str,
    external: Option<&'a str>,
    content_bytes: Option<u64>,
    namespace: u64,
    id: u32,
    parent: u32,
}

impl<'a> MountOut<'a> {
    fn of(mount: &'a Mount) -> Self {
        Self {
            mountpoint: &mount.mountpoint,
            file_system: &mount.file_system,
            source: &mount.source,
            root: &mount.root,
            external: mount.external.as_deref(),
            content_bytes: mount.content,
            namespace: mount.namespace,
            id: mount.id,
            parent: mount.parent,
        }
    }
}

#[derive(Serialize)]
struct SizeOut<'a> {
    kind: &'a str,
    files: u64,
    bytes: u64,
    bytes_on_disk: u64,
}

impl<'a> SizeOut<'a> {
    fn of(kind: &'a str, size: &KindSize) -> Self {
        Self { kind, files: size.files, bytes: size.size.length, bytes_on_disk: size.size.on_disk }
    }
}

#[derive(Serialize)]
struct ParentOut<'a> {
    link: &'a str,
    path: Cow<'a, str>,
    /// Null where there is no such directory, as are the others.
    kind: Option<&'static str>,
    bytes: Option<u64>,
    bytes_on_disk: Option<u64>,
    pages_bytes: Option<u64>,
}

impl<'a> ParentOut<'a> {
    fn of(parent: &'a Parent) -> Self {
        let found = parent.found.as_ref();
        Self {
            link: &parent.link,
            path: parent.path.to_string_lossy(),
            kind: found.map(|found| found.kind.name()),
            bytes: found.map(|found| found.total.length),
            bytes_on_disk: found.map(|found| found.total.on_disk),
            pages_bytes: found.map(|found| found.pages.length),
        }
    }
}

/// What `rt` and runc put beside the images; null for a file that is not there.
#[derive(Serialize)]
struct Companions<'a> {
    rt: Option<NotesOut<'a>>,
    descriptors: Option<&'a [String; 3]>,
}

#[derive(Serialize)]
struct NotesOut<'a> {
    new_network: bool,
    hollow_mounts: Vec<Cow<'a, str>>,
}

impl<'a> Companions<'a> {
    fn of(contents: &'a Contents) -> Self {
        let notes = contents.notes.as_ref().map(|notes| NotesOut {
            new_network: notes.new_network,
            hollow_mounts: notes.hollow.iter().map(|path| path.to_string_lossy()).collect(),
        });
        Self { rt: notes, descriptors: contents.stdio.as_ref() }
    }
}
