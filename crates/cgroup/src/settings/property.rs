//! Settings in systemd's words, for those that it has a word for.
//!
//! What systemd knows it keeps: it writes the same values again when it is reloaded, and shows them. What it has no word for
//! stands in the files alone, which it leaves as they are.

use std::borrow::Cow;

use dbus::Value;
use spec::NumberSet;

use super::cpu::DEFAULT_PERIOD;
use super::{Setting, Version};

/// A property of a unit (org.freedesktop.systemd1(5), systemd.resource-control(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
    /// The first version of systemd that knows it; 0 for those that all know.
    pub since: u32,
}

impl Property {
    /// A property that every systemd knows.
    pub fn new(name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        Self { name: name.into(), value, since: 0 }
    }

    fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }
}

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;
/// systemd keeps a quota as a whole percentage of a processor; in µs for each second.
const ONE_PERCENT: u128 = 10_000;

/// Files that hold one number, and the property that is the same number.
const NUMBERS: [(&str, &str); 12] = [
    ("cpu.shares", "CPUShares"),
    ("cpu.weight", "CPUWeight"),
    ("blkio.weight", "BlockIOWeight"),
    ("io.weight", "IOWeight"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("memory.min", "MemoryMin"),
    ("memory.low", "MemoryLow"),
    ("memory.high", "MemoryHigh"),
    ("memory.max", "MemoryMax"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.zswap.max", "MemoryZSwapMax"),
    ("pids.max", "TasksMax"),
];

/// The properties for `settings`, in their order; a later one of the same name counts.
pub fn properties(settings: &[Setting], version: Version) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut bandwidth = Bandwidth::default();
    for choice in settings.iter().flat_map(|setting| &setting.choices) {
        let (file, value) = (choice.file.as_ref(), choice.value.as_str());
        match (version, file) {
            (Version::V1, "cpu.cfs_quota_us") => bandwidth.quota = amount(value),
            (Version::V1, "cpu.cfs_period_us") => bandwidth.period = amount(value),
            (Version::V2, "cpu.max") => bandwidth = Bandwidth::of(value),
            // A weight that no number stands for.
            (Version::V2, "cpu.idle") if value == "1" => {
                properties.push(Property::new("CPUWeight", Value::U64(0)).since(252));
            }
            (_, "cpuset.cpus") => properties.extend(set("AllowedCPUs", value)),
            (_, "cpuset.mems") => properties.extend(set("AllowedMemoryNodes", value)),
            _ => properties.extend(number(file, value)),
        }
    }
    properties.extend(bandwidth.properties());
    properties
}

fn number(file: &str, value: &str) -> Option<Property> {
    let (_, name) = NUMBERS.iter().find(|(known, _)| *known == file)?;
    let since = if *name == "MemoryZSwapMax" { 253 } else { 0 };
    // io.weight has weights of devices, too.
    let value = value.strip_prefix("default ").unwrap_or(value);
    Some(Property::new(*name, Value::U64(amount(value)?)).since(since))
}

/// A number of the kernel's files; `max` and -1 are no limit.
fn amount(value: &str) -> Option<u64> {
    let value = value.trim();
    if value == "max" || value.starts_with('-') { Some(INFINITY) } else { value.parse().ok() }
}

/// A list of numbers as systemd wants it: a bit for each, the lowest in the first byte.
fn set(name: &'static str, list: &str) -> Option<Property> {
    let words = NumberSet::parse(list, name).ok()?.words;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0)? + 1);
    Some(Property::new(name, Value::bytes(bytes)).since(244))
}

/// How much of the processors may be used, in the kernel's two numbers.
#[derive(Default)]
struct Bandwidth {
    /// µs in each period; [`INFINITY`] for no limit.
    quota: Option<u64>,
    /// In µs.
    period: Option<u64>,
}

impl Bandwidth {
    /// `cpu.max`, whose second number may be left out.
    fn of(value: &str) -> Self {
        let mut words = value.split_whitespace();
        Self { quota: words.next().and_then(amount), period: words.next().and_then(amount) }
    }

