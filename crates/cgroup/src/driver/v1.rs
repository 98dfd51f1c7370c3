//! The old hierarchies.

use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::files;
use crate::group::Cgroup;

/// Gives the container's cpuset the processors and memory nodes of its parent.
///
/// A new v1 cpuset has none, and no process can join it then (`ENOSPC`). The container's own choice, if there is one,
/// is written over this afterwards.
pub(super) fn inherit_cpuset(cgroup: &Cgroup) -> Result<()> {
    let Some(dir) = cgroup.path("cpuset") else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        match inherit(dir, file) {
            // An exclusive sibling has some of the parent's; then only the container's own choice can be right.
            Err(error) if error.errno() == Some(Errno::INVAL) => {}
            result => drop(result?),
        }
    }
    Ok(())
}

/// The value of `dir/file`, taken over from the parent if there is none; the root of the hierarchy always has one.
fn inherit(dir: &Path, file: &'static str) -> Result<String> {
    let own = files::read("cpuset", dir, file)?;
    if !own.is_empty() {
        return Ok(own);
    }
    let Some(parent) = dir.parent() else { return Ok(own) };
    let value = inherit(parent, file)?;
    files::write("cpuset", dir, file, &value)?;
    Ok(value)
}

/// Sets the default, which forgets all exceptions, and then each exception; one open for each file.
pub(super) fn set_devices(cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    let (default, exceptions, lines) = policy.v1_lines();
    let Some(dir) = cgroup.path("devices") else {
        if policy.allows_all() {
            return Ok(());
        }
        let (controller, file) = ("devices".to_owned(), default.to_owned());
        return Err(Error::MissingController { controller, file, value: "a".to_owned() });
    };
    files::write("devices", dir, default, "a")?;
    if lines.is_empty() {
        return Ok(());
    }
    let path = dir.join(exceptions);
    let fd =
        files::open(&path, OFlags::WRONLY).map_err(|errno| Error::file("devices", "open", &path, errno))?;
    for line in lines {
        files::write_once(&fd, line.as_bytes())
            .map_err(|errno| Error::file("devices", format!("write {line:?} to"), &path, errno))?;
    }
    Ok(())
}
