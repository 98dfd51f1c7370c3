//! A tmpfs without contents: told in a few words at a dump, and made again from them at the restore.
//!
//! CRIU packs each tmpfs with a `tar` of its own, 8 to 15 ms each time, while the container stands still; and most hold next
//! to nothing: /dev with its nodes and links, an empty /dev/shm, the directories of a cgroup v1 view. Such a
//! [`Hollow`] is left out of the dump as an external mount, and the restore gives CRIU a new tmpfs that looks the same.
//!
//! What is told comes back with the images, which nobody vouches for. So a name is one component, and a device is only
//! made where `config.json` has one: the images say that it was there, never which it is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use serde::{Deserialize, Serialize};
use sys::path::{Root, TMPFS_MAGIC, fs_magic};
use sys::{Context, mount};

use crate::apply::new_tmpfs;
use crate::error::InStep;
use crate::plan::{DeviceNode, Kind, MountStep, Plan};
use crate::{Error, Result};

/// More than this is for CRIU: the words would take longer than the archive.
const MAX_NODES: usize = 256;

/// How deep directories may lie in each other.
const MAX_DEPTH: usize = 16;

/// A tmpfs that holds directories, links, empty files and devices of the plan, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hollow {
    /// The destination in `config.json`, cleaned: its name among the externals.
    pub name: PathBuf,
    /// Its mount point as mountinfo shows it in the container. Of no use to a restore.
    #[serde(skip)]
    pub destination: PathBuf,
    root: Node,
}

/// One file of a hollow tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    /// Its name in its directory; empty for the root.
    name: String,
    kind: NodeKind,
    /// Permission bits, set-ids and the sticky bit included.
    mode: u32,
    uid: u32,
    gid: u32,
    /// When it was changed, in seconds and nanoseconds.
    mtime: (i64, i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum NodeKind {
    Directory(Vec<Node>),
    EmptyFile,
    /// The one that the plan has at this path.
    Device,
    Link(String),
}

/// Finds the hollow ones among the tmpfs of a container that stands still; `container` is its root (`/proc/PID/root`).
///
/// `is_only_mount` says whether a filesystem, by its device number, is mounted just once in the container: a second mount of
/// it is one that CRIU would have to restore from the first.
pub fn find_hollow(plan: &Plan, container: &Root, is_only_mount: &dyn Fn(u64) -> bool) -> Vec<Hollow> {
    let candidates = plan.mounts.iter().enumerate().filter(|(index, step)| {
        let is_last = plan.mounts[index + 1..].iter().all(|later| later.destination != step.destination);
        is_tmpfs(&step.kind) && is_last
    });
    candidates.filter_map(|(_, step)| look(plan, step, container, is_only_mount)).collect()
}

fn is_tmpfs(kind: &Kind) -> bool {
    match kind {
        Kind::Fs(fs) => fs.fstype == "tmpfs",
        Kind::CgroupV1(_) => true,
        Kind::Bind(_) | Kind::Within(_) | Kind::Remount => false,
    }
}

fn look(
    plan: &Plan,
    step: &MountStep,
    container: &Root,
    is_only_mount: &dyn Fn(u64) -> bool,
) -> Option<Hollow> {
    let (place, destination) = container.resolve(&step.destination).ok()?;
    let stat = rustix::fs::fstat(&place).ok()?;
    if fs_magic(&place).ok()? != TMPFS_MAGIC || !is_only_mount(stat.st_dev) {
        return None;
    }
    let mut look = Look { devices: plan.devices.as_deref().unwrap_or_default(), dev: stat.st_dev, nodes: 0 };
    let children = look.children(&open_dir(&place, c".").ok()?, &destination, 0)?;
    let root = node(String::new(), NodeKind::Directory(children), &stat);
    Some(Hollow { name: step.destination.clone(), destination, root })
}

/// A walk through one tmpfs. It ends with None at the first thing that is not hollow.
struct Look<'a> {
    devices: &'a [DeviceNode],
    dev: u64,
    nodes: usize,
}

impl Look<'_> {
    fn children(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Option<Vec<Node>> {
        let mut children = Vec::new();
        for entry in Dir::read_from(dir).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.nodes += 1;
            if self.nodes > MAX_NODES || depth > MAX_DEPTH {
                return None;
            }
            children.push(self.child(dir, name, path, depth)?);
        }
        Some(children)
    }

    fn child(&mut self, dir: &OwnedFd, name: &CStr, parent: &Path, depth: usize) -> Option<Node> {
        let text = name.to_str().ok()?.to_owned();
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if stat.st_dev != self.dev {
            return Some(covered(text, file_type, &stat));
        }
        // A second name, and attributes that only the archive has words for.
        let is_plain = (stat.st_nlink == 1 || file_type == FileType::Directory) && !has_attributes(dir, name);
        let path = parent.join(&text);
        let kind = match file_type {
            _ if !is_plain => return None,
            FileType::Directory => {
                NodeKind::Directory(self.children(&open_dir(dir, name).ok()?, &path, depth + 1)?)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).ok()?;
                NodeKind::Link(target.into_string().ok()?)
            }
            FileType::RegularFile if stat.st_size == 0 && stat.st_blocks == 0 => NodeKind::EmptyFile,
            _ if self.devices.iter().any(|device| is_device(device, &path, &stat)) => NodeKind::Device,
            _ => return None,
        };
        Some(node(text, kind, &stat))
    }
}

