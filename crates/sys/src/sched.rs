//! How the kernel shares out processors, disks and memory nodes to this process.
//!
//! Everything here is about the calling thread, which is the only one of its process when `rt` calls it.

use crate::error::{Result, check};

/// The most that a kernel can be built for (CONFIG_NR_CPUS).
const MAX_PROCESSORS: usize = 8192;

/// What sched_setattr(2) sets; numbers are the kernel's (sched(7), linux/sched/types.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub runtime: u64,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub deadline: u64,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub period: u64,
}

/// `struct sched_attr` in its first form, SCHED_ATTR_SIZE_VER0, which every kernel takes.
#[repr(C)]
struct KernelAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets policy and parameters of this thread's scheduling.
pub fn set_scheduler(attr: &SchedAttr) -> Result<()> {
    let kernel = KernelAttr {
        size: size_of::<KernelAttr>() as u32,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: the kernel reads as many bytes as the structure says of itself.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const kernel, 0) };
    check(ret, "sched_setattr", || format!("{attr:?}")).map(drop)
}

/// Sets this thread's I/O priority: the class above bit 13, the level below (ioprio_set(2)).
pub fn set_io_priority(value: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: three integers.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(value)) };
    check(ret, "ioprio_set", || format!("{value:#x}")).map(drop)
}

/// Lets this thread run on the processors whose bits are set, as far as they exist and its cpuset allows.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told there are.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    check(ret, "sched_setaffinity", || format!("{mask:x?}")).map(drop)
}

/// The processors that this thread may run on, as a bit mask.
pub fn affinity() -> Result<Vec<u64>> {
    let mut mask = vec![0u64; MAX_PROCESSORS / 64];
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    let ret = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(mask.as_slice()), mask.as_mut_ptr())
    };
    check(ret, "sched_getaffinity", String::new)?;
    Ok(mask)
}

/// Lets this thread run on every processor that its cpuset allows, whatever its parent was bound to.
pub fn reset_affinity() -> Result<()> {
    set_affinity(&[u64::MAX; MAX_PROCESSORS / 64])
}

/// Sets the memory policy: `mode` is `MPOL_*` with its flags, `nodes` a bit mask (set_mempolicy(2)).
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel looks at one bit less than it is told there are, and reads whole words: hence the last word.
    let padded: Vec<u64> = nodes.iter().copied().chain([0]).collect();
    let (mask, bits) =
        if nodes.is_empty() { (std::ptr::null(), 0) } else { (padded.as_ptr(), size_of_val(nodes) * 8 + 1) };
    // SAFETY: `padded` outlives the call and holds at least `bits` bits.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(ret, "set_mempolicy", || format!("{mode:#x}, {nodes:x?}")).map(drop)
}

/// The execution domain of this process until it is dropped: programs that are started meanwhile have it, too.
#[derive(Debug)]
pub struct Personality(libc::c_ulong);

impl Personality {
    /// Sets it.
    pub fn enter(domain: u32) -> Result<Self> {
        // SAFETY: one integer; this one only asks.
        let before = Self(libc::c_ulong::try_from(unsafe { libc::personality(0xffff_ffff) }).unwrap_or(0));
        set_personality(domain)?;
        Ok(before)
    }
}

impl Drop for Personality {
    fn drop(&mut self) {
        // SAFETY: one integer; it was the kernel's own answer.
        unsafe { libc::personality(self.0) };
    }
}

/// Sets the execution domain that the next program starts in (personality(2)).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: one integer.
    let ret = unsafe { libc::personality(domain.into()) };
    check(ret.into(), "personality", || format!("{domain:#x}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_thread_has_anyway_can_be_set() {
        // Each test has a thread of its own, so none of this reaches another.
        set_scheduler(&SchedAttr { nice: 5, ..SchedAttr::default() }).unwrap();
        set_io_priority(2 << 13 | 7).unwrap();
        set_affinity(&[1]).unwrap();
        assert_eq!(affinity().unwrap()[0], 1);
        reset_affinity().unwrap();
        assert!(set_affinity(&[0]).is_err_and(|e| e.is(libc::EINVAL)));
        assert!(set_scheduler(&SchedAttr { policy: 99, ..SchedAttr::default() }).is_err());
    }
}
