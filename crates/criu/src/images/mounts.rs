//! What was mounted where.

use super::error::{Damage, Result};
use super::folder::Folder;
use super::frame::Magic;
use super::text;
use crate::wire::images::MntEntry;

/// Twice what the kernel allows in one namespace by default.
const MOST_MOUNTS: usize = 200_000;

/// CRIU's numbers of file systems.
const TYPES: [(u32, &str); 21] = [
    (1, "proc"),
    (2, "sysfs"),
    (3, "devtmpfs"),
    (4, "binfmt_misc"),
    (5, "tmpfs"),
    (6, "devpts"),
    (7, "simfs"),
    (8, "pstore"),
    (9, "securityfs"),
    (10, "fusectl"),
    (11, "debugfs"),
    (12, "cgroup"),
    (13, "aufs"),
    (14, "mqueue"),
    (15, "fuse"),
    (16, "auto"),
    (17, "overlay"),
    (18, "autofs"),
    (19, "tracefs"),
    (23, "cgroup2"),
    (0, "other"),
];

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount namespace, as CRIU counts them.
    pub namespace: u64,
    /// Its number, which open files refer to.
    pub id: u32,
    /// The number of the mount that it stands on.
    pub parent: u32,
    /// Where it is.
    pub mountpoint: String,
    /// The file system's type; `other` where CRIU did not write it down.
    pub file_system: String,
    /// What of the file system is seen: `/`, or the part that is bound.
    pub root: String,
    /// What was mounted, as /proc/PID/mountinfo has it.
    pub source: String,
    /// The name under which the restore must be told what to mount here; None for what the images have.
    pub external: Option<String>,
    /// The size of the image of what is in it (a packed tmpfs).
    pub content: Option<u64>,
}

/// The mounts of all mount namespaces, by their place.
pub(super) fn read(folder: &Folder) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for namespace in folder.numbered("mountpoints-") {
        let name = format!("mountpoints-{namespace}.img");
        let failed = |damage| folder.error(&name, damage);
        let Some(mut image) = folder.image(&name, Magic::MNTS)? else { continue };
        while let Some(entry) = image.next::<MntEntry>().map_err(failed)? {
            if mounts.len() == MOST_MOUNTS {
                return Err(failed(Damage::TooMuch(format!("more than {MOST_MOUNTS} mounts"))));
            }
            image.need(entry.mountpoint.as_ref(), "mountpoint").map_err(failed)?;
            mounts.push(mount(&entry, namespace, folder));
        }
    }
    // What lies on top of another at the same place comes first in the image.
    mounts.reverse();
    mounts.sort_by(|a, b| (a.namespace, &a.mountpoint).cmp(&(b.namespace, &b.mountpoint)));
    Ok(mounts)
}

fn mount(entry: &MntEntry, namespace: u64, folder: &Folder) -> Mount {
    let external = match &entry.ext_key {
        Some(key) => Some(text(key)),
        None => entry.ext_mount().then(|| text(entry.mountpoint())),
    };
    let content = format!("tmpfs-dev-{}.tar.gz.img", entry.root_dev());
    Mount {
        namespace,
        id: entry.mnt_id(),
        parent: entry.parent_mnt_id(),
        mountpoint: text(entry.mountpoint()),
        file_system: match &entry.fsname {
            Some(name) if !name.is_empty() => text(name),
            _ => file_system(entry.fstype()),
        },
        root: text(entry.root()),
        source: text(entry.source()),
        content: folder.files().get(&content).filter(|_| external.is_none()).map(|size| size.length),
        external,
    }
}

fn file_system(number: u32) -> String {
    let known = TYPES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("type {number}"), |(_, name)| (*name).to_owned())
}
