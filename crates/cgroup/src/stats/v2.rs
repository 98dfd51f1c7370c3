//! Statistics of cgroup2, told as v1 would.

use std::collections::BTreeMap;
use std::path::Path;

use super::{
    Blkio, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Pids, Stats, Throttling, number, parse, text,
};
use crate::error::Result;
use crate::group::{Cgroup, UNIFIED};

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let Some(dir) = cgroup.path(UNIFIED) else { return Ok(Stats::default()) };
    Ok(Stats {
        cpu: cpu(dir)?,
        memory: memory(dir)?,
        pids: pids(cgroup, dir)?,
        blkio: blkio(dir)?,
        ..Stats::default()
    })
}

fn cpu(dir: &Path) -> Result<Cpu> {
    let stat = text("cpu", dir, "cpu.stat")?;
    let nanoseconds = |name| parse::value(&stat, name).saturating_mul(1000);
    Ok(Cpu {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: parse::value(&stat, "nr_periods"),
            throttled_periods: parse::value(&stat, "nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        },
        psi: parse::pressure(&text("cpu", dir, "cpu.pressure")?),
    })
}

fn memory(dir: &Path) -> Result<Memory> {
    let psi = parse::pressure(&text("memory", dir, "memory.pressure")?);
    let stat = text("memory", dir, "memory.stat")?;
    if stat.is_empty() {
        return Ok(Memory { psi, ..Memory::default() });
    }
    let raw: BTreeMap<_, _> = parse::pairs(&stat).map(|(name, value)| (name.to_owned(), value)).collect();
    let usage = memory_entry(dir, "memory")?;
    let alone = memory_entry(dir, "memory.swap")?;
    // v1 counts both together; the peaks of the two may have been at different times.
    let swap = MemoryEntry {
        limit: alone.limit.saturating_add(usage.limit),
        usage: alone.usage.saturating_add(usage.usage),
        ..MemoryEntry::default()
    };
    Ok(Memory {
        cache: raw.get("file").copied().unwrap_or_default(),
        usage,
        swap,
        raw,
        psi,
        ..Memory::default()
    })
}

fn memory_entry(dir: &Path, name: &str) -> Result<MemoryEntry> {
    let number = |file: &str| number("memory", dir, &format!("{name}.{file}"));
    Ok(MemoryEntry { limit: number("max")?, usage: number("current")?, max: number("peak")?, failcnt: 0 })
}

/// Without the controller, the processes are counted.
fn pids(cgroup: &Cgroup, dir: &Path) -> Result<Pids> {
    let current = text("pids", dir, "pids.current")?;
    if current.is_empty() {
        return Ok(Pids { current: cgroup.processes()?.len() as u64, limit: 0 });
    }
    let limit = parse::number(&text("pids", dir, "pids.max")?);
    Ok(Pids { current: parse::number(&current), limit: Some(limit).filter(|n| *n != u64::MAX).unwrap_or(0) })
}

fn blkio(dir: &Path) -> Result<Blkio> {
    let (io_service_bytes_recursive, io_serviced_recursive) = parse::io_stat(&text("io", dir, "io.stat")?);
    let psi = parse::pressure(&text("io", dir, "io.pressure")?);
    Ok(Blkio { io_service_bytes_recursive, io_serviced_recursive, psi, ..Blkio::default() })
}

/// Sizes without files are left out: on a hybrid machine the controller may be there and not used.
pub(super) fn hugetlb(dir: &Path) -> Result<BTreeMap<String, Hugetlb>> {
    let mut sizes = BTreeMap::new();
    for size in super::huge_page_sizes() {
        let text = |file: &str| text("hugetlb", dir, &format!("hugetlb.{size}.{file}"));
        let mut current = text("rsvd.current")?;
        if current.is_empty() {
            current = text("current")?;
        }
        if !current.is_empty() {
            let failcnt = parse::value(&text("events")?, "max");
            sizes.insert(size, Hugetlb { usage: parse::number(&current), max: 0, failcnt });
        }
    }
    Ok(sizes)
}
