//! A rootfs that CRIU can mount into.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::Context;
use sys::mount::{AttrChange, Depth, attr, set_attr};
use sys::path::{Root, is_dir};

use crate::Result;
use crate::error::InStep;
use crate::hollow::Hollow;
use crate::plan::{Kind, MountStep, Plan};

/// Makes the mount points of `plan` that are missing in `rootfs`, each as a directory or a file as its mount demands.
///
/// At restore CRIU mounts onto what is there. A fresh copy of the image lacks the mount points that were made when
/// the container was created. Those that lie below another mount of the container are made in what is bound there;
/// what lies below a filesystem that CRIU restores itself is restored with it.
pub fn create_mountpoints(plan: &Plan, rootfs: &Root) -> Result<()> {
    let umask = rustix::process::umask(Mode::from_raw_mode(0o022));
    let result = create_all(plan, rootfs);
    rustix::process::umask(umask);
    result
}

/// Gives the mounts that come from outside their attributes again, in a restored container; `container` is its root, seen from
/// its own mount namespace.
///
/// CRIU mounts what is external from the source that it is told, and of several with one source it forgets the attributes of
/// some (CRIU(4.2)): a masked directory came back writable. An older one forgets that the root was read-only (CRIU(4.1)).
pub fn protect_again(plan: &Plan, hollow: &[Hollow], container: &Root) -> Result<()> {
    let is_hollow = |step: &MountStep| hollow.iter().any(|hollow| hollow.name == step.destination);
    let bound = plan.mounts.iter().filter(|step| matches!(step.kind, Kind::Bind(_)) || is_hollow(step));
    let bound = bound.map(|step| (step.destination.as_path(), step.final_attrs()));
    let readonly = AttrChange { set: attr::RDONLY, clear: 0 };
    let root = plan.readonly_root.then_some((Path::new("/"), readonly)).into_iter();
    let kept = root.chain(bound).map(|(path, attrs)| (path, attrs, false));
    let masked = plan.masked.iter().map(|path| (path.as_path(), readonly, true));
    for (path, attrs, is_mask) in kept.chain(masked).filter(|(_, attrs, _)| !attrs.is_empty()) {
        let step = || format!("protect {path:?} again");
        let place = match container.open(path) {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => continue,
            found => found.step(step)?,
        };
        // A masked file is the null device, which is to be used.
        if !is_mask || is_dir(&place).step(step)? {
            set_attr(&place, Depth::One, attrs).step(step)?;
        }
    }
    Ok(())
}

fn create_all(plan: &Plan, rootfs: &Root) -> Result<()> {
    for (index, step) in plan.mounts.iter().enumerate() {
        let is_file = match &step.kind {
            Kind::Bind(bind) => {
                let source = || format!("mounts[{}].source {:?}", step.index, bind.source);
                !is_dir(open(&bind.source).step(source)?).step(source)?
            }
            // What is within the container cannot be looked at before CRIU has brought it back.
            Kind::Fs(_) | Kind::CgroupV1(_) | Kind::Within(_) => false,
            Kind::Remount => continue,
        };
        create(&plan.mounts[..index], rootfs, &step.destination, is_file)?;
    }
    let mut devices = plan.devices.iter().flatten().filter(|_| plan.bind_devices);
    devices.try_for_each(|node| create(&plan.mounts, rootfs, &node.path, true))
}

fn open(source: &Path) -> sys::Result<OwnedFd> {
    rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .call("open", || format!("{source:?}"))
}

/// Makes one mount point, given the mounts before it.
fn create(before: &[MountStep], rootfs: &Root, destination: &Path, is_file: bool) -> Result<()> {
    let step = || format!("make mount point {destination:?}");
    let make = |root: &Root, path: &Path| {
        let made = match root.open(path) {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) && is_file => root.make_file(path),
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => root.make_dir(path),
            found => found,
        };
        made.map(drop).step(step)
    };
    match cover(before, destination) {
        None => make(rootfs, destination),
        Some((Kind::Bind(bind), rest)) => make(&Root::at(&bind.source).step(step)?, &rest),
        Some(_) => Ok(()),
    }
}

/// The mount that `destination` lies on, and the path in it.
fn cover<'a>(before: &'a [MountStep], destination: &Path) -> Option<(&'a Kind, PathBuf)> {
    let below = |step: &'a MountStep| {
        let rest = destination.strip_prefix(&step.destination).ok()?;
        let covers = !rest.as_os_str().is_empty() && step.kind != Kind::Remount;
        covers.then(|| (&step.kind, rest.to_owned()))
    };
    // The longest prefix leaves the shortest rest; of equals the later lies on top.
    before.iter().rev().filter_map(below).min_by_key(|(_, rest)| rest.components().count())
}
