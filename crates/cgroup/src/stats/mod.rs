//! What a container uses: the numbers that `events` prints, in runc's layout.
//!
//! The types are the document: their fields have the names and the order of runc's, and a number that Go leaves out when it
//! is zero is left out here. A file that this kernel does not have, and a line that cannot be understood, count as nothing:
//! statistics of a container must not fail because a kernel is older or newer.

pub(crate) mod parse;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;
use serde::Serialize;

use crate::error::Result;
use crate::files;
use crate::group::{Cgroup, UNIFIED};

/// All statistics of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes (v1 only).
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by their size (`2MB`).
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// How much was used.
    pub usage: CpuUsage,
    /// How often more was wanted than the quota.
    pub throttling: Throttling,
    /// How long it was waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// By processor, in the kernel (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// By processor, in programs (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the quota took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something ran.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// How long was waited then, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some process waited.
    pub some: Stall,
    /// All processes waited.
    pub full: Stall,
}

/// The share of time that was waited, in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Of the last 10 s.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// All the time that was waited, in microseconds.
    pub total: u64,
}

/// The files of v1's cpuset, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named as the files are")]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Pages of files.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, also where the kernel counts swap alone.
    pub swap: MemoryEntry,
    /// The kernel's memory for it (v1).
    pub kernel: MemoryEntry,
    /// Buffers of TCP (v1).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How long it was waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit.
    pub limit: u64,
    /// What is used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// What was used at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0 is no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices; on v2 bytes and operations only.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "named as the files of v1 are")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "ioQueueRecursive")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long they were waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// A number about one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Its minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write` and so on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// How many.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// What is used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// What was used at most (v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cgroup {
    /// What the container uses and has used.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = if self.is_v2() { v2::stats(self)? } else { v1::stats(self)? };
        // Either generation may have this controller on a hybrid machine.
        stats.hugetlb = match (self.path("hugetlb"), self.path(UNIFIED)) {
            (Some(dir), _) => v1::hugetlb(dir)?,
            (None, Some(dir)) => v2::hugetlb(dir)?,
            (None, None) => BTreeMap::new(),
        };
        Ok(stats)
    }
}

/// The text of a file; empty if there is none, or the kernel has what it tells switched off (`EOPNOTSUPP`).
fn text(controller: &str, dir: &Path, file: &str) -> Result<String> {
    match files::read_list(controller, dir, file) {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP)) => {
            Ok(String::new())
        }
        result => result,
    }
}

/// The number in a file; zero if there is none.
fn number(controller: &str, dir: &Path, file: &str) -> Result<u64> {
    Ok(parse::number(&text(controller, dir, file)?))
}

/// The sizes of huge pages, as the names of cgroup files have them (`2MB`, `1GB`).
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| parse::huge_page_size(entry.file_name().to_str()?);
    entries.filter_map(name).collect()
}
