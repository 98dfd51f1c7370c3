//! Who belongs to a container.
//!
//! The cgroup knows. A container without one (an unprivileged user's, see [`Rootless`](super::Rootless)) is looked for in
//! /proc: init, all that are in its pid namespace if it has one of its own, and all that descend from these.

use crate::error::{Error, Result};
use crate::store::{ProcessId, Record};
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The pids of a container's processes, as this process sees them.
pub(crate) fn pids(record: &Record) -> Result<Vec<i32>> {
    if !record.cgroup.is_none() {
        return Ok(record.cgroup.processes()?);
    }
    match record.init {
        Some(init) if init.is_alive()? => Ok(related(init)),
        _ => Ok(Vec::new()),
    }
}

/// Sends a signal to all of them, of which none can fork meanwhile if they have a cgroup; SIGKILL also reaches those that are frozen.
pub(crate) fn signal_all(record: &Record, signal: i32) -> Result<()> {
    if !record.cgroup.is_none() {
        let is_kill = signal == Signal::KILL.as_raw();
        let sent = if is_kill { record.cgroup.kill_all() } else { record.cgroup.signal_all(signal) };
        return Ok(sent?);
    }
    for pid in pids(record)?.into_iter().filter_map(Pid::from_raw) {
        match sys::process::kill(pid, signal) {
            Err(e) if !e.is(rustix::io::Errno::SRCH.raw_os_error()) => return Err(Error::from(e)),
            _ => {}
        }
    }
    Ok(())
}

fn related(init: ProcessId) -> Vec<i32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let private: Option<PathBuf> =
        namespace(&init.pid.to_string()).filter(|its| Some(its) != namespace("self").as_ref());
    let mut found = BTreeSet::from([init.pid]);
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.parse().ok().and_then(Pid::from_raw) else { continue };
        if private.is_some() && namespace(&name) == private {
            found.insert(pid.as_raw_pid());
        } else if let Ok(Some(stat)) = sys::proc::stat(pid) {
            others.push((pid.as_raw_pid(), stat.parent));
        }
    }
    add_descendants(&mut found, &others);
    found.into_iter().collect()
}

/// Adds whoever of `others` (pid, parent) descends from one that was found.
fn add_descendants(found: &mut BTreeSet<i32>, others: &[(i32, i32)]) {
    loop {
        let before = found.len();
        let children = others.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid);
        let children: Vec<_> = children.collect();
        found.extend(children);
        if found.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_in_any_order() {
        let mut found = BTreeSet::from([10]);
        add_descendants(&mut found, &[(13, 12), (12, 10), (20, 1), (21, 20), (11, 10)]);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [10, 11, 12, 13]);
    }
}
