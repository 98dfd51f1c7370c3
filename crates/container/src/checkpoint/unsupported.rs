//! What a container has that CRIU could not bring back, refused before anything is touched.

use crate::error::{Error, Result};
use rootfs::{Kind, Plan};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Config, Namespaces};

/// An error that names what is in the way.
pub(super) fn refuse(config: &Config, namespaces: &Namespaces, plan: &Plan) -> Result<()> {
    if !sys::is_root() {
        return Err(refused("CRIU needs root"));
    }
    if !namespaces.is_private(Ns::Mount) {
        return Err(refused(
            "it has no mount namespace: its mounts are the host's, which CRIU does not dump",
        ));
    }
    // CRIU(4.2): it makes a user namespace itself, and can only be told to join those of the other kinds.
    if let Some(path) = namespaces.path(Ns::User) {
        return Err(refused(&format!("its user namespace is another's ({})", path.display())));
    }
    // CRIU(4.2): a mount's mapping is not in the images; the files would come back with other owners.
    let is_mapped = |kind: &Kind| matches!(kind, Kind::Bind(bind) if bind.idmap.is_some());
    if let Some(step) = plan.mounts.iter().find(|step| is_mapped(&step.kind)) {
        return Err(refused(&format!("mounts[{}] is id-mapped, which CRIU does not restore", step.index)));
    }
    // CRIU(4.2): of what leads out of the namespace only macvlan and veth pairs that it is told of.
    let devices = config.linux().and_then(|linux| linux.net_devices().as_ref());
    if let Some(name) = devices.and_then(|devices| devices.keys().min()) {
        return Err(refused(&format!("linux.netDevices: {name} is the host's, which CRIU does not restore")));
    }
    Ok(())
}

fn refused(reason: &str) -> Error {
    Error::Request(format!("container cannot be checkpointed: {reason}"))
}
