//! The mounts of a container: whether CRIU can make each of them again.

use super::Allowed;
use super::finding::Finding;
use super::processes::Process;
use crate::mountinfo::{self, Mount};
use criu::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The mounts of a process; none when it has gone.
pub(super) fn of(pid: i32) -> Vec<Mount> {
    mountinfo::of_process(&pid.to_string()).unwrap_or_default()
}

/// The ids of all mounts that some process of the container sees, and whether something is mounted over the whole of each.
pub(super) fn ids(processes: &[Process]) -> BTreeMap<u64, bool> {
    let mut seen = BTreeSet::new();
    let namespaces = processes.iter().filter(|process| seen.insert(process.namespace("mnt")));
    namespaces.flat_map(|process| covered(&of(process.pid))).collect()
}

pub(super) fn covered(mounts: &[Mount]) -> Vec<(u64, bool)> {
    let places: BTreeSet<(u64, &Path)> =
        mounts.iter().map(|mount| (mount.parent, mount.place.as_path())).collect();
    mounts.iter().map(|mount| (mount.id, places.contains(&(mount.id, mount.place.as_path())))).collect()
}

/// The file systems that CRIU(4.2) mounts by itself.
const KNOWN: [&str; 18] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "binfmt_misc",
    "tmpfs",
    "devpts",
    "simfs",
    "pstore",
    "mqueue",
    "securityfs",
    "fusectl",
    "debugfs",
    "tracefs",
    "cgroup",
    "cgroup2",
    "aufs",
    "overlay",
    "autofs",
];

/// A file system, by what of it is mounted.
#[derive(Default)]
struct Device<'a> {
    /// Its root is.
    has_root: bool,
    /// What CRIU is given: by external mounts, and by the root directory.
    given: Vec<&'a Path>,
}

/// What stands in the way of mounts. `external` are the places of those that CRIU need not make.
pub(super) fn judge(mounts: &[Mount], external: &BTreeSet<PathBuf>, allowed: &Allowed) -> Vec<Finding> {
    let mut devices: BTreeMap<&str, Device<'_>> = BTreeMap::new();
    for mount in mounts {
        let device = devices.entry(&mount.device).or_default();
        device.has_root |= mount.root == Path::new("/");
        if mount.place == Path::new("/") || external.contains(&mount.place) {
            device.given.push(&mount.root);
        }
    }
    let finding = |mount: &Mount| {
        let class = problem(mount, devices.get(mount.device.as_str())?, allowed)?;
        let place = mount.place.display();
        let cure = format!("unmount it, or declare it external: --external mnt[{place}]:NAME");
        Some(Finding::fails(class, format!("{place} ({})", mount.fstype)).cured_by(cure))
    };
    mounts.iter().filter_map(finding).collect()
}

/// CRIU makes a file system whose root is mounted, and binds the other mounts of it from there. What is bound from what it is
/// given needs no making.
fn problem(mount: &Mount, device: &Device<'_>, allowed: &Allowed) -> Option<Class> {
    if device.given.iter().any(|root| mount.root.starts_with(root)) {
        return None;
    }
    match (mount.root.to_str().unwrap_or_default(), mount.fstype.as_str()) {
        ("/", "fuse") => Some(Class::MountFuse),
        ("/", kind) if kind.starts_with("fuse.") || kind == "fuseblk" => Some(Class::MountFuse),
        ("/", kind) => {
            (!KNOWN.contains(&kind) && !allowed.file_systems.accept(kind)).then_some(Class::MountType)
        }
        // Its root is told from where the reader stands (cgroup_namespaces(7)), so "/" in the container is none here. CRIU mounts it anew.
        (_, "cgroup" | "cgroup2") => None,
        _ => (!device.has_root).then_some(Class::MountOutside),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
340 300 8:1 /srv/rootfs / rw,relatime - ext4 /dev/sda1 rw\n\
341 340 0:50 / /proc rw - proc proc rw\n\
342 340 0:51 / /dev rw - tmpfs tmpfs rw\n\
343 342 0:52 / /dev/pts rw - devpts devpts rw\n\
344 342 0:52 /0 /dev/console rw - devpts devpts rw\n\
345 340 8:1 /srv/rootfs/etc /etc2 rw - ext4 /dev/sda1 rw\n\
346 340 8:1 /home/volume /volume rw - ext4 /dev/sda1 rw\n\
347 340 8:2 / /disk rw - xfs /dev/sdb1 rw\n\
348 340 0:60 / /mnt/a\\040b rw - fuse.sshfs host: rw\n\
349 340 0:61 /sub /only rw - tmpfs tmpfs rw\n\
350 340 0:27 /../counter /sys/fs/cgroup rw - cgroup2 cgroup rw\n";

    fn problems(external: &[&str], allowed: &Allowed) -> Vec<(Class, String)> {
        let mounts = mountinfo::parse(MOUNTINFO);
        assert_eq!((mounts.len(), mounts[0].id), (11, 340));
        let external = external.iter().map(PathBuf::from).collect();
        judge(&mounts, &external, allowed)
            .into_iter()
            .map(|finding| (finding.class, finding.object))
            .collect()
    }

    #[test]
    fn what_criu_cannot_make_must_be_external() {
        use Class::{MountFuse, MountOutside, MountType};
        let found = problems(&[], &Allowed::default());
        let expected = [
            (MountOutside, "/volume (ext4)".to_owned()),
            (MountType, "/disk (xfs)".to_owned()),
            (MountFuse, "/mnt/a b (fuse.sshfs)".to_owned()),
            (MountOutside, "/only (tmpfs)".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(problems(&["/volume", "/disk", "/mnt/a b", "/only"], &Allowed::default()), []);
    }

    #[test]
    fn a_mount_over_a_mount_is_seen() {
        let over = "351 341 0:62 / /proc rw - tmpfs none rw\n";
        let mounts = mountinfo::parse(&[MOUNTINFO, over].concat());
        let found: Vec<u64> = covered(&mounts).into_iter().filter(|(_, is)| *is).map(|(id, _)| id).collect();
        assert_eq!(found, [341]);
    }
}
