//! /dev: nodes, links and files, made in a directory that was opened once.
//!
//! CVE-2026-41579, CVE-2026-47766: an image whose /dev is a link had other runtimes work on the host's /dev, because they used
//! its path. Here /dev is looked up once, in the root, and all else is relative to that descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sys::Context;
use sys::mount;

use super::Rootfs;
use super::sources::open_device;
use crate::error::InStep;
use crate::plan::DeviceNode;
use crate::{Error, Result};

/// The links of every container (runtime-spec, `runtime-linux.md`, "Dev symbolic links"), as (name, target).
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

impl Rootfs<'_> {
    /// Makes the nodes, or binds `sources` (the host's nodes, in the same order) where there are any; then the links.
    pub(super) fn make_devices(&self, nodes: &[DeviceNode], sources: Vec<OwnedFd>) -> Result<()> {
        let dev = self.root.mkdir_all(Path::new("/dev")).step(|| "open \"/dev\" of the rootfs".to_owned())?;
        let mut sources = sources.into_iter();
        for node in nodes {
            self.make_device(&dev, node, sources.next())?;
        }
        let link = |name, target| make_link(&dev, name, target).step(|| format!("make \"/dev/{name}\""));
        LINKS.into_iter().try_for_each(|(name, target)| link(name, target))?;
        if rustix::fs::access("/proc/kcore", Access::EXISTS).is_ok() {
            link("core", "/proc/kcore")?;
        }
        replace_link(&dev, "ptmx", "pts/ptmx").step(|| "make \"/dev/ptmx\"".to_owned())
    }

    fn make_device(&self, dev: &OwnedFd, node: &DeviceNode, source: Option<OwnedFd>) -> Result<()> {
        let step = || format!("make device {:?}", node.path);
        let (Some(parent), Some(name)) =
            (node.path.parent(), node.path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(Error::refused(step(), "its path is no file name"));
        };
        let made;
        let dir = if parent == Path::new("/dev") {
            dev
        } else {
            made = self.root.mkdir_all(parent).step(step)?;
            &made
        };
        let source = match source {
            Some(source) => source,
            None if make_node(dir, name, node)? => return Ok(()),
            None => open_device(node)?,
        };
        let place = file_at(dir, name).step(step)?;
        mount::move_mount(source, place).step(step)
    }
}

/// False where this process may make no device nodes at all: in a user namespace, say an engine's that runs without root.
fn make_node(dir: &OwnedFd, name: &str, node: &DeviceNode) -> Result<bool> {
    let step = || format!("make device {:?}", node.path);
    let (kind, number) = node.kind_and_number();
    match rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(node.mode), number) {
        Err(Errno::PERM) => return Ok(false),
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .call("fstatat", || format!("{name:?}"))
                .step(step)?;
            if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_rdev != number {
                return Err(Error::refused(step(), "something else is there already"));
            }
        }
        other => other.call("mknodat", || format!("{name:?}")).step(step)?,
    }
    if node.uid.is_some() || node.gid.is_some() {
        let (uid, gid) = (node.uid.map(Uid::from_raw), node.gid.map(Gid::from_raw));
        rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .call("fchownat", || format!("{name:?}"))
            .step(step)?;
    }
    Ok(true)
}

/// What is at `name`, or a new empty file; never what a link there leads to. For a mount to lie on.
pub(super) fn file_at(dir: impl AsFd, name: &str) -> sys::Result<OwnedFd> {
    let open =
        || rustix::fs::openat(&dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o666))
        }
        other => other,
    };
    let file = opened.call("openat", || format!("{name:?}, O_NOFOLLOW"))?;
    let stat = rustix::fs::fstat(&file).call("fstat", || format!("{name:?}"))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(sys::Error::new("openat", format!("{name:?}, O_NOFOLLOW"), Errno::LOOP.raw_os_error()));
    }
    Ok(file)
}

/// Makes a link; one that the image brings stays.
fn make_link(dir: &OwnedFd, name: &str, target: &str) -> sys::Result<()> {
    match rustix::fs::symlinkat(target, dir, name) {
        Err(Errno::EXIST) => Ok(()),
        other => other.call("symlinkat", || format!("{target:?}, {name:?}")),
    }
}

/// Makes a link in place of what the image brings.
fn replace_link(dir: &OwnedFd, name: &str, target: &str) -> sys::Result<()> {
    match rustix::fs::symlinkat(target, dir, name) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).call("unlinkat", || format!("{name:?}"))?;
            rustix::fs::symlinkat(target, dir, name).call("symlinkat", || format!("{target:?}, {name:?}"))
        }
        other => other.call("symlinkat", || format!("{target:?}, {name:?}")),
    }
}
