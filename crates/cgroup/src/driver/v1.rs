//! The old hierarchies.

use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::files;
use crate::group::Cgroup;
use crate::settings::Write;

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
    write_lines(dir, exceptions, &lines)
}

/// Turns the policy that stands into the new one, so that what both allow is allowed all the time, and nothing that neither
/// does.
///
/// Where the default itself changes, the kernel knows only a moment with all or nothing in between; the container is held
/// still meanwhile.
pub(super) fn change_devices(cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    let Some(dir) = cgroup.path("devices") else { return set_devices(cgroup, policy) };
    let now = files::read_list("devices", dir, "devices.list")?;
    let Some((allow, deny)) = policy.v1_changes(&now) else {
        return cgroup.while_frozen(|| set_devices(cgroup, policy));
    };
    write_lines(dir, "devices.allow", &allow)?;
    write_lines(dir, "devices.deny", &deny)
}

/// Says more where the kernel only says that memory is in use: runc's words.
pub(super) fn explain_busy(error: Error, dir: &Path, write: &Write) -> Error {
    if error.errno() != Some(Errno::BUSY) || write.file != "memory.limit_in_bytes" {
        return error;
    }
    let number = |file| files::read("memory", dir, file).unwrap_or_default();
    Error::MemoryInUse {
        limit: write.value.clone(),
        usage: number("memory.usage_in_bytes"),
        peak: number("memory.max_usage_in_bytes"),
    }
}

fn write_lines(dir: &Path, file: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = dir.join(file);
    let fd =
        files::open(&path, OFlags::WRONLY).map_err(|errno| Error::file("devices", "open", &path, errno))?;
    for line in lines {
        files::write_once(&fd, line.as_bytes())
            .map_err(|errno| Error::file("devices", format!("write {line:?} to"), &path, errno))?;
    }
    Ok(())
}
