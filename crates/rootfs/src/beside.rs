//! A container's file tree in the mount namespace of whoever makes it, beside the host's own mounts.
//!
//! It hangs below one mount, the root's, which lies on the root's own directory. So it can be removed in one go, provided that
//! it is known what it covers: the directory may have been a mount point before, an engine's overlay.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use sys::{Context, mount};

use crate::Result;
use crate::error::InStep;

/// The number of the mount that is at `path` now (statx(2), `STATX_MNT_ID`, KERNEL(5.8)).
pub fn mount_at(path: &Path) -> Result<u64> {
    number(path).step(|| format!("find the mount of {path:?}"))
}

fn number(path: &Path) -> sys::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    let status = rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID);
    status.map(|status| status.stx_mnt_id).call("statx", || format!("{path:?}"))
}

/// Removes the tree of a container from `rootfs`, where the mount number `covered` was before. Where that lies open there is none.
pub fn detach_tree(rootfs: &Path, covered: u64) -> Result<()> {
    let is_gone = |error: &sys::Error| error.is(Errno::NOENT.raw_os_error());
    let detached = match number(rootfs) {
        Ok(number) if number == covered => return Ok(()),
        Err(error) if is_gone(&error) => return Ok(()),
        _ => mount::detach(rootfs),
    };
    match detached {
        // No mount point: somebody else was first.
        Err(error) if is_gone(&error) || error.is(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other.step(|| format!("unmount rootfs {rootfs:?}")),
    }
}
