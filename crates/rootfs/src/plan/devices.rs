//! The device nodes of a container.

use std::path::Path;

use rustix::fs::FileType;
use spec::oci;

use super::{DeviceKind, DeviceNode, place};
use crate::{Error, Result};

/// What every container has (runtime-spec, `config-linux.md`, "Default Devices"); console and ptmx are made elsewhere.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The default devices, then those of `linux.devices`; one with the path of a default takes its place.
pub(super) fn nodes(linux: Option<&oci::Linux>, rootfs: &Path) -> Result<Vec<DeviceNode>> {
    let asked = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let asked: Vec<_> =
        asked.iter().enumerate().map(|(index, device)| node(index, device, rootfs)).collect::<Result<_>>()?;
    let defaults = DEFAULTS.into_iter().map(|(path, major, minor)| default(path, major, minor));
    let mut nodes: Vec<_> =
        defaults.filter(|default| !asked.iter().any(|node| node.path == default.path)).collect();
    nodes.extend(asked);
    Ok(nodes)
}

impl DeviceNode {
    /// What mknod(2) wants to know. A pipe has no number, whatever config.json says.
    pub(crate) fn kind_and_number(&self) -> (FileType, u64) {
        let number = rustix::fs::makedev(self.major, self.minor);
        match self.kind {
            DeviceKind::Char => (FileType::CharacterDevice, number),
            DeviceKind::Block => (FileType::BlockDevice, number),
            DeviceKind::Fifo => (FileType::Fifo, 0),
        }
    }
}

fn default(path: &str, major: u32, minor: u32) -> DeviceNode {
    let kind = DeviceKind::Char;
    DeviceNode { path: path.into(), kind, major, minor, mode: 0o666, uid: None, gid: None }
}

fn node(index: usize, device: &oci::LinuxDevice, rootfs: &Path) -> Result<DeviceNode> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let kind = match device.typ() {
        oci::LinuxDeviceType::B => DeviceKind::Block,
        oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
        oci::LinuxDeviceType::P => DeviceKind::Fifo,
        oci::LinuxDeviceType::A => {
            return Err(Error::invalid(field("type"), "\"a\" is no kind of device node: use c, b, u or p"));
        }
    };
    let number = |value: i64, name| {
        u32::try_from(value).map_err(|_| Error::invalid(field(name), format!("{value} is no device number")))
    };
    let path = place(device.path(), rootfs);
    if path == Path::new("/") {
        return Err(Error::invalid(field("path"), "names no file"));
    }
    Ok(DeviceNode {
        path,
        kind,
        major: number(device.major(), "major")?,
        minor: number(device.minor(), "minor")?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid(),
        gid: device.gid(),
    })
}
