//! Processes that a signal has stopped (SIGSTOP, ^Z): on cgroup v1 they cannot be frozen and dumped.
//!
//! KERNEL(v1): ptrace(2) waits for a stopped process to become a traced one, which it cannot while its cgroup is frozen; CRIU would wait
//! with it for good, and the container stand still. Without the freezer CRIU fails wherever processes come and go. cgroup2's freezer
//! knows no such trouble.

use crate::error::{Error, Result};
use crate::store::Record;
use rustix::process::Pid;

/// Names the first of them, where they matter.
pub(super) fn refuse(record: &Record) -> Result<()> {
    if record.cgroup.path("freezer").is_none() {
        return Ok(());
    }
    for pid in record.cgroup.processes()? {
        let stat = Pid::from_raw(pid).map(sys::proc::stat).transpose()?.flatten();
        if stat.is_some_and(|stat| stat.state == b'T') {
            return Err(Error::Request(format!(
                "container cannot be checkpointed: process {pid} is stopped by a signal, and on cgroup v1 CRIU would wait for it \
                 forever; send it SIGCONT first"
            )));
        }
    }
    Ok(())
}
