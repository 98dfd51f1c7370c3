//! Which mounts of a container lie outside it, and where they come from.
//!
//! CRIU writes down what is in a container's own file systems (its /dev, its /proc) and makes them again; of a bind mount from the host
//! it keeps only a name. The names are the mounts' places, as runc's are, so that a runtime can restore what is dumped here.

use crate::mountinfo::{self, Mount};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A mount from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bind {
    /// Its place in the container.
    pub(super) destination: PathBuf,
    /// Its name in the images.
    pub(super) name: String,
    /// What is mounted there, on the host; None where nobody knows.
    pub(super) source: Option<PathBuf>,
}

/// A mount from outside, with what it may be on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct External {
    pub(super) destination: PathBuf,
    /// What the engine says.
    pub(super) told: Option<PathBuf>,
    /// Where the host has the same file system.
    pub(super) seen: Vec<PathBuf>,
}

/// File systems that CRIU can make anew with what is in them.
const OWN: [&str; 12] = [
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "mqueue",
    "devtmpfs",
    "binfmt_misc",
    "debugfs",
    "tracefs",
    "securityfs",
    "fusectl",
    "pstore",
];

/// Sorts a container's mounts; `told` is what the engine says of their sources. In a cgroup namespace of its own (`has_cgroups`) a v1
/// hierarchy is no bind mount: CRIU mounts it again, and runc expects that it does.
pub(super) fn external(
    container: &[Mount],
    host: &[Mount],
    told: &BTreeMap<PathBuf, PathBuf>,
    has_cgroups: bool,
) -> Vec<External> {
    let is_own_system = |mount: &&Mount| {
        if has_cgroups && mount.fstype == "cgroup" {
            return true;
        }
        let whole = OWN.contains(&mount.fstype.as_str()) && mount.root == Path::new("/");
        let is_outside = told.contains_key(&mount.place) || came_with_another(mount, host, told);
        mount.place == Path::new("/") || (whole && !is_outside)
    };
    let own: Vec<&Mount> = container.iter().filter(is_own_system).collect();
    let is_inside = |mount: &Mount| {
        let part_of = |own: &&Mount| own.device == mount.device && mount.root.starts_with(&own.root);
        !told.contains_key(&mount.place) && own.iter().any(part_of)
    };
    let mut found: Vec<External> = Vec::new();
    for mount in container.iter().filter(|mount| !is_inside(mount)) {
        // The last one hides those before it.
        found.retain(|other| other.destination != mount.place);
        found.push(External {
            destination: mount.place.clone(),
            told: told.get(&mount.place).cloned(),
            seen: mountinfo::places(mount, host),
        });
    }
    found
}

/// Whether a mount is one of the host's that came with the directory that it is mounted on (a recursive bind mount).
fn came_with_another(mount: &Mount, host: &[Mount], told: &BTreeMap<PathBuf, PathBuf>) -> bool {
    let is_below = |place: &PathBuf| mount.place != *place && mount.place.starts_with(place);
    told.keys().any(is_below) && host.iter().any(|other| other.device == mount.device)
}

impl External {
    /// With its source, if that was found.
    pub(super) fn from(self, source: Option<PathBuf>) -> Bind {
        // A masked file: all of them have one name with runc, and so with who restores what runc has dumped.
        let is_mask = self.told.is_none() && source.as_deref() == Some(Path::new(NULL));
        let name = if is_mask { NULL.to_owned() } else { self.destination.display().to_string() };
        Bind { destination: self.destination, name, source }
    }
}

/// What masks files.
const NULL: &str = "/dev/null";

/// The `external` options of a dump.
pub(super) fn for_dump(binds: &[Bind]) -> Vec<String> {
    binds.iter().map(|bind| format!("mnt[{}]:{}", bind.destination.display(), bind.name)).collect()
}

/// Those of a restore, each name once.
pub(super) fn for_restore(binds: &[Bind]) -> Vec<String> {
    let option = |bind: &Bind| Some(format!("mnt[{}]:{}", bind.name, bind.source.as_ref()?.display()));
    let mut options: Vec<String> = binds.iter().filter_map(option).collect();
    options.sort();
    options.dedup();
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docker on v1 with vfs: /dev, /proc and so on are the container's own, /proc/sys a part of that, the rest the host's.
    const CONTAINER: &str = "\
600 500 254:0 /docker/vfs/dir/0123 / rw - ext4 /dev/vda rw
601 600 0:60 / /proc rw - proc proc rw
602 600 0:61 / /dev rw - tmpfs tmpfs rw,size=65536k
603 602 0:62 / /dev/pts rw - devpts devpts rw
604 600 0:63 / /sys ro - sysfs sysfs ro
605 604 0:64 / /sys/fs/cgroup rw - tmpfs tmpfs rw
606 605 0:30 /docker/0123 /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory
607 602 0:65 / /dev/shm rw - tmpfs shm rw
608 600 254:0 /docker/containers/0123/hosts /etc/hosts rw - ext4 /dev/vda rw
609 600 254:0 /srv/data /data rw - ext4 /dev/vda rw
610 609 0:70 / /data/disk rw - tmpfs tmpfs rw
611 601 0:61 /null /proc/kcore rw - tmpfs tmpfs rw
612 601 0:60 /sys /proc/sys ro - proc proc rw
613 602 0:62 /0 /dev/console rw - devpts devpts rw
614 600 0:71 / /mine rw - tmpfs tmpfs rw
";
    const HOST: &str = "\
1 0 254:0 / / rw - ext4 /dev/vda rw
2 1 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
3 1 0:65 / /docker/containers/0123/shm rw - tmpfs shm rw
4 1 0:70 / /srv/data/disk rw - tmpfs tmpfs rw
";

    #[test]
    fn what_is_the_containers_own_is_told_from_what_is_the_hosts() {
        let told = BTreeMap::from([("/data".into(), "/srv/data".into())]);
        let find =
            |has_cgroups| external(&mountinfo::parse(CONTAINER), &mountinfo::parse(HOST), &told, has_cgroups);
        assert!(find(true).iter().all(|one| !one.destination.starts_with("/sys/fs/cgroup")));
        let found = find(false);
        let places: Vec<_> = found
            .iter()
            .map(|one| (one.destination.to_str().unwrap(), one.seen[0].to_str().unwrap(), one.told.is_some()))
            .collect();
        assert_eq!(
            places,
            [
                ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/docker/0123", false),
                ("/etc/hosts", "/docker/containers/0123/hosts", false),
                ("/data", "/srv/data", true),
                ("/data/disk", "/srv/data/disk", false),
            ]
        );
    }

    #[test]
    fn names_are_places_but_for_masked_files() {
        let at = |place: &str, told: bool| External {
            destination: place.into(),
            told: told.then(|| NULL.into()),
            seen: Vec::new(),
        };
        let binds = [
            at("/etc/hosts", false).from(Some("/h".into())),
            at("/proc/keys", false).from(Some(NULL.into())),
            at("/proc/timer_list", false).from(Some(NULL.into())),
            at("/mine", true).from(Some(NULL.into())),
            at("/lost", false).from(None),
        ];
        let dump = for_dump(&binds);
        assert_eq!(dump[..2], ["mnt[/etc/hosts]:/etc/hosts", "mnt[/proc/keys]:/dev/null"]);
        assert_eq!(dump[3..], ["mnt[/mine]:/mine", "mnt[/lost]:/lost"]);
        assert_eq!(
            for_restore(&binds),
            ["mnt[/dev/null]:/dev/null", "mnt[/etc/hosts]:/h", "mnt[/mine]:/dev/null"]
        );
    }
}
