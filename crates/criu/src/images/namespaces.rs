//! Namespaces: which there are, and what is known of them.

use super::error::Result;
use super::folder::Folder;
use super::frame::Magic;
use super::inventory::Inventory;
use super::processes::Process;
use super::text;
use crate::wire::images::{NetDeviceEntry, NetnsEntry, TaskKobjIdsEntry, UtsnsEntry};

/// More than anybody has in one network namespace.
const MOST_DEVICES: usize = 1 << 16;

/// The namespaces of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those of the first process that CRIU itself was not in, so that they belong to the dump.
    pub own: Vec<&'static str>,
    /// The host name.
    pub hostname: Option<String>,
    /// The network namespaces.
    pub networks: Vec<Network>,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The name under which the restore must be told of it; None where it was dumped.
    pub external: Option<String>,
    /// Its devices, where it was dumped.
    pub devices: Vec<String>,
}

type Id = fn(&TaskKobjIdsEntry) -> Option<u32>;

const KINDS: [(&str, Id); 8] = [
    ("pid", |ids| ids.pid_ns_id),
    ("network", |ids| ids.net_ns_id),
    ("ipc", |ids| ids.ipc_ns_id),
    ("uts", |ids| ids.uts_ns_id),
    ("mount", |ids| ids.mnt_ns_id),
    ("user", |ids| ids.user_ns_id),
    ("cgroup", |ids| ids.cgroup_ns_id),
    ("time", |ids| ids.time_ns_id),
];

/// Reads what is known of them.
pub(super) fn read(
    folder: &Folder,
    inventory: Option<&Inventory>,
    first: Option<&Process>,
) -> Result<Namespaces> {
    let ids = first.and_then(|process| process.ids.as_ref());
    let criu = inventory.and_then(|inventory| inventory.own.as_ref());
    let is_own = |id: Id| ids.and_then(id).is_some_and(|own| criu.and_then(id) != Some(own));
    let mut found = Namespaces {
        own: KINDS.iter().filter(|(_, id)| is_own(*id)).map(|(name, _)| *name).collect(),
        ..Namespaces::default()
    };
    if let Some(id) = ids.and_then(|ids| ids.uts_ns_id) {
        let uts: Option<UtsnsEntry> = folder.one(&format!("utsns-{id}.img"), Magic::UTSNS)?;
        found.hostname = uts.map(|uts| text(uts.nodename()));
    }
    for id in folder.numbered("netns-") {
        let network: Option<NetnsEntry> = folder.one(&format!("netns-{id}.img"), Magic::NETNS)?;
        let mut devices = Vec::new();
        let name = format!("netdev-{id}.img");
        folder.each(&name, Magic::NETDEV, MOST_DEVICES, |device: NetDeviceEntry| {
            devices.push(text(device.name()));
        })?;
        let external = network.and_then(|network| network.ext_key).map(|key| text(&key));
        found.networks.push(Network { external, devices });
    }
    Ok(found)
}
