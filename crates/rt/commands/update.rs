use super::Target;
use crate::context::Context;
use crate::exit::Exit;
use anyhow::{Context as _, bail};
use clap::Args;
use container::ops::{self, Update};
use serde_json::{Map, Value};
use spec::ResourceChange;
use std::io::Read;
use std::path::Path;

/// Change a container's limits
///
/// What is not named stays as it is. A number of 0 leaves a limit as it is, -1 takes it away. A size may have a unit (64m, 1.5GiB).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Read all changes from this file, as the `linux.resources` of config.json, and ignore the other options (- is stdin)
    #[arg(long, short, value_name = "FILE")]
    resources: Option<String>,
    /// Weight among others that use the same disks (10 to 1000)
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<String>,
    /// Period of the processor quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<String>,
    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<String>,
    /// Unused processor time that may be saved for later periods, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<String>,
    /// Weight among others that want to run (2 to 262144)
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<String>,
    /// Period of the quota for realtime processes, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<String>,
    /// Time for realtime processes in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<String>,
    /// Processors to run on (0-3,8)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Obsolete, and ignored
    #[arg(long, value_name = "SIZE", hide = true)]
    kernel_memory: Option<String>,
    /// Obsolete, and ignored
    #[arg(long, value_name = "SIZE", hide = true)]
    kernel_memory_tcp: Option<String>,
    /// Memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Run only when nobody else wants to (1), or not (0)
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<String>,
    /// Memory that it keeps when memory is short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Memory and swap together
    #[arg(long, value_name = "SIZE")]
    memory_swap: Option<String>,
    /// Number of processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<String>,
    /// Parts of the L3 cache to fill (Intel RDT/CAT)
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Memory bandwidth (Intel RDT/MBA)
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    #[command(flatten)]
    target: Target,
}

const IGNORED: &str =
    "setting --kernel-memory and --kernel-memory-tcp is ignored: the kernel took these limits out";

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.kernel_memory.is_some() || arguments.kernel_memory_tcp.is_some() {
        log::warn!("{IGNORED}");
    }
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let request = Update {
        id: arguments.target.id()?,
        resources: match given(&arguments.resources) {
            Some(file) => read(&file)?,
            None => ResourceChange::of(&fields(arguments)?)?,
        },
        l3_cache_schema: given(&arguments.l3_cache_schema),
        mem_bw_schema: given(&arguments.mem_bw_schema),
    };
    ops::update(&context.store, &request)?;
    Ok(Exit::Success)
}

fn read(file: &str) -> anyhow::Result<ResourceChange> {
    if file != "-" {
        let bytes = std::fs::read(Path::new(file)).with_context(|| format!("--resources {file}"))?;
        return Ok(ResourceChange::parse(&bytes, file)?);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("--resources -: read stdin")?;
    Ok(ResourceChange::parse(&bytes, "stdin")?)
}

/// How the text of an option becomes a value.
type Parse = fn(&str) -> Result<Value, String>;

/// The options as the document that `--resources` reads.
fn fields(a: &Arguments) -> anyhow::Result<Value> {
    let options: [(&str, &Option<String>, &str, &str, Parse); 14] = [
        ("blkio-weight", &a.blkio_weight, "blockIO", "weight", unsigned),
        ("cpu-period", &a.cpu_period, "cpu", "period", unsigned),
        ("cpu-quota", &a.cpu_quota, "cpu", "quota", signed),
        ("cpu-burst", &a.cpu_burst, "cpu", "burst", unsigned),
        ("cpu-share", &a.cpu_share, "cpu", "shares", unsigned),
        ("cpu-rt-period", &a.cpu_rt_period, "cpu", "realtimePeriod", unsigned),
        ("cpu-rt-runtime", &a.cpu_rt_runtime, "cpu", "realtimeRuntime", signed),
        ("cpuset-cpus", &a.cpuset_cpus, "cpu", "cpus", |text| Ok(text.into())),
        ("cpuset-mems", &a.cpuset_mems, "cpu", "mems", |text| Ok(text.into())),
        ("cpu-idle", &a.cpu_idle, "cpu", "idle", signed),
        ("memory", &a.memory, "memory", "limit", size),
        ("memory-reservation", &a.memory_reservation, "memory", "reservation", size),
        ("memory-swap", &a.memory_swap, "memory", "swap", size),
        ("pids-limit", &a.pids_limit, "pids", "limit", signed),
    ];
    let mut fields = Map::new();
    for (name, text, group, field, parse) in options {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { continue };
        match parse(text) {
            Ok(value) => {
                fields.entry(group).or_insert_with(|| Map::new().into())[field] = value;
            }
            Err(reason) => bail!("invalid value for {name}: {reason}"),
        }
    }
    Ok(fields.into())
}

fn unsigned(text: &str) -> Result<Value, String> {
    text.parse::<u64>().map(Value::from).map_err(|_| format!("{text:?} is no whole number from 0 on"))
}

fn signed(text: &str) -> Result<Value, String> {
    text.parse::<i64>().map(Value::from).map_err(|_| format!("{text:?} is no whole number"))
}

/// Bytes, as Docker's tools read them: a number, which may have a fraction, and a unit of which each letter is a factor of 1024,
/// with or without `b` or `ib`. -1 is no limit.
fn size(text: &str) -> Result<Value, String> {
    if text == "-1" {
        return Ok((-1).into());
    }
    let bad = || format!("{text:?} is no size");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(bad)? + 1;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let mut letters = unit.chars();
    let power = match letters.next() {
        None | Some('b') => 0,
        Some(letter) => 1 + "kmgtp".find(letter).ok_or_else(|| format!("invalid suffix: '{unit}'"))?,
    };
    let is_unit = match letters.as_str() {
        "" => true,
        "b" | "ib" => power > 0,
        _ => false,
    };
    if !is_unit {
        return Err(format!("invalid suffix: '{unit}'"));
    }
    let bytes = number * 1024f64.powi(i32::try_from(power).unwrap_or_default());
    if !bytes.is_finite() || bytes < 0.0 {
        return Err(bad());
    }
    // What is too large for the kernel's number is its largest.
    Ok((bytes as i64).into())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_dockers() {
        for (text, bytes) in [
            ("-1", -1_i64),
            ("0", 0),
            ("1048576", 1 << 20),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("7b", 7),
            ("1e3", 1000),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "m", "-2", "-5m", "1x", "1kbb", "1bb", "1 mi", "1kib b", "1..2", "inf", "64  m"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
