//! What will be mounted, where and how: pure data, made from the bundle without a system call.

mod build;
mod devices;
mod mounts;

use std::path::{Path, PathBuf};

use sys::mount::{AttrChange, Depth, Propagation};
use sys::path::clean;

use crate::options::{FsOption, SuperFlag};

/// Everything that is known about a container's file tree before it is made.
///
/// Steps are applied in the order of the fields. All that comes from outside has a [name](crate::External) that a dump and a
/// restore both compute from this plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The root of the container on the host, absolute.
    pub rootfs: PathBuf,
    /// Whether the tree is in a mount namespace of the container's. Else it is made in the caller's, below [`rootfs`](Self::rootfs), and
    /// is to be [removed](crate::detach_tree) from there.
    pub own_mounts: bool,
    /// The propagation of the mount namespace's tree (`linux.rootfsPropagation`, `rslave` unless given).
    pub propagation: (Propagation, Depth),
    /// The mounts, in the order of `config.json`.
    pub mounts: Vec<MountStep>,
    /// The device nodes and links of /dev; `None` where /dev is a bind mount and thus somebody else's.
    pub devices: Option<Vec<DeviceNode>>,
    /// Whether devices are bound from the host instead of made: in a user namespace `mknod(2)` is not allowed.
    pub bind_devices: bool,
    /// The SELinux label of the filesystems that are made, the masks' among them.
    pub label: Option<String>,
    /// Paths to hide, absolute and clean; those that do not exist are skipped.
    pub masked: Vec<PathBuf>,
    /// Paths to make read-only, absolute and clean; those that do not exist are skipped.
    pub readonly_paths: Vec<PathBuf>,
    /// Whether the root itself becomes read-only.
    pub readonly_root: bool,
    /// The umask of the container's process.
    pub umask: u32,
}

/// A place in the container as config.json has it: absolute and clean. Where it begins with the path of the root on the host, that is
/// taken off, as in runc: some callers write it as they see it.
fn place(path: &Path, rootfs: &Path) -> PathBuf {
    let path = clean(path);
    match path.strip_prefix(rootfs) {
        Ok(inside) => Path::new("/").join(inside),
        Err(_) => path,
    }
}

/// One entry of `mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountStep {
    /// Its index in `config.json`, for error texts.
    pub index: usize,
    /// The place in the container, absolute and clean; links are resolved when it is opened.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: Kind,
    /// Attributes of the mount.
    pub attrs: AttrChange,
    /// Of what is taken off, what may stay where its owner has locked it (mount_namespaces(7)).
    pub lenient: u64,
    /// Attributes of the mount and all below it.
    pub tree_attrs: AttrChange,
    /// Propagation types to set once it is attached.
    pub propagation: Vec<(Propagation, Depth)>,
    /// It becomes read-only only at the very end, because something is yet to be made in it.
    pub late_readonly: bool,
}

/// What one step mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of the host's tree.
    Bind(Bind),
    /// A piece of the container's own tree that an earlier step mounts; on the host there is nothing.
    Within(Within),
    /// A new instance of a filesystem.
    Fs(Fs),
    /// A tmpfs with the container's own directory of each cgroup v1 hierarchy in it.
    CgroupV1(V1View),
    /// New attributes for what is already there.
    Remount,
}

/// A bind mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The absolute path on the host.
    pub source: PathBuf,
    /// Whether the mounts below the source come along.
    pub depth: Depth,
    /// The id mapping that the mount gets, if any.
    pub idmap: Option<IdMap>,
}

/// A bind mount from within the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// The path in the container, absolute and clean.
    pub source: PathBuf,
    /// Whether the mounts below the source come along.
    pub depth: Depth,
}

/// The mapping of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// Whether the mounts below are mapped as well (`ridmap`).
    pub depth: Depth,
    /// User ids; empty: the mapping of the container's user namespace.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
}

/// One line of `uid_map` (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id on the disk.
    pub container: u32,
    /// The first id as seen through the mount.
    pub host: u32,
    /// How many ids.
    pub size: u32,
}

/// A new filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fs {
    /// Its type, like `tmpfs`.
    pub fstype: String,
    /// The source that mountinfo shows, and for a disk the device.
    pub source: Option<String>,
    /// Flags of the filesystem.
    pub super_flags: Vec<SuperFlag>,
    /// Its own options.
    pub options: Vec<FsOption>,
    /// The place must be a real directory: procfs and sysfs behind a link would not be where masking and security labels
    /// look for them (CVE-2019-19921, CVE-2023-27561).
    pub real_directory: bool,
    /// A tmpfs takes the permissions of the directory that it covers.
    pub inherit_mode: bool,
    /// A tmpfs starts with a copy of what it covers.
    pub copy_up: bool,
    /// An SELinux label that the root gets as an attribute, since the type has no option for it (mqueue).
    pub label: Option<String>,
    /// What is bound with all below it where this namespace may not mount the filesystem.
    pub fallback: Option<PathBuf>,
}

/// The cgroup v1 hierarchies that a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V1View {
    /// One directory each in the container's view.
    pub hierarchies: Vec<Hierarchy>,
    /// Links in the view, as (name, target): `cpu` to `cpu,cpuacct`.
    pub links: Vec<(String, String)>,
    /// The hierarchies are mounted anew, so that a cgroup namespace shows its own root; else directories are bound.
    pub own_namespace: bool,
}

/// One hierarchy of cgroup v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory in the view: the controllers (`cpu,cpuacct`), or the name of a named one (`systemd`).
    pub name: String,
    /// The container's own directory in it, on the host.
    pub host_path: PathBuf,
}

/// Which cgroups the machine has, and where in them the container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupView {
    /// No view: a `cgroup` mount is left out.
    None,
    /// Version 1, or the hybrid layout.
    V1 {
        /// The hierarchies.
        hierarchies: Vec<Hierarchy>,
        /// Links, as (name, target).
        links: Vec<(String, String)>,
    },
    /// The unified hierarchy.
    V2 {
        /// The container's own cgroup directory on the host.
        host_path: PathBuf,
    },
}

/// What the plan depends on besides `config.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The absolute path of the container's root on the host.
    pub rootfs: PathBuf,
    /// The absolute path of the bundle; relative bind sources start here.
    pub bundle: PathBuf,
    /// The container's cgroups.
    pub cgroup: CgroupView,
    /// Whether the container has its own mount namespace.
    pub mount_namespace: bool,
    /// Whether the container has its own user namespace.
    pub user_namespace: bool,
    /// Whether the container has its own cgroup namespace.
    pub cgroup_namespace: bool,
}

/// The kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A device node of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its path in the container, absolute and clean.
    pub path: PathBuf,
    /// Its kind.
    pub kind: DeviceKind,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner, where one was asked for.
    pub uid: Option<u32>,
    /// Its group, where one was asked for.
    pub gid: Option<u32>,
}

#[cfg(test)]
mod tests;
