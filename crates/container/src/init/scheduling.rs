//! How the process is to be served by processors, disks and memory nodes, and in which execution domain.

use super::failure::{During, Failure, Result};
use spec::{Config, NumberSet, Process};
use sys::sched::{self, SchedAttr};

/// Memory policy, scheduler and I/O priority; all that execve(2) keeps. Before the ids change, since most of it needs
/// CAP_SYS_NICE.
pub(crate) fn apply(config: &Config, process: &Process) -> Result<()> {
    if let Some(policy) = config.memory_policy().during("linux.memoryPolicy")? {
        sched::set_memory_policy(policy.mode, &policy.nodes.words).during("linux.memoryPolicy")?;
    }
    if let Some(scheduler) = &process.scheduler {
        set_scheduler(config, scheduler)?;
    }
    if let Some(priority) = process.io_priority {
        sched::set_io_priority(priority).during("process.ioPriority")?;
    }
    Ok(())
}

fn set_scheduler(config: &Config, given: &spec::Scheduler) -> Result<()> {
    let spec::Scheduler { policy, flags, nice, priority, runtime, deadline, period } = *given;
    let attr = SchedAttr { policy, flags, nice, priority, runtime, deadline, period };
    sched::set_scheduler(&attr).map_err(|e| {
        let hint = if e.is(rustix::io::Errno::PERM.raw_os_error()) { refusal(config, policy) } else { "" };
        Failure::new(format!("process.scheduler: {e}{hint}"))
    })
}

/// What may be in the way of a scheduling policy besides a missing CAP_SYS_NICE (sched(7)).
fn refusal(config: &Config, policy: u32) -> &'static str {
    const DEADLINE: u32 = 6;
    let resources = config.linux().and_then(|l| l.resources().as_ref());
    let has_cpuset = resources.and_then(|r| r.cpu().as_ref()).is_some_and(|cpu| cpu.cpus().is_some());
    match policy {
        DEADLINE if has_cpuset => {
            " (process scheduler can't be used together with AllowedCPUs, linux.resources.cpu.cpus)"
        }
        1 | 2 => " (on cgroup v1 it may need linux.resources.cpu.realtimeRuntime)",
        _ => "",
    }
}

/// The execution domain that the program starts in.
pub(crate) fn set_personality(config: &Config) -> Result<()> {
    match config.personality() {
        Some(domain) => sched::set_personality(domain).during("linux.personality"),
        None => Ok(()),
    }
}

/// Runs on these processors alone.
pub(crate) fn bind_to(processors: &NumberSet, path: &str) -> Result<()> {
    sched::set_affinity(&processors.words).during(path)
}

/// Runs on all processors of the cgroup that it has just entered: what our caller was bound to, say by taskset(1) or systemd's
/// CPUAffinity=, is not the container's business, and since KERNEL(6.2) entering a cpuset does not undo it any more. That
/// it cannot be undone is no reason to fail.
pub(crate) fn unbind() {
    if let Err(e) = sched::reset_affinity() {
        log::debug!("processor affinity stays the caller's: {e}");
    }
}
