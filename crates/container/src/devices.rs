//! The host's network devices that a container is lent (`linux.netDevices`).
//!
//! The kernel gives a physical device back when its namespace ends, under whatever name is free, and destroys a virtual one.
//! So that each device returns to where it came from with its old name, the container's directory holds the network
//! namespace (a bind mount of it) until the container is deleted, and the devices are fetched from there.

use crate::error::{Error, Result, Step};
use crate::store::{Entry, Record};
use rustix::fs::{Mode, OFlags, stat};
use serde::{Deserialize, Serialize};
use spec::Config;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::mount::{self, Depth};

/// The name in the container's directory that the namespace is mounted on.
const NAMESPACE: &str = "netns";
const OWN: &str = "/proc/thread-self/ns/net";

/// What a container has on loan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loan {
    /// The inode of the network namespace that the devices came from.
    origin: u64,
    devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    /// Its name on the host.
    host: String,
    /// Its name in the container.
    container: String,
}

/// Whether the container wants any.
pub(crate) fn any(config: &Config) -> bool {
    !spec::net_devices(&config.oci).is_empty()
}

/// Moves the devices of config.json into the network namespace at `path`; the loan is written down first.
pub(crate) fn lend(entry: &Entry, record: &mut Record, config: &Config, path: &Path) -> Result<()> {
    let devices: Vec<_> = spec::net_devices(&config.oci)
        .into_iter()
        .map(|(host, container)| Device { host, container })
        .collect();
    if devices.is_empty() {
        return Ok(());
    }
    if !sys::is_root() {
        return Err(Error::Request(
            "linux.netDevices: network devices are not supported for rootless containers".into(),
        ));
    }
    let origin = stat(OWN).step(|| format!("stat {OWN}"))?.st_ino;
    let namespace = open(path)?;
    if rustix::fs::fstat(&namespace).step(|| path.display().to_string())?.st_ino == origin {
        return Err(Error::Request(
            "linux.netDevices: unable to move network devices to host network namespace".into(),
        ));
    }
    entry.write_empty(NAMESPACE)?;
    let held = || format!("hold network namespace {}", path.display());
    let view = mount::clone_tree_at(path, Depth::One).step(held)?;
    mount::move_mount(view, open(&entry.path.join(NAMESPACE))?).step(held)?;
    record.net_devices = Some(Loan { origin, devices: devices.clone() });
    entry.save(record)?;
    for Device { host, container } in &devices {
        sys::netdev::move_to(host, namespace.as_fd(), container)
            .step(|| format!("linux.netDevices[{host:?}]"))?;
    }
    Ok(())
}

/// Gives the devices back, as far as they are still there; what cannot be is left to the kernel.
pub(crate) fn give_back(entry: &Entry, record: &Record) {
    let Some(loan) = &record.net_devices else { return };
    let path = entry.path.join(NAMESPACE);
    if let Err(e) = fetch(loan, &path) {
        log::warn!("network devices of {}: {e}", entry.id);
    }
    let _ = mount::detach(&path);
}

fn fetch(loan: &Loan, path: &Path) -> Result<()> {
    let own = open(Path::new(OWN))?;
    if rustix::fs::fstat(&own).step(|| OWN.to_owned())?.st_ino != loan.origin {
        return Err(Error::Request("they came from another network namespace than this process'".into()));
    }
    let namespace = open(path)?;
    for Device { host, container } in &loan.devices {
        let fetched = sys::net::in_namespace(namespace.as_fd(), || {
            if sys::netdev::exists(container) {
                sys::netdev::move_to(container, own.as_fd(), host)
            } else {
                Ok(())
            }
        });
        fetched.step(|| format!("give {host:?} back"))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("network namespace {}", path.display()))
}
