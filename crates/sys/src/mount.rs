//! The mount API of Linux 5.2 and later: every mount is a descriptor before it has a place.
//!
//! A mount is made detached ([`FsContext`], [`clone_tree`]), gets its attributes ([`set_attr`]) and is then attached
//! with [`move_mount`] to a target that is a descriptor as well. No path is resolved twice, so nobody can exchange a
//! component in between (CVE-2021-30465).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::check;
use crate::{Context, Error, Result};

/// The per-mount attributes of `mount_setattr(2)`, to be or-ed.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits and file capabilities have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The field of the three access time policies; clear it when setting one. `relatime` is the value 0.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times are not updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed. KERNEL(5.14).
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `MOUNT_ATTR_IDMAP`. KERNEL(5.12).
const IDMAP: u64 = 0x10_0000;

/// How mounts and unmounts below a mount travel to and from its peers (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// From the master only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and the mount cannot be bound elsewhere.
    Unbindable,
}

/// Which attributes a `mount_setattr(2)` sets and which it clears (clearing comes first).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear.
    pub clear: u64,
}

impl AttrChange {
    /// Whether nothing would change.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Whether an operation is on one mount or also on all those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// This mount only.
    #[default]
    One,
    /// This mount and those below it.
    Tree,
}

impl Depth {
    fn at_flags(self) -> i32 {
        match self {
            Self::One => libc::AT_EMPTY_PATH,
            Self::Tree => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        }
    }
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
#[derive(Default)]
struct RawMountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: BorrowedFd<'_>, depth: Depth, raw: &RawMountAttr, what: &str) -> Result<()> {
    // SAFETY: the path is an empty C string, `raw` outlives the call, and the size is that of the struct.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            depth.at_flags(),
            std::ptr::from_ref(raw),
            size_of::<RawMountAttr>(),
        )
    };
    check(ret, "mount_setattr", || format!("mount {}, {what}", mount.as_raw_fd())).map(drop)
}

/// Sets and clears attributes of a mount, or of the tree below it in one step.
pub fn set_attr(mount: impl AsFd, depth: Depth, change: AttrChange) -> Result<()> {
    let raw = RawMountAttr { attr_set: change.set, attr_clr: change.clear, ..RawMountAttr::default() };
    let what = format!("+{:#x} -{:#x}", change.set, change.clear);
    mount_setattr(mount.as_fd(), depth, &raw, &what)
}

/// Sets the propagation type of a mount, or of the tree below it. The descriptor must be the mount's own root.
pub fn set_propagation(mount: impl AsFd, depth: Depth, propagation: Propagation) -> Result<()> {
    let (value, name) = match propagation {
        Propagation::Shared => (libc::MS_SHARED, "shared"),
        Propagation::Slave => (libc::MS_SLAVE, "slave"),
        Propagation::Private => (libc::MS_PRIVATE, "private"),
        Propagation::Unbindable => (libc::MS_UNBINDABLE, "unbindable"),
    };
    mount_setattr(mount.as_fd(), depth, &RawMountAttr { propagation: value, ..RawMountAttr::default() }, name)
}

/// Gives a still detached mount the id mapping of a user namespace (`MOUNT_ATTR_IDMAP`, Linux 5.12).
pub fn set_idmap(mount: impl AsFd, depth: Depth, user_namespace: impl AsFd) -> Result<()> {
    let userns_fd = u64::from(user_namespace.as_fd().as_raw_fd().unsigned_abs());
    let raw = RawMountAttr { attr_set: IDMAP, userns_fd, ..RawMountAttr::default() };
    mount_setattr(mount.as_fd(), depth, &raw, "idmap")
}

