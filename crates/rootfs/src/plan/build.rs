//! From `config.json` to the [`Plan`].

use std::path::{Path, PathBuf};

use spec::oci;
use sys::mount::{Depth, Propagation};
use sys::path::clean;

use super::{Context, Kind, Plan, devices, mounts};
use crate::{Error, Result, options};

impl Plan {
    /// Plans the file tree of a container.
    pub fn new(spec: &oci::Spec, context: &Context) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let label = linux.and_then(|linux| linux.mount_label().as_deref()).filter(|label| !label.is_empty());
        let mounts = mounts::steps(spec.mounts().as_deref().unwrap_or_default(), label, context)?;
        let paths = |list: Option<&Option<Vec<String>>>| -> Vec<PathBuf> {
            let list = list.and_then(Option::as_deref).unwrap_or_default();
            list.iter().map(|path| clean(Path::new(path))).collect()
        };
        Ok(Self {
            rootfs: context.rootfs.clone(),
            own_mounts: context.mount_namespace,
            propagation: propagation(linux.and_then(|linux| linux.rootfs_propagation().as_deref()))?,
            devices: if has_foreign_dev(&mounts) {
                None
            } else {
                Some(devices::nodes(linux, &context.rootfs)?)
            },
            mounts,
            bind_devices: context.user_namespace,
            label: label.map(str::to_owned),
            masked: paths(linux.map(oci::Linux::masked_paths)),
            readonly_paths: paths(linux.map(oci::Linux::readonly_paths)),
            readonly_root: spec.root().as_ref().and_then(oci::Root::readonly).unwrap_or(false),
            umask: spec.process().as_ref().and_then(|process| process.user().umask()).unwrap_or(0o022),
        })
    }
}

/// Whether /dev is bound from outside: its content is then not ours to touch.
fn has_foreign_dev(mounts: &[super::MountStep]) -> bool {
    mounts.iter().any(|step| step.destination == Path::new("/dev") && matches!(step.kind, Kind::Bind(_)))
}

fn propagation(name: Option<&str>) -> Result<(Propagation, Depth)> {
    match name {
        None | Some("") => Ok((Propagation::Slave, Depth::Tree)),
        Some(name) => options::propagation(name).ok_or_else(|| {
            Error::invalid(
                "linux.rootfsPropagation",
                format!("{name:?} is none of [r]shared, [r]slave, [r]private, [r]unbindable"),
            )
        }),
    }
}