fn is_device(device: &DeviceNode, path: &Path, stat: &Stat) -> bool {
    let (kind, number) = device.kind_and_number();
    device.path == path && FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == number
}

/// A mount point: what it looks like is hidden by what lies on it, and was made by the runtime.
fn covered(name: String, file_type: FileType, stat: &Stat) -> Node {
    let mtime = (stat.st_mtime, stat.st_mtime_nsec as i64);
    let (kind, mode) = match file_type {
        FileType::Directory => (NodeKind::Directory(Vec::new()), 0o755),
        _ => (NodeKind::EmptyFile, 0o644),
    };
    Node { name, kind, mode, uid: 0, gid: 0, mtime }
}

fn node(name: String, kind: NodeKind, stat: &Stat) -> Node {
    let mtime = (stat.st_mtime, stat.st_mtime_nsec as i64);
    Node { name, kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime }
}

/// Extended attributes and access control lists. The path goes through the descriptor, and its last component is not followed.
fn has_attributes(dir: &OwnedFd, name: &CStr) -> bool {
    use std::os::fd::AsRawFd;
    let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    let mut none: [u8; 0] = [];
    rustix::fs::llistxattr(path, &mut none).is_ok_and(|length| length > 0)
}

fn open_dir(dir: impl AsFd, name: &CStr) -> sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).call("openat", || format!("{name:?}"))
}

impl Hollow {
    /// Makes it again: a tmpfs with the options of the plan, mounted at `place`. Its attributes as a mount (read-only and its
    /// like) are for CRIU, and for [`protect_again`](crate::protect_again).
    pub fn mount(&self, plan: &Plan, place: &Path) -> Result<()> {
        let step = || format!("make the tmpfs of {:?} again", self.name);
        let planned = plan.mounts.iter().rev().find(|step| step.destination == self.name);
        let planned = planned.and_then(|step| match &step.kind {
            Kind::Fs(fs) if fs.fstype == "tmpfs" => Some(fs),
            _ => None,
        });
        let tmpfs = new_tmpfs(planned, plan.label.as_deref()).step(step)?;
        let root = open_dir(&tmpfs, c".").step(step)?;
        let make = Make { devices: plan.devices.as_deref().unwrap_or_default() };
        make.fill(&root, &self.root, &self.name)?;
        mount::move_mount(tmpfs, Root::at(place).step(step)?).step(step)
    }
}

/// Makes nodes again.
struct Make<'a> {
    devices: &'a [DeviceNode],
}

impl Make<'_> {
    /// Fills a directory, then gives it its own attributes: making files in it changes its time.
    fn fill(&self, dir: &OwnedFd, node: &Node, path: &Path) -> Result<()> {
        let NodeKind::Directory(children) = &node.kind else {
            return Err(Error::refused(format!("make {path:?} again"), "it is no directory"));
        };
        for child in children {
            self.node(dir, child, &path.join(&child.name))?;
        }
        attributes(dir, c"", node).step(|| format!("make {path:?} again"))
    }

    fn node(&self, dir: &OwnedFd, node: &Node, path: &Path) -> Result<()> {
        let step = || format!("make {path:?} again");
        if node.name.is_empty() || node.name.contains('/') || node.name == "." || node.name == ".." {
            return Err(Error::refused(step(), "that is not the name of a file"));
        }
        let name = CString::new(node.name.as_str())
            .map_err(|_| Error::refused(step(), "that is not the name of a file"))?;
        let name = name.as_c_str();
        let private = Mode::RUSR | Mode::WUSR;
        match &node.kind {
            NodeKind::Directory(_) => {
                rustix::fs::mkdirat(dir, name, Mode::RWXU)
                    .call("mkdirat", || format!("{name:?}"))
                    .step(step)?;
                return self.fill(&open_dir(dir, name).step(step)?, node, path);
            }
            NodeKind::EmptyFile => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(dir, name, flags, private).map(drop).call("openat", || format!("{name:?}"))
            }
            NodeKind::Link(target) => {
                rustix::fs::symlinkat(target.as_str(), dir, name).call("symlinkat", || format!("{name:?}"))
            }
            NodeKind::Device => {
                let Some(device) = self.devices.iter().find(|device| device.path == path) else {
                    return Err(Error::refused(step(), "config.json no longer has this device"));
                };
                let (kind, number) = device.kind_and_number();
                rustix::fs::mknodat(dir, name, kind, private, number).call("mknodat", || format!("{name:?}"))
            }
        }
        .step(step)?;
        attributes(dir, name, node).step(step)
    }
}

/// Owner first: changing it takes the set-user-ID bit off. Nobody else can reach the new tmpfs, so a name is what was just made.
fn attributes(dir: &OwnedFd, name: &CStr, node: &Node) -> sys::Result<()> {
    let what = || format!("{name:?}");
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags).call("fchownat", what)?;
    let mode = Mode::from_raw_mode(node.mode & 0o7777);
    match node.kind {
        NodeKind::Link(_) => {}
        NodeKind::Directory(_) => rustix::fs::fchmod(dir, mode).call("fchmod", what)?,
        _ => rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).call("fchmodat", what)?,
    }
    let time = Timespec { tv_sec: node.mtime.0, tv_nsec: node.mtime.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    match node.kind {
        NodeKind::Directory(_) => rustix::fs::futimens(dir, &times).call("futimens", what),
        _ => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).call("utimensat", what),
    }
}
