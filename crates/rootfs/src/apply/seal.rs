//! The last stage: hide, write-protect, and leave.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::Context;
use sys::mount::{self, AttrChange, Depth, attr};
use sys::path;

use super::Rootfs;
use crate::Result;
use crate::error::InStep;

const READONLY: AttrChange = AttrChange { set: attr::RDONLY, clear: 0 };

impl Rootfs<'_> {
    /// Write-protects what was kept open, hides the masked paths, and sets the umask. After [`pivot`](Self::pivot), as the
    /// last step that needs mount privileges.
    pub fn finish(mut self) -> Result<()> {
        if self.plan.devices.is_some() {
            reopen_null().step(|| "reopen \"/dev/null\"".to_owned())?;
        }
        for (name, mount) in &self.late_readonly {
            mount::set_attr(mount, Depth::One, READONLY).step(|| format!("{name}, read-only"))?;
        }
        if self.plan.readonly_root {
            mount::set_attr(&self.root, Depth::One, READONLY)
                .step(|| "make the root read-only".to_owned())?;
        }
        for path in &self.plan.readonly_paths {
            self.protect(path).step(|| format!("linux.readonlyPaths: {path:?}"))?;
        }
        for path in &self.plan.masked {
            self.hide(path).step(|| format!("linux.maskedPaths: {path:?}"))?;
        }
        rustix::process::umask(Mode::from_raw_mode(self.plan.umask & 0o777));
        Ok(())
    }

    /// What is at a path of the container; `None` only where there is nothing (CVE-2025-31133: every other failure must
    /// not be taken for "nothing to hide").
    fn find(&self, path: &Path) -> sys::Result<Option<OwnedFd>> {
        match self.root.open(path) {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Covers a path with a read-only view of itself. Mounts below come along as they are.
    fn protect(&self, path: &Path) -> sys::Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let view = mount::clone_tree(&target, Depth::Tree)?;
        mount::set_attr(&view, Depth::One, READONLY)?;
        mount::move_mount(view, target)
    }

    /// Covers a file with /dev/null and a directory with an empty one.
    ///
    /// The first path gets the mount itself and each later one a clone of the one before: a clone has the attributes of its
    /// original, so they are set once. KERNEL(6.15): only from then on a mount can be cloned before it is attached.
    fn hide(&mut self, path: &Path) -> sys::Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let Some(masks) = &mut self.masks else { return Ok(()) };
        let mask = if path::is_dir(&target)? { &mut masks.empty } else { &mut masks.null };
        if mask.attached {
            mask.mount = mount::clone_tree(&mask.mount, Depth::One)?;
        }
        mask.attached = true;
        mount::move_mount(&mask.mount, target)
    }
}

/// Standard streams that are the host's /dev/null become the container's: the host's would keep the old root's mount in
/// use, and a checkpoint could not say what it is. A container without a /dev/null keeps them.
pub fn reopen_null() -> sys::Result<()> {
    let stdio = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // A closed stream is not null, and none of our business.
    let [stdin, stdout, stderr] = stdio.map(|fd| path::is_char_device(fd, 1, 3).unwrap_or(false));
    if !(stdin || stdout || stderr) {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = match rustix::fs::open("/dev/null", flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.call("open", || "\"/dev/null\"".to_owned())?,
    };
    if !path::is_char_device(&null, 1, 3)? {
        return Err(sys::Error::new(
            "open",
            "\"/dev/null\", which is another device",
            Errno::NODEV.raw_os_error(),
        ));
    }
    let dup = |wanted: bool, dup2: fn(BorrowedFd<'_>) -> rustix::io::Result<()>| {
        if wanted { dup2(null.as_fd()).call("dup2", || "\"/dev/null\"".to_owned()) } else { Ok(()) }
    };
    dup(stdin, |fd| rustix::stdio::dup2_stdin(fd))?;
    dup(stdout, |fd| rustix::stdio::dup2_stdout(fd))?;
    dup(stderr, |fd| rustix::stdio::dup2_stderr(fd))
}
