//! `linux.resources.cpu`.

use spec::oci::LinuxCpu;

use super::{List, Version};
use crate::error::{Error, Result};

/// The kernel's MIN_SHARES; it takes less, and means this.
const MIN_SHARES: u64 = 2;
/// The kernel's MAX_SHARES.
const MAX_SHARES: u64 = 1 << 18;
/// The period, in µs, that the kernel starts with (Documentation/admin-guide/cgroup-v2.rst, cpu.max).
pub(super) const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn cpuset(cpu: &LinuxCpu, list: &mut List) {
    for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            list.put(Some(("cpuset", file)), Some(("cpuset", file)), value);
        }
    }
}

pub(super) fn cpu(cpu: &LinuxCpu, list: &mut List) -> Result<()> {
    // Realtime first: a process with a realtime policy can only join where there is realtime bandwidth.
    if let Some(period) = set(cpu.realtime_period()) {
        list.put(Some(("cpu", "cpu.rt_period_us")), None, &period);
    }
    if let Some(runtime) = set(cpu.realtime_runtime()) {
        list.put(Some(("cpu", "cpu.rt_runtime_us")), None, &runtime);
    }
    if let Some(idle) = cpu.idle() {
        list.put(Some(("cpu", "cpu.idle")), Some(("cpu", "cpu.idle")), &idle);
    }
    // An idle group has no weight, and the kernel refuses to give it one.
    if let Some(shares) = set(cpu.shares()).filter(|_| cpu.idle() != Some(1)) {
        let value = if list.version == Version::V1 { checked(shares)? } else { weight_of(shares) };
        list.put(Some(("cpu", "cpu.shares")), Some(("cpu", "cpu.weight")), &value);
    }
    bandwidth(cpu, list);
    if let Some(burst) = cpu.burst() {
        list.put(Some(("cpu", "cpu.cfs_burst_us")), Some(("cpu", "cpu.max.burst")), &burst);
    }
    Ok(())
}

fn bandwidth(cpu: &LinuxCpu, list: &mut List) {
    let (period, quota) = (set(cpu.period()), set(cpu.quota()));
    if let Some(period) = period {
        list.put(Some(("cpu", "cpu.cfs_period_us")), None, &period);
    }
    if let Some(quota) = quota {
        list.put(Some(("cpu", "cpu.cfs_quota_us")), None, &quota);
    }
    if period.is_some() || quota.is_some() {
        let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        let value = format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD));
        list.put(None, Some(("cpu", "cpu.max")), &value);
    }
}

/// The kernel of v1 takes any number for the nearest that it has, without a word.
fn checked(shares: u64) -> Result<u64> {
    let (limit, word) = match shares {
        0..MIN_SHARES => (MIN_SHARES, "minimum"),
        MIN_SHARES..=MAX_SHARES => return Ok(shares),
        _ => (MAX_SHARES, "maximum"),
    };
    Err(Error::resource("cpu.shares", format!("the {word} allowed cpu-shares is {limit}")))
}

/// Shares of v1 (2 to 262144, 1024 when nobody asks) as a weight of v2 (1 to 10000, 100 when nobody asks).
///
/// The exponents of both lie on the parabola through these three pairs (runc 1.3.2, crun 1.23; before, a straight line made 39
/// of the usual 1024). What is beyond the ends is taken for them.
fn weight_of(shares: u64) -> u64 {
    let exponent = (shares.clamp(MIN_SHARES, MAX_SHARES) as f64).log2();
    let exponent = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
    // A whole number may come out with a trace of something behind the point.
    (10f64.powf(exponent) - 1e-9).ceil() as u64
}

/// Zero means "as it is" for every number here.
fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}
