//! What of a container's tree comes from outside, on the names that a dump and a restore share.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::path::Root;

use crate::apply::empty_filesystem;
use crate::error::InStep;
use crate::plan::{Kind, MountStep, Plan};
use crate::{Error, Result};

/// The name of all masked files: the same as runc's, so that each can restore what the other has dumped.
const NULL: &str = "/dev/null";

/// The name of all masked directories. CRIU would run a `tar` for their filesystem, 5 to 8 ms while the container is frozen.
const EMPTY: &str = "masked-directory";

/// Why a mount is external.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalKind {
    /// A bind mount of the bundle.
    Bind,
    /// A masked file.
    MaskedFile,
    /// A masked directory, which is not quite outside: a dump may also take it as it is.
    MaskedDir,
    /// A hierarchy of cgroup v1.
    CgroupV1,
    /// A device bound from the host.
    Device,
}

/// A mount that CRIU does not dump and cannot make by itself.
///
/// For a dump CRIU wants mount point and name (`mnt[/etc/hosts]:/etc/hosts`, see [`Located`]); for a restore name and
/// source (`mnt[/etc/hosts]:/var/lib/.../hosts`). The name is what is written into the images, and it must come out
/// the same on both sides: it is the cleaned destination of `config.json`, also if the image has a link there. Masks
/// of the same kind share one name, since at restore nobody can tell yet which of them exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its name in the images.
    pub name: String,
    /// The path on the host that is bound at restore.
    pub source: PathBuf,
    /// Why it is external.
    pub kind: ExternalKind,
}

/// The mount points of an [`External`] in a running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The mount point as mountinfo shows it in the container: absolute and without links.
    pub destination: PathBuf,
    /// The name of its external.
    pub name: String,
    /// Why it is external.
    pub kind: ExternalKind,
}

impl Plan {
    /// All of the host that a restore must provide: each name once. What hides directories comes besides ([`mount_mask`]).
    pub fn externals(&self) -> Vec<External> {
        let mounts = self.places().into_iter().map(|(destination, source, kind)| External {
            name: destination.to_string_lossy().into_owned(),
            source,
            kind,
        });
        let mut externals: Vec<_> = mounts.collect();
        if !self.masked.is_empty() {
            externals.push(External {
                name: NULL.to_owned(),
                source: PathBuf::from(NULL),
                kind: ExternalKind::MaskedFile,
            });
        }
        externals
    }

    /// The external mounts with a known place, as (destination, source, kind). One that a later mount at the same destination
    /// covers is left out: CRIU knows mounts by their place, and would give the upper one the source of the lower.
    pub(crate) fn places(&self) -> Vec<(PathBuf, PathBuf, ExternalKind)> {
        let mut places = Vec::new();
        for (index, step) in self.mounts.iter().enumerate() {
            let covers =
                |later: &MountStep| later.destination == step.destination && later.kind != Kind::Remount;
            if self.mounts[index + 1..].iter().any(covers) {
                continue;
            }
            match &step.kind {
                Kind::Bind(bind) => {
                    places.push((step.destination.clone(), bind.source.clone(), ExternalKind::Bind));
                }
                Kind::CgroupV1(view) => places.extend(view.hierarchies.iter().map(|hierarchy| {
                    let place = step.destination.join(&hierarchy.name);
                    (place, hierarchy.host_path.clone(), ExternalKind::CgroupV1)
                })),
                // CRIU knows it as a bind mount of another one, and makes it again.
                Kind::Within(_) | Kind::Fs(_) | Kind::Remount => {}
            }
        }
        let devices = self.devices.iter().flatten().filter(|_| self.bind_devices);
        places.extend(devices.map(|node| (node.path.clone(), node.path.clone(), ExternalKind::Device)));
        places
    }
}

/// Mounts at `place` what hides directories in a restored container, and gives the name of it; `None` where nothing is hidden.
pub fn mount_mask(plan: &Plan, place: &Path) -> Result<Option<&'static str>> {
    if plan.masked.is_empty() {
        return Ok(None);
    }
    let step = || format!("mount an empty filesystem at {place:?}");
    let mask = empty_filesystem(plan.label.as_deref()).step(step)?;
    sys::mount::move_mount(mask, Root::at(place).step(step)?).step(step)?;
    Ok(Some(EMPTY))
}

/// Where a running container has its external mounts; `container` is its root (`/proc/PID/root`).
///
/// Masked paths that do not exist are left out. A destination that cannot be found is an error: the dump would fail later,
/// and for a less telling reason.
pub fn locate_externals(plan: &Plan, container: &Root) -> Result<Vec<Located>> {
    let mut located = Vec::new();
    for (path, _, kind) in plan.places() {
        let (_, destination) = container.resolve(&path).step(|| format!("find mount {path:?}"))?;
        located.push(Located { destination, name: path.to_string_lossy().into_owned(), kind });
    }
    for path in &plan.masked {
        let step = || format!("find masked path {path:?}");
        let (fd, destination): (OwnedFd, _) = match container.resolve(path) {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => continue,
            found => found.step(step)?,
        };
        let (name, kind) = match sys::path::is_dir(&fd).step(step)? {
            true => (EMPTY, ExternalKind::MaskedDir),
            false => (NULL, ExternalKind::MaskedFile),
        };
        // Two masked names may lead to one place through links; the mount point is one, covered twice.
        if located.iter().any(|other: &Located| other.destination == destination && other.kind != kind) {
            return Err(Error::refused(step(), "another mount is at the same place"));
        }
        located.push(Located { destination, name: name.to_owned(), kind });
    }
    Ok(located)
}
