//! Statistics of the old hierarchies.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Blkio, BlkioEntry, Cpu, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Stats, number, parse, text};
use crate::error::Result;
use crate::group::Cgroup;

/// One clock tick, in nanoseconds; USER_HZ is 100 everywhere.
const TICK: u64 = 1_000_000_000 / 100;

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(dir) = cgroup.path("cpu") {
        throttling(dir, &mut stats.cpu)?;
    }
    if let Some(dir) = cgroup.path("cpuacct") {
        usage(dir, &mut stats.cpu)?;
    }
    if let Some(dir) = cgroup.path("cpuset") {
        stats.cpuset = cpuset(dir)?;
    }
    if let Some(dir) = cgroup.path("memory") {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = cgroup.path("pids") {
        stats.pids = pids(dir)?;
    }
    if let Some(dir) = cgroup.path("blkio") {
        stats.blkio = blkio(dir)?;
    }
    Ok(stats)
}

fn throttling(dir: &Path, cpu: &mut Cpu) -> Result<()> {
    let stat = text("cpu", dir, "cpu.stat")?;
    cpu.throttling.periods = parse::value(&stat, "nr_periods");
    cpu.throttling.throttled_periods = parse::value(&stat, "nr_throttled");
    cpu.throttling.throttled_time = parse::value(&stat, "throttled_time");
    Ok(())
}

fn usage(dir: &Path, cpu: &mut Cpu) -> Result<()> {
    let text = |file| text("cpuacct", dir, file);
    let stat = text("cpuacct.stat")?;
    cpu.usage.user = parse::value(&stat, "user").saturating_mul(TICK);
    cpu.usage.kernel = parse::value(&stat, "system").saturating_mul(TICK);
    cpu.usage.total = parse::number(&text("cpuacct.usage")?);
    cpu.usage.percpu = parse::numbers(&text("cpuacct.usage_percpu")?);
    (cpu.usage.percpu_kernel, cpu.usage.percpu_user) = parse::usage_all(&text("cpuacct.usage_all")?);
    Ok(())
}

fn cpuset(dir: &Path) -> Result<Cpuset> {
    let text = |file| text("cpuset", dir, file);
    let number = |file| number("cpuset", dir, file);
    Ok(Cpuset {
        cpus: parse::ranges(&text("cpuset.cpus")?),
        cpu_exclusive: number("cpuset.cpu_exclusive")?,
        mems: parse::ranges(&text("cpuset.mems")?),
        mem_hardwall: number("cpuset.mem_hardwall")?,
        mem_exclusive: number("cpuset.mem_exclusive")?,
        memory_migrate: number("cpuset.memory_migrate")?,
        memory_spread_page: number("cpuset.memory_spread_page")?,
        memory_spread_slab: number("cpuset.memory_spread_slab")?,
        memory_pressure: number("cpuset.memory_pressure")?,
        sched_load_balance: number("cpuset.sched_load_balance")?,
        sched_relax_domain_level: text("cpuset.sched_relax_domain_level")?.trim().parse().unwrap_or_default(),
    })
}

fn memory(dir: &Path) -> Result<Memory> {
    let stat = text("memory", dir, "memory.stat")?;
    let raw: BTreeMap<_, _> = parse::pairs(&stat).map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or_default(),
        usage: memory_entry(dir, "memory")?,
        swap: memory_entry(dir, "memory.memsw")?,
        kernel: memory_entry(dir, "memory.kmem")?,
        kernel_tcp: memory_entry(dir, "memory.kmem.tcp")?,
        raw,
        psi: None,
    })
}

fn memory_entry(dir: &Path, name: &str) -> Result<MemoryEntry> {
    let number = |file: &str| number("memory", dir, &format!("{name}.{file}"));
    Ok(MemoryEntry {
        limit: number("limit_in_bytes")?,
        usage: number("usage_in_bytes")?,
        max: number("max_usage_in_bytes")?,
        failcnt: number("failcnt")?,
    })
}

fn pids(dir: &Path) -> Result<Pids> {
    let number = |file| number("pids", dir, file);
    Ok(Pids {
        current: number("pids.current")?,
        limit: Some(number("pids.max")?).filter(|n| *n != u64::MAX).unwrap_or(0),
    })
}

type Table = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

const BYTES: Table = |blkio| &mut blkio.io_service_bytes_recursive;
const SERVICED: Table = |blkio| &mut blkio.io_serviced_recursive;
/// What a scheduler with all its counters tells, besides bytes and operations.
const COUNTERS: [(&str, Table); 6] = [
    ("sectors_recursive", |blkio| &mut blkio.sectors_recursive),
    ("io_service_time_recursive", |blkio| &mut blkio.io_service_time_recursive),
    ("io_wait_time_recursive", |blkio| &mut blkio.io_wait_time_recursive),
    ("io_merged_recursive", |blkio| &mut blkio.io_merged_recursive),
    ("io_queued_recursive", |blkio| &mut blkio.io_queued_recursive),
    ("time_recursive", |blkio| &mut blkio.io_time_recursive),
];

/// The first group of files in which there is something, as runc looks for it: the BFQ scheduler's with its counters for
/// debugging and without, the old CFQ's, and what throttling counts.
fn blkio(dir: &Path) -> Result<Blkio> {
    let with_counters = |prefix: &str| {
        let both = [("io_serviced_recursive", SERVICED), ("io_service_bytes_recursive", BYTES)];
        let all = COUNTERS.iter().chain(&both);
        all.map(|(file, table)| (format!("{prefix}.{file}"), *table)).collect::<Vec<_>>()
    };
    let two = |prefix: &str, suffix: &str| {
        vec![
            (format!("{prefix}.io_serviced{suffix}"), SERVICED),
            (format!("{prefix}.io_service_bytes{suffix}"), BYTES),
        ]
    };
    let groups = [
        with_counters("blkio.bfq"),
        two("blkio.bfq", "_recursive"),
        with_counters("blkio"),
        two("blkio.throttle", "_recursive"),
        two("blkio.throttle", ""),
    ];
    let mut blkio = Blkio::default();
    for group in groups {
        for (index, (file, table)) in group.iter().enumerate() {
            let entries = parse::device_lines(&text("blkio", dir, file)?);
            match (index, entries.is_empty()) {
                (0, true) => break,
                (_, true) => return Ok(blkio),
                _ => *table(&mut blkio) = entries,
            }
            if index + 1 == group.len() {
                return Ok(blkio);
            }
        }
    }
    Ok(blkio)
}

/// Reservations where the kernel counts them (5.7), else what is in use.
pub(super) fn hugetlb(dir: &Path) -> Result<BTreeMap<String, Hugetlb>> {
    let mut sizes = BTreeMap::new();
    for size in super::huge_page_sizes() {
        let number = |file: &str| number("hugetlb", dir, &format!("hugetlb.{size}.{file}"));
        let reserved = text("hugetlb", dir, &format!("hugetlb.{size}.rsvd.usage_in_bytes"))?;
        let prefix = if reserved.is_empty() { "" } else { "rsvd." };
        let entry = Hugetlb {
            usage: number(&format!("{prefix}usage_in_bytes"))?,
            max: number(&format!("{prefix}max_usage_in_bytes"))?,
            failcnt: number(&format!("{prefix}failcnt"))?,
        };
        sizes.insert(size, entry);
    }
    Ok(sizes)
}
