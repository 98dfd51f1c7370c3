//! What the figures were measured on.

use std::fs;
use std::process::Command;

use crate::runner::Cost;
use crate::runtime::Programs;
use crate::stats;

/// A list of machine, programs and conditions, as Markdown.
///
/// `load` is what [`load`] said at the beginning, `floor` what a program that does nothing costs here, started the same way.
pub(crate) fn list(programs: &Programs, cgroups: &str, load: &str, floor: &Cost) -> String {
    let rt = &programs.runtimes[0];
    let size = fs::metadata(&rt.path).map(|data| data.len()).unwrap_or_default();
    let versions = programs.runtimes.iter().map(|runtime| runtime.version.clone());
    let versions =
        versions.chain([format!("criu {}", programs.criu_version())]).collect::<Vec<_>>().join(", ");
    let facts = [
        format!("date: {}", output("date", &["-u", "+%F"])),
        format!(
            "machine: Linux {}, {} CPUs ({}), load average {load} at the beginning, cgroups {cgroups}",
            read("/proc/sys/kernel/osrelease"),
            std::thread::available_parallelism().map_or(0, usize::from),
            cpu_model(),
        ),
        format!("programs: {versions}"),
        format!("rt's release binary: {:.2} MiB ({size} bytes, stripped)", size as f64 / 1024.0 / 1024.0),
        format!(
            "a program that does nothing, started the same way: {:.1} ms wall, {:.1} ms CPU, {:.1} MiB",
            stats::wall(floor),
            stats::cpu(floor),
            stats::peak(floor)
        ),
    ];
    facts.map(|fact| format!("- {fact}")).join("\n")
}

/// The load average of the last minute. Asked before the first measurement, it tells whether the figures are to be trusted:
/// on a quiet machine it is close to 0.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown", |(_, model)| model).to_owned()
}
