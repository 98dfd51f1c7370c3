//! Another view of the file tree, for as long as it takes to do something in it.

use crate::error::{Context, Result, check};
use crate::process::{Namespaces, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// This process in another mount namespace; dropped, it is back where it was. The namespace lives on in whoever was started or
/// opened in it meanwhile.
#[derive(Debug)]
pub struct MountView {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
    /// It is somebody else's.
    is_foreign: bool,
}

impl MountView {
    /// Enters a new mount namespace, which no mount leaves. Those that are shared with the host get what is mounted there: who restores
    /// a mount that was in such a group takes it from here.
    ///
    /// What must be mounted for one program alone is mounted in such a view, so there is nothing to unmount, also when everybody
    /// is killed. Directories for the program are opened in it too: the kernel lets nobody mount on what was opened in
    /// another mount namespace.
    pub fn private() -> Result<Self> {
        let view = Self::here()?;
        unshare(Namespaces::MOUNT)?;
        mount(None, Path::new("/"), libc::MS_REC | libc::MS_SLAVE)?;
        Ok(view)
    }

    /// Binds `source`, with all below it, onto `target`.
    pub fn bind(&self, source: &Path, target: &Path) -> Result<()> {
        mount(Some(source), target, libc::MS_BIND | libc::MS_REC)
    }

    /// Enters the mount namespace of process `pid`; its root is `/` there.
    pub fn of_process(pid: i32) -> Result<Self> {
        let theirs = open(&format!("/proc/{pid}/ns/mnt"))?;
        let mut view = Self::here()?;
        view.is_foreign = true;
        rustix::thread::move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::Mount))
            .call("setns", || format!("mount namespace of {pid}"))?;
        Ok(view)
    }

    fn here() -> Result<Self> {
        Ok(Self {
            namespace: open("/proc/thread-self/ns/mnt")?,
            root: open("/")?,
            cwd: open(".")?,
            is_foreign: false,
        })
    }

    /// setns(2) moves root and working directory to the namespace's; they go back to where this process had them.
    fn leave(&self) -> Result<()> {
        rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))
            .call("setns", || "mount namespace".into())?;
        rustix::process::fchdir(&self.root).call("fchdir", || "\"/\"".into())?;
        rustix::process::chroot(".").call("chroot", || "\".\"".into())?;
        rustix::process::fchdir(&self.cwd).call("fchdir", || "\".\"".into())
    }
}

impl Drop for MountView {
    fn drop(&mut self) {
        // Every step is one that root may do to what it holds open, so one that fails is worth another try. A process that stayed in a
        // view of its own would leave nothing behind, either. One that stayed in a container would take the container's files for the
        // host's: it must not go on, and what it was doing is for the next command to take back, as after any crash.
        if self.leave().is_err() && self.leave().is_err() && self.is_foreign {
            std::process::abort();
        }
    }
}

fn open(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || format!("{path:?}"))
}

fn mount(source: Option<&Path>, target: &Path, flags: libc::c_ulong) -> Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let (from, to) = (source.map(text), text(target));
    let from = from.as_ref().map_or(std::ptr::null(), |from| from.as_ptr());
    // SAFETY: strings that outlive the call, and null where mount(2) looks at none.
    let ret = unsafe { libc::mount(from, to.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    check(ret.into(), "mount", || format!("{source:?}, {target:?}, {flags:#x}")).map(drop)
}