fn tree_flags(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::One => flags,
        Depth::Tree => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// A detached bind mount of what `place` refers to; with [`Depth::Tree`] of all mounts below it, too.
pub fn clone_tree(place: impl AsFd, depth: Depth) -> Result<OwnedFd> {
    let place = place.as_fd();
    rustix::mount::open_tree(place, "", tree_flags(depth) | OpenTreeFlags::AT_EMPTY_PATH)
        .call("open_tree", || format!("fd {}, clone", place.as_raw_fd()))
}

/// [`clone_tree`] of a path of the host; symbolic links are followed, as for any path that the caller may choose.
pub fn clone_tree_at(path: &Path, depth: Depth) -> Result<OwnedFd> {
    rustix::mount::open_tree(rustix::fs::CWD, path, tree_flags(depth))
        .call("open_tree", || format!("{path:?}, clone"))
}

/// Attaches a mount to `target`; a mount that already has a place is moved.
pub fn move_mount(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let (mount, target) = (mount.as_fd(), target.as_fd());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
        .call("move_mount", || format!("mount {}, target {}", mount.as_raw_fd(), target.as_raw_fd()))
}

/// [`move_mount`] to one entry of a directory; a symbolic link there is not followed.
pub fn move_mount_at(mount: impl AsFd, dir: impl AsFd, name: &str) -> Result<()> {
    let (mount, dir) = (mount.as_fd(), dir.as_fd());
    rustix::mount::move_mount(mount, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call("move_mount", || format!("mount {}, {name:?}", mount.as_raw_fd()))
}

/// A filesystem that is being configured (`fsopen(2)`).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
}

impl FsContext {
    /// Starts a new instance of the filesystem type `fstype`.
    pub fn open(fstype: &str) -> Result<Self> {
        let fd = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .call("fsopen", || format!("{fstype:?}"))?;
        Ok(Self { fd })
    }

    /// Sets an option without a value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(&self.fd, key).call("fsconfig", || self.explain(key))
    }

    /// Sets an option that has a value. The kernel takes at most [`MAX_VALUE`] bytes.
    pub fn set_string(&self, key: &str, value: &str) -> Result<()> {
        rustix::mount::fsconfig_set_string(&self.fd, key, value)
            .call("fsconfig", || self.explain(&format!("{key}={value}")))
    }

    /// Creates the filesystem and a detached mount of it with the [`attr`] bits `attrs`.
    pub fn mount(self, attrs: u64) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.fd).call("fsconfig", || self.explain("create"))?;
        let attrs_arg = MountAttrFlags::from_bits_retain(u32::try_from(attrs).unwrap_or(u32::MAX));
        rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attrs_arg)
            .call("fsmount", || self.explain(&format!("{attrs:#x}")))
    }

    /// The arguments of a failed call, with what the kernel has to say about it (`fsopen(2)`, message retrieval).
    fn explain(&self, args: &str) -> String {
        let mut buffer = [0; 512];
        let length = rustix::io::read(&self.fd, &mut buffer).unwrap_or(0);
        let message = String::from_utf8_lossy(&buffer[..length]);
        // The first word is the severity: "e", "w" or "i".
        match message.trim().split_once(' ') {
            Some((_, text)) => format!("{args:?}: {text}"),
            None => format!("{args:?}"),
        }
    }
}

/// The longest option value that `fsconfig(2)` takes, in bytes (the kernel's copy has 256 with the zero).
pub const MAX_VALUE: usize = 255;

/// `mount(2)`, for what the new calls cannot say: an option value longer than [`MAX_VALUE`].
///
/// The target is passed by its descriptor's name in /proc, so it is not resolved again.
pub fn mount_legacy(source: &str, target: impl AsFd, fstype: &str, flags: u64, data: &str) -> Result<()> {
    let place = format!("/proc/self/fd/{}", target.as_fd().as_raw_fd());
    let text = |text: &str| {
        std::ffi::CString::new(text).map_err(|_| Error::new("mount", format!("{text:?}"), libc::EINVAL))
    };
    let (c_source, c_place, c_type, c_data) = (text(source)?, text(&place)?, text(fstype)?, text(data)?);
    // SAFETY: all pointers are C strings that outlive the call.
    let ret = unsafe {
        libc::mount(c_source.as_ptr(), c_place.as_ptr(), c_type.as_ptr(), flags, c_data.as_ptr().cast())
    };
    check(ret.into(), "mount", || format!("{source:?}, {place:?}, {fstype:?}, {flags:#x}, {data:?}"))
        .map(drop)
}

/// Detaches the mount at `path` lazily, with all below it; a symbolic link there is not followed.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call("umount2", || format!("{path:?}, MNT_DETACH"))
}

/// `pivot_root(".", ".")`: the working directory becomes the root, and the old root lies on top of it.
///
/// `pivot_root(2)`, NOTES: no directory for the old root is needed in the new one.
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").call("pivot_root", || r#"".", ".""#.to_owned())
}
