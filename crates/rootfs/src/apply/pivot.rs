//! The container's root becomes `/`.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::Context;
use sys::mount::{self, Depth, Propagation};
use sys::path::Root;

use super::Rootfs;
use crate::Result;
use crate::error::InStep;

impl Rootfs<'_> {
    /// Makes the container's root the root of this process and of its mount namespace; the working directory is `/` then.
    ///
    /// With `no_pivot` the root is moved over `/` instead, which a host that runs from an initramfs needs, and which
    /// leaves more of the host within reach of a container that can escape from a chroot. In a mount namespace that is not the
    /// container's, the process alone gets another root.
    pub fn pivot(&self, no_pivot: bool) -> Result<()> {
        if !self.plan.own_mounts {
            return enter_root(&self.root).step(|| "chroot".to_owned());
        }
        if no_pivot {
            return self.move_root().step(|| "move the root (--no-pivot)".to_owned());
        }
        self.pivot_root()
            .step(|| "pivot_root (a host that runs from an initramfs needs --no-pivot)".to_owned())?;
        self.share_root().step(|| "set the propagation of the container's root".to_owned())
    }

    fn pivot_root(&self) -> sys::Result<()> {
        let host = Root::at(Path::new("/"))?;
        rustix::process::fchdir(&self.root).call("fchdir", || "the rootfs".to_owned())?;
        mount::pivot_root_here()?;
        // What happens on the old root from here on must not reach the host; and lazily, since it is in use.
        rustix::process::fchdir(&host).call("fchdir", || "the old root".to_owned())?;
        mount::set_propagation(&host, Depth::Tree, Propagation::Slave)?;
        mount::detach(Path::new("."))?;
        rustix::process::chdir("/").call("chdir", || "\"/\"".to_owned())
    }

    /// The root was private until now; after the pivot nothing of the host is its peer, so it may be what was asked for.
    fn share_root(&self) -> sys::Result<()> {
        match self.plan.propagation {
            (Propagation::Shared | Propagation::Unbindable, _) => {
                let (propagation, depth) = self.plan.propagation;
                mount::set_propagation(&self.root, depth, propagation)
            }
            // A private mount has no master to be the slave of.
            (Propagation::Slave | Propagation::Private, _) => Ok(()),
        }
    }

    fn move_root(&self) -> sys::Result<()> {
        self.hide_host_filesystems()?;
        let slash = Root::at(Path::new("/"))?;
        mount::move_mount(&self.root, &slash)?;
        enter_root(&self.root)
    }

    /// Takes away the host's whole procfs and sysfs mounts. Under a mere chroot they stay in the mount namespace, and the
    /// kernel, which lets a user namespace mount a procfs only where one without masks is visible, would see them.
    fn hide_host_filesystems(&self) -> sys::Result<()> {
        let table =
            std::fs::read("/proc/self/mountinfo").call("read", || "\"/proc/self/mountinfo\"".to_owned())?;
        let mounts = table.split(|&byte| byte == b'\n').filter_map(whole_pseudo_fs);
        for place in mounts.filter(|place| !place.starts_with(&self.plan.rootfs)) {
            match mount::detach(&place) {
                // Below one that is gone already.
                Err(error) if error.is(Errno::NOENT.raw_os_error()) => {}
                // Locked by a more privileged namespace: cover it.
                Err(error) if [Errno::INVAL, Errno::PERM].iter().any(|e| error.is(e.raw_os_error())) => {
                    let cover = mount::FsContext::open("tmpfs")?.mount(0)?;
                    mount::move_mount(cover, Root::at(&place)?)?;
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// Makes a directory the root of this process, and its working directory.
pub fn enter_root(root: impl AsFd) -> sys::Result<()> {
    rustix::process::fchdir(root).call("fchdir", || "the rootfs".to_owned())?;
    rustix::process::chroot(".").call("chroot", || "\".\"".to_owned())?;
    rustix::process::chdir("/").call("chdir", || "\"/\"".to_owned())
}

/// The mount point of a mountinfo line (`proc_pid_mountinfo(5)`) that shows all of a procfs or sysfs.
fn whole_pseudo_fs(line: &[u8]) -> Option<PathBuf> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let fstype = *fields.get(separator + 1)?;
    let whole = *fields.get(3)? == b"/" && (fstype == b"proc" || fstype == b"sysfs");
    whole.then(|| unescape(fields[4]))
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                bytes.push(code);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_pseudo_filesystems() {
        let line = br"23 28 0:21 / /my\040proc rw,nosuid shared:12 - proc proc rw";
        assert_eq!(whole_pseudo_fs(line), Some(PathBuf::from("/my proc")));
        assert_eq!(whole_pseudo_fs(b"23 28 0:21 /sys /proc/sys rw - proc proc rw"), None);
        assert_eq!(whole_pseudo_fs(b"23 28 0:21 / /tmp rw - tmpfs tmpfs rw"), None);
        assert_eq!(whole_pseudo_fs(b""), None);
    }
}
