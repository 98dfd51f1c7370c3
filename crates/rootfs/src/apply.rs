//! The plan put into effect, in the container's mount namespace and before its program starts.

mod copy_up;
mod devices;
mod mounts;
mod pivot;
mod seal;
mod sources;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use sys::mount::{self, Depth, Propagation};
use sys::path::Root;

use crate::error::InStep;
use crate::{Plan, Result};

pub(crate) use mounts::new_tmpfs;
pub use pivot::enter_root;
pub use seal::reopen_null;
pub(crate) use sources::empty_filesystem;
pub use sources::{FindUserns, Sources};

/// A container's file tree while it is being made.
///
/// The stages, each a method, in the order in which a caller needs them:
///
/// 1. [`prepare`](Self::prepare): propagation, the root as a mount point, all mounts, devices and links. Hooks that
///    must see the mounts from the host's side (`createContainer`) come after it.
/// 2. [`pivot`](Self::pivot): the container's root becomes `/`, the host's tree is gone.
/// 3. [`bind_console`](Self::bind_console), where there is a terminal. The pseudo terminal belongs to the container's
///    own devpts, which [`root`](Self::root) can open before and after the pivot.
/// 4. What needs a writable /proc/sys: sysctls.
/// 5. [`finish`](Self::finish): masks, read-only paths, read-only root, umask.
#[derive(Debug)]
pub struct Rootfs<'p> {
    plan: &'p Plan,
    root: Root,
    /// Detached mounts that hide files and directories; made before the pivot, when the host's can still be reached.
    masks: Option<sources::Masks>,
    /// Mounts that become read-only at the end, with their names.
    late_readonly: Vec<(String, OwnedFd)>,
}

impl<'p> Rootfs<'p> {
    /// Makes the whole tree, up to the devices. For a caller that may open everything that the plan names on the host;
    /// otherwise see [`Sources`]. The umask is 0 from here to [`finish`](Self::finish).
    pub fn prepare(plan: &'p Plan) -> Result<Self> {
        Self::prepare_with(plan, Sources::open(plan, &|_, _| None)?)
    }

    /// [`prepare`](Self::prepare) with sources that were opened earlier.
    pub fn prepare_with(plan: &'p Plan, sources: Sources) -> Result<Self> {
        let Sources { place, root, mut mounts, devices, masks } = sources;
        rustix::process::umask(Mode::empty());
        // pivot_root(2) wants a mount point, so the root is attached to where it already is.
        mount::move_mount(&root, &place).step(|| format!("bind rootfs {:?}", plan.rootfs))?;
        if !plan.own_mounts {
            // Below a shared mount it has become shared itself, and what is mounted in it would appear in other namespaces, too.
            let step = || format!("make rootfs {:?} private", plan.rootfs);
            mount::set_propagation(&root, Depth::Tree, Propagation::Private).step(step)?;
        }
        let mut rootfs = Self { plan, root: Root::from(root), masks, late_readonly: Vec::new() };
        for step in &plan.mounts {
            rootfs.mount(step, mounts.remove(&step.index).unwrap_or_default())?;
        }
        if let Some(nodes) = &plan.devices {
            rootfs.make_devices(nodes, devices)?;
        }
        Ok(rootfs)
    }

    /// The container's root, for lookups inside it (a terminal in `/dev/pts`, a program); valid before and after the pivot.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The working directory of the container's process, made where it is missing.
    pub fn make_cwd(&self, cwd: &Path) -> Result<OwnedFd> {
        self.root.mkdir_all(cwd).step(|| format!("make process.cwd {cwd:?}"))
    }

    /// Binds the terminal `slave` to /dev/console.
    ///
    /// CVE-2025-52565: neither the terminal nor /dev/console is looked up by a name that the container controls: the
    /// terminal comes as a descriptor, and what is at /dev/console is opened without following a link.
    pub fn bind_console(&self, slave: impl AsFd) -> Result<()> {
        let step = || "bind the terminal to \"/dev/console\"".to_owned();
        let dev = self.root.mkdir_all(Path::new("/dev")).step(step)?;
        let console = devices::file_at(&dev, "console").step(step)?;
        let terminal = mount::clone_tree(slave, Depth::One).step(step)?;
        mount::move_mount(terminal, console).step(step)
    }
}
