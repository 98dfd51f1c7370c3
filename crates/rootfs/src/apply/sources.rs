//! All that a container's tree takes from the host, opened.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::Context;
use sys::mount::{self, AttrChange, Depth, Propagation, attr};
use sys::path::{Root, is_char_device};

use crate::error::InStep;
use crate::plan::{Bind, DeviceKind, DeviceNode, IdMap, Kind, Plan};
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

/// A mount that hides what it lies on.
#[derive(Debug)]
pub(super) struct Mask {
    pub(super) mount: OwnedFd,
    /// It has a place already: the next one needs a clone.
    pub(super) attached: bool,
}

/// Finds the user namespace that holds the mapping of a mount, by the mount's index; `None`: it cannot be had.
pub(crate) type FindUserns<'a> = dyn FnMut(usize, &IdMap) -> Result<Option<OwnedFd>> + 'a;

impl Sources {
    /// Sets the propagation of this mount namespace and opens all sources of `plan`.
    ///
    /// `userns` gives the user namespace with the mapping of an id-mapped mount (`mounts[index]`).
    pub fn open(plan: &Plan, userns: &mut FindUserns<'_>) -> Result<Self> {
        let place = isolate(plan)?;
        let root =
            mount::clone_tree(&place, Depth::Tree).step(|| format!("bind rootfs {:?}", plan.rootfs))?;
        let mut mounts = BTreeMap::new();
        for step in &plan.mounts {
            let opened = match &step.kind {
                Kind::Bind(bind) => vec![open_bind(step.index, bind, userns)?],
                Kind::CgroupV1(view) if !view.own_namespace => {
                    let open = |path: &Path| mount::clone_tree_at(path, Depth::One);
                    let paths = view.hierarchies.iter().map(|hierarchy| open(&hierarchy.host_path));
                    paths.collect::<sys::Result<_>>().step(|| format!("mounts[{}]: cgroup", step.index))?
                }
                _ => continue,
            };
            mounts.insert(step.index, opened);
        }
        let devices = match &plan.devices {
            Some(nodes) if plan.bind_devices => nodes.iter().map(open_device).collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        let masks = if plan.masked.is_empty() { None } else { Some(open_masks(plan)?) };
        Ok(Self { place, root, mounts, devices, masks })
    }
}

/// Sets the propagation of `/`, makes the mount that the rootfs lies on private, and opens the rootfs.
///
/// That mount must be private even if the caller wants a shared tree: `pivot_root(2)` refuses a shared parent, and
/// what we mount would appear on the host.
fn isolate(plan: &Plan) -> Result<OwnedFd> {
    let (propagation, depth) = plan.propagation;
    let step = || "set the propagation of \"/\"".to_owned();
    let slash = Root::at(Path::new("/")).step(step)?;
    mount::set_propagation(&slash, depth, propagation).step(step)?;

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let rootfs = rustix::fs::open(&plan.rootfs, flags, Mode::empty())
        .call("open", || format!("{:?}", plan.rootfs))
        .step(|| "root.path".to_owned())?;
    make_mount_private(&rootfs).step(|| format!("make the mount of rootfs {:?} private", plan.rootfs))?;
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

fn open_bind(index: usize, bind: &Bind, userns: &mut FindUserns<'_>) -> Result<OwnedFd> {
    let field = || format!("mounts[{index}].source {:?}", bind.source);
    let mount = mount::clone_tree_at(&bind.source, bind.depth).step(field)?;
    if let Some(idmap) = &bind.idmap {
        let Some(namespace) = userns(index, idmap)? else {
            return Err(Error::invalid(
                format!("mounts[{index}].uidMappings"),
                "id-mapped mounts are not supported here: there is no user namespace with this mapping",
            ));
        };
        mount::set_idmap(&mount, idmap.depth, namespace).step(field)?;
    }
    Ok(mount)
}

/// The host's node, which must be the device that the plan means.
fn open_device(node: &DeviceNode) -> Result<OwnedFd> {
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
fn open_masks(plan: &Plan) -> Result<Masks> {
    let step = || "open \"/dev/null\" for masking".to_owned();
    let null = mount::clone_tree_at(Path::new("/dev/null"), Depth::One).step(step)?;
    if !is_char_device(&null, 1, 3).step(step)? {
        return Err(Error::refused(step(), "it is not the null device 1:3"));
    }
    let step = || format!("open the empty directory {:?} for masking", plan.empty_dir);
    let empty = mount::clone_tree_at(&plan.empty_dir, Depth::One).step(step)?;
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    mount::set_attr(&empty, Depth::One, AttrChange { set, clear: 0 }).step(step)?;
    // A slave of a mount of the host is what CRIU cannot restore; and nothing will ever be mounted here.
    for mount in [&null, &empty] {
        mount::set_propagation(mount, Depth::One, Propagation::Private).step(step)?;
    }
    let mask = |mount| Mask { mount, attached: false };
    Ok(Masks { null: mask(null), empty: mask(empty) })
}
