//! Mounting a container's root again, in a mount namespace of ours: nothing of it is left on the host, whatever happens.

use super::tree::Tree;
use crate::error::{Error, Result, Step};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use sys::mount::{Depth, Propagation};
use sys::view::MountView;

/// mount(2) takes one page of options.
const MOST_OPTIONS: usize = 4095;

/// Makes `place` a mount point with the tree; CRIU wants the root to be one.
///
/// It is shared, if only with nobody: a container's root that got mounts from the host (docker's) can be made so again only from a mount
/// that hands them on.
pub(super) fn mount(tree: &Tree, place: &Path, view: &MountView) -> Result<()> {
    mount_tree(tree, place, view)?;
    Ok(sys::mount::set_propagation(open(place)?, Depth::One, Propagation::Shared)?)
}

fn mount_tree(tree: &Tree, place: &Path, view: &MountView) -> Result<()> {
    match tree {
        Tree::Directory(path) => Ok(view.bind(path, place)?),
        Tree::FileSystem { fstype, source, options } => {
            let target = open(place)?;
            match fstype.as_str() {
                "overlay" | "overlayfs" => {
                    let (options, _layers) = fitting(options)?;
                    mount_by_kernel("overlay", source, &target, &options)
                }
                "unionfs" => unionfs(source, &target, options, place),
                "fuse.fuse-overlayfs" => by_program(&["fuse-overlayfs"], options, place),
                other => mount_by_kernel(other, source, &target, options),
            }
        }
    }
}

fn mount_by_kernel(fstype: &str, source: &str, target: &OwnedFd, options: &str) -> Result<()> {
    sys::mount::mount_legacy(source, target, fstype, 0, options).map_err(|e| {
        if e.is(Errno::NODEV.raw_os_error()) {
            return Error::Request(format!(
                "the container's root is of type {fstype}, which this kernel cannot mount"
            ));
        }
        Error::Step {
            step: format!("mount the container's root ({fstype}, {options})"),
            error: sys::strerror(e.errno),
        }
    })
}

/// The kernel's, or the one of unionfs-fuse, which takes the same `dirs=`. /dev/null may have been made by the engine outside of all
/// branches; something must be there, since it is mounted on.
fn unionfs(source: &str, target: &OwnedFd, options: &str, place: &Path) -> Result<()> {
    match sys::mount::mount_legacy(source, target, "unionfs", 0, options) {
        Err(e) if e.is(Errno::NODEV.raw_os_error()) => {
            by_program(&["unionfs-fuse", "unionfs"], &format!("cow,allow_other,suid,dev,{options}"), place)?;
        }
        other => other?,
    }
    let null = place.join("dev/null");
    if !null.exists() && place.join("dev").is_dir() {
        std::fs::File::create(&null).step(|| format!("create {}", null.display()))?;
    }
    Ok(())
}

/// A file system that a program serves, which goes on as a process of its own: in our view of the mounts, for as long as the container
/// has it.
fn by_program(names: &[&str], options: &str, place: &Path) -> Result<()> {
    for name in names {
        let output = match Command::new(name).args(["-o", options]).arg(place).output() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.step(|| (*name).to_owned())?,
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
        return Err(Error::Request(format!("mount the container's root: {name}: {last}")));
    }
    Err(Error::Request(format!("the container's root needs {}, which is not in PATH", names[0])))
}

/// An overlay's options, with the layers as descriptors where they are too long by their paths (docker mounts from another directory
/// then). They have to be open until it is mounted.
fn fitting(options: &str) -> Result<(String, Vec<OwnedFd>)> {
    if options.len() <= MOST_OPTIONS {
        return Ok((options.to_owned(), Vec::new()));
    }
    let (mut short, mut held) = (String::new(), Vec::new());
    for option in options.split(',') {
        let separator = if short.is_empty() { "" } else { "," };
        match option.strip_prefix("lowerdir=") {
            None => short.extend([separator, option]),
            Some(layers) => {
                short.extend([separator, "lowerdir="]);
                for (index, layer) in layers.split(':').enumerate() {
                    let layer = open(Path::new(layer))?;
                    let colon = if index == 0 { "" } else { ":" };
                    // Writing to a string cannot fail.
                    let _ = write!(short, "{colon}/proc/self/fd/{}", layer.as_raw_fd());
                    held.push(layer);
                }
            }
        }
    }
    Ok((short, held))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_layers_are_named_by_descriptors() {
        assert_eq!(fitting("lowerdir=/a:/b").unwrap().0, "lowerdir=/a:/b");
        let dirs: Vec<_> = (0..100).map(|_| tempfile::tempdir().unwrap()).collect();
        let long = dirs[0].path().join("x".repeat(100));
        std::fs::create_dir(&long).unwrap();
        let layers = vec![long.to_str().unwrap(); 60].join(":");
        let (short, held) = fitting(&format!("lowerdir={layers},upperdir=/u")).unwrap();
        assert_eq!(held.len(), 60);
        assert!(short.starts_with("lowerdir=/proc/self/fd/") && short.ends_with(",upperdir=/u"), "{short}");
        assert!(short.len() < MOST_OPTIONS);
        assert!(held.iter().all(|fd| fd.as_raw_fd() >= 3));
    }

    #[test]
    fn what_this_kernel_cannot_mount_is_named() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIP needs root");
        }
        let place = tempfile::tempdir().unwrap();
        let view = MountView::private().unwrap();
        let tree = Tree::FileSystem {
            fstype: "aufs-that-is-not".into(),
            source: "none".into(),
            options: "br=/a:/b".into(),
        };
        let error = mount(&tree, place.path(), &view).unwrap_err().to_string();
        assert_eq!(error, "the container's root is of type aufs-that-is-not, which this kernel cannot mount");
    }
}
