//! A container's virtual ethernet devices. CRIU makes a pair again if it is told where the outer end goes; the engine, which had put it
//! into a bridge, has removed it with the container.

use serde::{Deserialize, Serialize};
use std::fs::{read_dir, read_link, read_to_string};
use std::path::{Path, PathBuf};

/// A pair of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// The one in the container.
    name: String,
    /// The one on the host.
    outer: String,
    /// The bridge that it is in.
    bridge: Option<String>,
}

/// Finds the pairs: `inside` and `host` are where sysfs is, as the container and as the host see it. Either end tells the other's number;
/// only pairs whose ends agree are believed, since the container can put anything at its /sys.
pub(super) fn find(inside: &Path, host: &Path) -> Vec<Link> {
    let outer_ends = devices(host);
    let pair = |(name, index, peer): (String, u32, u32)| {
        let (outer, ..) = outer_ends.iter().find(|(_, i, p)| *i == peer && *p == index && index != peer)?;
        let master = read_link(host.join("class/net").join(outer).join("master")).ok();
        let bridge = master.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Some(Link { name, outer: outer.clone(), bridge })
    };
    devices(inside).into_iter().filter_map(pair).collect()
}

/// The devices of a sysfs: name, number, number of the other end.
fn devices(sysfs: &Path) -> Vec<(String, u32, u32)> {
    let number = |dir: &Path, file: &str| read_to_string(dir.join(file)).ok()?.trim().parse::<u32>().ok();
    let device = |dir: PathBuf| {
        let name = dir.file_name()?.to_str().filter(|name| is_name(name))?.to_owned();
        Some((name, number(&dir, "ifindex")?, number(&dir, "iflink")?))
    };
    let entries = read_dir(sysfs.join("class/net")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter_map(|entry| device(entry.path())).collect();
    found.sort();
    found
}

/// Nothing that would mean something in CRIU's option.
fn is_name(name: &str) -> bool {
    name.len() < 16 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Link {
    /// The `external` option of a restore.
    pub(super) fn option(&self) -> String {
        let bridge = self.bridge.as_ref().map(|bridge| format!("@{bridge}")).unwrap_or_default();
        format!("veth[{}]:{}{bridge}", self.name, self.outer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn device(sysfs: &Path, name: &str, index: u32, peer: u32) -> PathBuf {
        let dir = sysfs.join("class/net").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ifindex"), format!("{index}\n")).unwrap();
        std::fs::write(dir.join("iflink"), format!("{peer}\n")).unwrap();
        dir
    }

    #[test]
    fn pairs_whose_ends_agree_are_found_with_their_bridge() {
        let (inside, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        device(inside.path(), "lo", 1, 1);
        device(inside.path(), "eth0", 2, 41);
        device(inside.path(), "eth1", 3, 42);
        device(inside.path(), "a]:b", 4, 43);
        device(host.path(), "lo", 1, 1);
        let outer = device(host.path(), "veth12ab", 41, 2);
        symlink("../../../devices/virtual/net/docker0", outer.join("master")).unwrap();
        device(host.path(), "veth34cd", 42, 9);
        device(host.path(), "veth56ef", 43, 4);
        let options: Vec<_> = find(inside.path(), host.path()).iter().map(Link::option).collect();
        assert_eq!(options, ["veth[eth0]:veth12ab@docker0"]);
    }
}
