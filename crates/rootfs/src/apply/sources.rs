//! All that a container's tree takes from the host, opened.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::Context;
use sys::mount::{self, Depth, FsContext, Propagation, attr};
use sys::path::{Root, is_char_device};

use crate::error::InStep;
use crate::plan::{Bind, DeviceKind, DeviceNode, IdMap, Kind, MountStep, Plan};
use crate::{Error, Result};

/// The host's part in a container's tree: detached mounts and descriptors.
///
/// Opened before anything of the container is mounted, so that no mount of it can redirect a source. It is a type of its
/// own because of user namespaces: the container's root may not look into directories that only the host's root may
/// read, and only the host's root may make an id-mapped mount. There the caller opens the sources with its own
/// privileges (after entering the container's mount namespace, so that the mounts are slaves as the plan says), and
/// gives them to [`Rootfs::prepare_with`](crate::Rootfs::prepare_with).
#[derive(Debug)]
pub struct Sources {
    /// The directory that the root is attached to: itself.
    pub(super) place: OwnedFd,
    /// The root, a detached mount.
    pub(super) root: OwnedFd,
    /// The mounts of a step, by its index in `config.json`.
    pub(super) mounts: BTreeMap<usize, Vec<OwnedFd>>,
    /// The host's device nodes, in the order of the plan; empty where they are made.
    pub(super) devices: Vec<OwnedFd>,
    pub(super) masks: Option<Masks>,
}

/// What hides a file and what hides a directory.
#[derive(Debug)]
pub(super) struct Masks {
    pub(super) null: Mask,
    pub(super) empty: Mask,
}

impl Masks {
    fn new(null: OwnedFd, empty: OwnedFd) -> Self {
        let mask = |mount| Mask { mount, attached: false };
        Self { null: mask(null), empty: mask(empty) }
    }
}

/// A mount that hides what it lies on.
#[derive(Debug)]
pub(super) struct Mask {
    pub(super) mount: OwnedFd,
    /// It has a place already: the next one needs a clone.
    pub(super) attached: bool,
}

/// Finds the user namespace that holds the mapping of a mount, by the mount's index; `None`: it cannot be had.
pub type FindUserns<'a> = dyn Fn(usize, &IdMap) -> Option<BorrowedFd<'a>> + 'a;

