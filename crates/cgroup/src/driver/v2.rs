//! cgroup2.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::bpf;

use super::words;
use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::files;

const SUBTREE: &str = "cgroup.subtree_control";

/// Hands all available controllers down to `leaf`, as runc does: engines read the statistics of containers without limits
/// too.
///
/// Enabling takes a lock that every fork waits for, so only what is missing is written. What cannot be enabled (an
/// ancestor with processes in it, realtime processes for `cpu`) is missed when a limit asks for it, and named then.
pub(super) fn enable_controllers(leaf: &Path) -> Result<()> {
    enable(leaf, |_| true)
}

/// Whether `controller` has files in `leaf`, where it is handed down if it can be: on a hybrid machine only what is asked
/// for is.
pub(super) fn provide(leaf: &Path, controller: &str) -> bool {
    has_controller(leaf, controller)
        || (enable(leaf, |name| name == controller).is_ok() && has_controller(leaf, controller))
}

fn enable(leaf: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
    let mut chain = Vec::new();
    for dir in leaf.ancestors().skip(1) {
        match words("", dir, SUBTREE) {
            Ok(enabled) => chain.push((dir, enabled)),
            // Above the mount point.
            Err(error) if error.errno() == Some(Errno::NOENT) => break,
            Err(error) => return Err(error),
        }
    }
    let Some((top, _)) = chain.last() else { return Ok(()) };
    let available = words("", top, "cgroup.controllers")?;
    for (dir, enabled) in chain.iter().rev() {
        let missing = available.iter().filter(|name| is_wanted(name) && !enabled.contains(name));
        let missing: Vec<_> = missing.map(|name| format!("+{name}")).collect();
        if !missing.is_empty() && files::write("", dir, SUBTREE, &missing.join(" ")).is_err() {
            for name in &missing {
                let _ = files::write("", dir, SUBTREE, name);
            }
        }
    }
    Ok(())
}

/// Whether `controller` has files in `dir`; for telling a missing controller from a missing file.
pub(super) fn has_controller(dir: &Path, controller: &str) -> bool {
    controller == "cgroup"
        || words("", dir, "cgroup.controllers").is_ok_and(|names| names.iter().any(|n| n == controller))
}

/// Puts the policy's program in the place of the one before it, if any.
///
/// All programs from the cgroup up to the root must allow an access, so a second one next to the first could only forbid
/// more. With one before it, the kernel swaps them in one step; with several (somebody else's work), the new one comes
/// first and then the others go, so that at no moment too much is allowed.
pub(super) fn set_devices(dir: &Path, policy: &Policy) -> Result<()> {
    let cgroup = files::open(dir, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|errno| Error::file("devices", "open", dir, errno))?;
    let old = bpf::device_filters(&cgroup)?;
    if !policy.allows_all() {
        let program = bpf::load_device_filter(&policy.program())?;
        let replaced = if let [only] = old.as_slice() { Some(only.as_fd()) } else { None };
        bpf::attach_device_filter(&cgroup, &program, replaced)?;
        if replaced.is_some() {
            return Ok(());
        }
    }
    for program in old {
        bpf::detach_device_filter(&cgroup, &program)?;
    }
    Ok(())
}