    fn properties(&self) -> Vec<Property> {
        if self.quota.is_none() && self.period.is_none() {
            return Vec::new();
        }
        let period = self.period.filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
        let per_second = match self.quota {
            None | Some(0 | INFINITY) => INFINITY,
            Some(quota) => {
                // Rounded up, so that what systemd writes never is less than what was asked for.
                let exact = u128::from(quota) * 1_000_000 / u128::from(period);
                u64::try_from(exact.div_ceil(ONE_PERCENT) * ONE_PERCENT).unwrap_or(INFINITY)
            }
        };
        let quota = Property::new("CPUQuotaPerSecUSec", Value::U64(per_second));
        let period =
            self.period.map(|period| Property::new("CPUQuotaPeriodUSec", Value::U64(period)).since(242));
        period.into_iter().chain([quota]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(json: &str, version: Version) -> String {
        let resources = serde_json::from_str(json).unwrap();
        let settings = super::super::settings(&resources, version).unwrap();
        let line = |property: &Property| {
            let value = match &property.value {
                Value::U64(INFINITY) => "infinity".to_owned(),
                Value::U64(number) => number.to_string(),
                other => {
                    format!("{other:?}").replace("Byte", "").replace("Array(\"y\", ", "").replace("])", "]")
                }
            };
            let since =
                if property.since == 0 { String::new() } else { format!(" since {}", property.since) };
            format!("{} {value}{since}", property.name)
        };
        properties(&settings, version).iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_systemd_is_told() {
        let table: [(&str, &str, &str); 22] = [
            ("{}", "", ""),
            (r#"{"cpu":{"shares":1024}}"#, "CPUShares 1024", "CPUWeight 100"),
            (r#"{"cpu":{"idle":1,"shares":1024}}"#, "", "CPUWeight 0 since 252"),
            (r#"{"cpu":{"idle":0,"shares":2}}"#, "CPUShares 2", "CPUWeight 1"),
            (
                r#"{"cpu":{"quota":50000}}"#,
                "CPUQuotaPerSecUSec 500000",
                "CPUQuotaPeriodUSec 100000 since 242; CPUQuotaPerSecUSec 500000",
            ),
            (
                r#"{"cpu":{"quota":33333,"period":100000}}"#,
                "CPUQuotaPeriodUSec 100000 since 242; CPUQuotaPerSecUSec 340000",
                "CPUQuotaPeriodUSec 100000 since 242; CPUQuotaPerSecUSec 340000",
            ),
            (
                r#"{"cpu":{"quota":-1,"period":50000}}"#,
                "CPUQuotaPeriodUSec 50000 since 242; CPUQuotaPerSecUSec infinity",
                "CPUQuotaPeriodUSec 50000 since 242; CPUQuotaPerSecUSec infinity",
            ),
            (
                r#"{"cpu":{"period":50000}}"#,
                "CPUQuotaPeriodUSec 50000 since 242; CPUQuotaPerSecUSec infinity",
                "CPUQuotaPeriodUSec 50000 since 242; CPUQuotaPerSecUSec infinity",
            ),
            (
                r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
                "AllowedCPUs [(7), (2)] since 244; AllowedMemoryNodes [(1)] since 244",
                "AllowedCPUs [(7), (2)] since 244; AllowedMemoryNodes [(1)] since 244",
            ),
            (r#"{"cpu":{"realtimeRuntime":1000,"burst":7}}"#, "", ""),
            (r#"{"memory":{"limit":1048576}}"#, "MemoryLimit 1048576", "MemoryMax 1048576"),
            (
                r#"{"memory":{"limit":-1}}"#,
                "MemoryLimit infinity",
                "MemorySwapMax infinity; MemoryMax infinity",
            ),
            (
                r#"{"memory":{"limit":4096,"swap":12288,"reservation":2048}}"#,
                "MemoryLimit 4096",
                "MemorySwapMax 8192; MemoryMax 4096; MemoryLow 2048",
            ),
            (
                r#"{"memory":{"limit":4096,"swap":-1}}"#,
                "MemoryLimit 4096",
                "MemorySwapMax infinity; MemoryMax 4096",
            ),
            (r#"{"pids":{"limit":7}}"#, "TasksMax 7", "TasksMax 7"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax infinity", "TasksMax infinity"),
            (r#"{"pids":{"limit":0}}"#, "TasksMax infinity", "TasksMax infinity"),
            (r#"{"blockIO":{"weight":500}}"#, "BlockIOWeight 500", "IOWeight 4950"),
            (r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}}"#, "", ""),
            (r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":500}]}}"#, "", ""),
            (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4096}]}"#, "", ""),
            (r#"{"network":{"classID":7},"rdma":{"mlx5_1":{"hcaHandles":3}}}"#, "", ""),
        ];
        for (json, v1, v2) in table {
            assert_eq!(
                (told(json, Version::V1).as_str(), told(json, Version::V2).as_str()),
                (v1, v2),
                "{json}"
            );
        }
    }

    #[test]
    fn files_by_name_are_told_too() {
        for (file, value, expected) in [
            ("cpu.max", "max 100000", "CPUQuotaPeriodUSec 100000 since 242; CPUQuotaPerSecUSec infinity"),
            ("cpu.max", "10000", "CPUQuotaPerSecUSec 100000"),
            ("cpu.max", "x", ""),
            ("cpu.weight", "79", "CPUWeight 79"),
            ("cpu.idle", "1", "CPUWeight 0 since 252"),
            ("cpu.idle", "0", ""),
            ("cpuset.cpus", "8", "AllowedCPUs [(0), (1)] since 244"),
            ("cpuset.cpus", "nonsense", ""),
            ("memory.min", "1", "MemoryMin 1"),
            ("memory.high", "max", "MemoryHigh infinity"),
            ("memory.zswap.max", "0", "MemoryZSwapMax 0 since 253"),
            ("memory.oom.group", "1", ""),
            ("io.weight", "default 100", "IOWeight 100"),
            ("io.weight", "8:0 100", ""),
            ("io.max", "8:0 rbps=100", ""),
            ("pids.max", "5", "TasksMax 5"),
            ("hugetlb.2MB.max", "0", ""),
        ] {
            let json = format!(r#"{{"unified":{{"{file}":"{value}"}}}}"#);
            assert_eq!(told(&json, Version::V2), expected, "{json}");
        }
    }
}
