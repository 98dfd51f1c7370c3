//! `linux.resources.memory`.

use spec::oci::LinuxMemory;

use super::{List, Version, or_max, write};
use crate::error::{Error, Result};

/// "No limit" in the spec.
const UNLIMITED: i64 = -1;

pub(super) fn memory(memory: &LinuxMemory, list: &mut List) -> Result<()> {
    let limit = memory.limit().unwrap_or(0);
    let swap = memory.swap().unwrap_or(0);
    let swappiness = swappiness(memory)?;
    match list.version {
        Version::V1 => {
            v1(memory, limit, swap, list);
            if let Some(value) = swappiness {
                list.push("memory", vec![write("memory.swappiness", &value)], false);
            }
            Ok(())
        }
        // cgroup2 has none for a cgroup: it is the machine's.
        Version::V2 => v2(memory, limit, swap, list),
    }
}

/// Out of range it is an error also where there is nothing to write it to.
fn swappiness(memory: &LinuxMemory) -> Result<Option<u64>> {
    match memory.swappiness() {
        // -1, for "as it is", when it came through an unsigned number.
        None | Some(u64::MAX) => Ok(None),
        Some(value @ 0..=100) => Ok(Some(value)),
        Some(value) => {
            let reason = format!("invalid memory swappiness value {value}: valid range is 0-100");
            Err(Error::resource("memory.swappiness", reason))
        }
    }
}

fn v1(memory: &LinuxMemory, limit: i64, swap: i64, list: &mut List) {
    if limit != 0 {
        list.push("memory", vec![write("memory.limit_in_bytes", &limit)], false);
    }
    // Without a word about swap, memory without limit means both without limit: the kernel wants memsw >= memory.
    let swap = if limit == UNLIMITED && swap == 0 { UNLIMITED } else { swap };
    if swap != 0 {
        // The file is only there if the kernel counts swap; nothing is lost if a limit cannot be taken away.
        list.push("memory", vec![write("memory.memsw.limit_in_bytes", &swap)], swap == UNLIMITED);
    }
    if let Some(reservation) = memory.reservation().filter(|value| *value != 0) {
        list.push("memory", vec![write("memory.soft_limit_in_bytes", &reservation)], false);
    }
    if memory.disable_oom_killer() == Some(true) {
        list.push("memory", vec![write("memory.oom_control", &1)], false);
    }
}

fn v2(memory: &LinuxMemory, limit: i64, swap: i64, list: &mut List) -> Result<()> {
    if let Some(swap) = swap_alone(limit, swap)? {
        // No file means that the kernel has no swap accounting; then "max" and "0" hold by themselves.
        list.push("memory", vec![write("memory.swap.max", &or_max(swap))], swap <= 0);
    }
    if limit != 0 {
        list.push("memory", vec![write("memory.max", &or_max(limit))], false);
    }
    if let Some(reservation) = memory.reservation().filter(|value| *value != 0) {
        list.push("memory", vec![write("memory.low", &or_max(reservation))], false);
    }
    Ok(())
}

/// The spec counts memory and swap together, cgroup2 swap alone; `None` leaves it as it is.
fn swap_alone(limit: i64, swap: i64) -> Result<Option<i64>> {
    let refuse = |reason: String| Err(Error::resource("memory.swap", reason));
    match (limit, swap) {
        (UNLIMITED, 0) => Ok(Some(UNLIMITED)),
        (_, 0) => Ok(None),
        (_, UNLIMITED) => Ok(Some(UNLIMITED)),
        (UNLIMITED, swap) => Ok(Some(swap)),
        (0, _) => refuse("unable to set swap limit without memory limit".to_owned()),
        (limit, _) if limit < 0 => refuse(format!("invalid memory value: {limit}")),
        (limit, swap) if swap < limit => refuse("memory+swap limit should be >= memory limit".to_owned()),
        (limit, swap) => Ok(Some(swap - limit)),
    }
}