impl Sources {
    /// Sets the propagation of this mount namespace and opens all sources of `plan`.
    ///
    /// `userns` gives the user namespace with the mapping of an id-mapped mount (`mounts[index]`).
    pub fn open(plan: &Plan, userns: &FindUserns<'_>) -> Result<Self> {
        let place = isolate(plan)?;
        let root =
            mount::clone_tree(&place, Depth::Tree).step(|| format!("bind rootfs {:?}", plan.rootfs))?;
        let mut mounts = BTreeMap::new();
        for step in &plan.mounts {
            let opened: Vec<OwnedFd> = match &step.kind {
                Kind::Bind(bind) => vec![open_bind(step.index, bind, userns)?],
                Kind::CgroupV1(view) if !view.own_namespace => {
                    let open = |path: &Path| mount::clone_tree_at(path, Depth::One);
                    let paths = view.hierarchies.iter().map(|hierarchy| open(&hierarchy.host_path));
                    paths.collect::<sys::Result<_>>().step(|| format!("mounts[{}]: cgroup", step.index))?
                }
                _ => continue,
            };
            if !opened.is_empty() {
                mounts.insert(step.index, opened);
            }
        }
        let devices = match &plan.devices {
            Some(nodes) if plan.bind_devices => nodes.iter().map(open_device).collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        let masks = if plan.masked.is_empty() { None } else { Some(open_masks(plan.label.as_deref())?) };
        Ok(Self { place, root, mounts, devices, masks })
    }

    /// How many descriptors the sources of `plan` are.
    pub fn count(plan: &Plan) -> usize {
        let mounts: usize = plan.mounts.iter().map(sources_of).sum();
        2 + mounts + bound_devices(plan) + if plan.masked.is_empty() { 0 } else { 2 }
    }

    /// The descriptors, to be sent to another process; [`from_descriptors`](Self::from_descriptors) is the way back.
    pub fn into_descriptors(self) -> Vec<OwnedFd> {
        let masks = self.masks.into_iter().flat_map(|masks| [masks.null.mount, masks.empty.mount]);
        let mounts = self.mounts.into_values().flatten();
        [self.place, self.root].into_iter().chain(mounts).chain(self.devices).chain(masks).collect()
    }

    /// The sources that another process has opened for the same plan; `None` when there are too few descriptors.
    pub fn from_descriptors(plan: &Plan, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut rest = descriptors.into_iter();
        let mut take = |count: usize| -> Option<Vec<OwnedFd>> {
            let taken: Vec<_> = rest.by_ref().take(count).collect();
            (taken.len() == count).then_some(taken)
        };
        let [place, root] = take(2)?.try_into().ok()?;
        let mut mounts = BTreeMap::new();
        for step in plan.mounts.iter().filter(|step| sources_of(step) > 0) {
            mounts.insert(step.index, take(sources_of(step))?);
        }
        let devices = take(bound_devices(plan))?;
        let masks = if plan.masked.is_empty() {
            None
        } else {
            let [null, empty] = take(2)?.try_into().ok()?;
            Some(Masks::new(null, empty))
        };
        Some(Self { place, root, mounts, devices, masks })
    }
}

/// Sets the propagation of `/`, makes the mount that the rootfs lies on private, and opens the rootfs.
///
/// That mount must be private even if the caller wants a shared tree: `pivot_root(2)` refuses a shared parent, and
/// what we mount would appear on the host. In the host's own mount namespace nothing is changed.
fn isolate(plan: &Plan) -> Result<OwnedFd> {
    if plan.own_mounts {
        let (propagation, depth) = plan.propagation;
        let step = || "set the propagation of \"/\"".to_owned();
        let slash = Root::at(Path::new("/")).step(step)?;
        mount::set_propagation(&slash, depth, propagation).step(step)?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let rootfs = rustix::fs::open(&plan.rootfs, flags, Mode::empty())
        .call("open", || format!("{:?}", plan.rootfs))
        .step(|| "root.path".to_owned())?;
    if plan.own_mounts {
        make_mount_private(&rootfs).step(|| format!("make the mount of rootfs {:?} private", plan.rootfs))?;
    }
    Ok(rootfs)
}

/// Makes the mount that `dir` lies on private. Its root is found by going up until the kernel takes the directory for one.
fn make_mount_private(dir: &OwnedFd) -> sys::Result<()> {
    /// More than a path can have components.
    const MAX_DEPTH: u32 = 4096;
    let private = |dir: &OwnedFd| mount::set_propagation(dir, Depth::One, Propagation::Private);
    let mut result = private(dir);
    let mut above: Option<OwnedFd> = None;
    for _ in 0..MAX_DEPTH {
        match &result {
            Err(error) if error.is(Errno::INVAL.raw_os_error()) => {}
            _ => break,
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let next = rustix::fs::openat(above.as_ref().unwrap_or(dir), "..", flags, Mode::empty())
            .call("openat", || "\"..\"".to_owned())?;
        result = private(&next);
        above = Some(next);
    }
    result
}

fn open_bind(index: usize, bind: &Bind, userns: &FindUserns<'_>) -> Result<OwnedFd> {
    let field = || format!("mounts[{index}].source {:?}", bind.source);
    let mount = mount::clone_tree_at(&bind.source, bind.depth).step(field)?;
    if let Some(idmap) = &bind.idmap {
        let Some(namespace) = userns(index, idmap) else {
            return Err(Error::invalid(
                format!("mounts[{index}].uidMappings"),
                "id-mapped mounts are not supported for rootless containers",
            ));
        };
        set_idmap(&mount, idmap.depth, namespace).step(field)?;
    }
    Ok(mount)
}

/// Gives a mount that has no place yet its mapping.
fn set_idmap(mount: &OwnedFd, depth: Depth, namespace: BorrowedFd<'_>) -> sys::Result<()> {
    mount::set_idmap(mount, depth, namespace).map_err(|mut error| {
        // KERNEL(5.12): and each filesystem has learned it at its own time: ext4 and FAT 5.12, xfs 5.13, btrfs 5.15,
        // overlayfs (as a layer) 5.19, tmpfs 6.3; procfs, sysfs, NFS and FUSE cannot.
        if error.is(Errno::INVAL.raw_os_error()) {
            error.args.push_str(" (a mount here is id-mapped already, or its filesystem cannot be)");
        }
        error
    })
}

/// The host's node, which must be the device that the plan means.
pub(super) fn open_device(node: &DeviceNode) -> Result<OwnedFd> {
    let step = || format!("bind device {:?}", node.path);
    let mount = mount::clone_tree_at(&node.path, Depth::One).step(step)?;
    if node.kind == DeviceKind::Char && !is_char_device(&mount, node.major, node.minor).step(step)? {
        let problem = format!("on the host it is not character device {}:{}", node.major, node.minor);
        return Err(Error::refused(step(), problem));
    }
    Ok(mount)
}

/// CVE-2025-31133: files are hidden by the host's /dev/null, opened while nothing of the container is mounted and known
/// by its number; never by what the container has under that name.
fn open_masks(label: Option<&str>) -> Result<Masks> {
    let step = || "open \"/dev/null\" for masking".to_owned();
    let null = mount::clone_tree_at(Path::new("/dev/null"), Depth::One).step(step)?;
    if !is_char_device(&null, 1, 3).step(step)? {
        return Err(Error::refused(step(), "it is not the null device 1:3"));
    }
    // A slave of a mount of the host is what CRIU cannot restore; and nothing will ever be mounted here.
    mount::set_propagation(&null, Depth::One, Propagation::Private).step(step)?;
    let empty = empty_filesystem(label).step(|| "make the empty directory for masking".to_owned())?;
    Ok(Masks::new(null, empty))
}

/// What hides directories: a filesystem with nothing in it, to which nobody can write. All masks of a container are mounts of
/// this one.
pub(crate) fn empty_filesystem(label: Option<&str>) -> sys::Result<OwnedFd> {
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("source", "tmpfs")?;
    tmpfs.set_flag("ro")?;
    if let Some(label) = label {
        tmpfs.set_string("context", label)?;
    }
    tmpfs.mount(attr::RDONLY)
}

/// How many mounts of the host a step takes.
fn sources_of(step: &MountStep) -> usize {
    match &step.kind {
        Kind::Bind(_) => 1,
        Kind::CgroupV1(view) if !view.own_namespace => view.hierarchies.len(),
        Kind::CgroupV1(_) | Kind::Within(_) | Kind::Fs(_) | Kind::Remount => 0,
    }
}

/// How many device nodes of the host are bound.
fn bound_devices(plan: &Plan) -> usize {
    plan.devices.as_ref().filter(|_| plan.bind_devices).map_or(0, Vec::len)
}
