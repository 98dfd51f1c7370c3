//! Every file of a container's cgroups, as it is after `create` and after `update`, beside what runc makes of the same.
//!
//! What belongs to different controllers is asked for at once, so that a dozen containers do for all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use testkit::{Case, Cmd, Container, Fallible, Outcome, Runtime, Test, Value, comparing, json, needs};

use super::{SLEEPER, same};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        comparing("created_as_by_runc", created_as_by_runc).needs(needs::controllers),
        comparing("updated_as_by_runc", updated_as_by_runc).needs(needs::controllers),
        comparing("updated_by_options_as_by_runc", updated_by_options_as_by_runc).needs(needs::controllers),
        comparing("refused_as_by_runc", refused_as_by_runc).needs(needs::controllers),
    ]
}

const MIB: i64 = 1 << 20;

/// A field of `linux.resources`, and values for it, each for another container.
type Column = (&'static str, Vec<Value>);

fn columns(test: &Test) -> Vec<Column> {
    let mut columns = vec![cpu(), memory(), pids(), devices()];
    columns.extend(if test.is_on_v2() { on_v2() } else { on_v1() });
    columns
}

fn cpu() -> Column {
    let values = vec![
        json!({"shares": 2}),
        json!({"shares": 512}),
        json!({"shares": 262_144}),
        json!({"shares": 0, "quota": 0, "period": 0}),
        json!({"quota": 50_000}),
        json!({"quota": -1}),
        json!({"period": 20_000}),
        json!({"quota": 5000, "period": 20_000}),
        json!({"quota": 5000, "period": 20_000, "shares": 2048}),
        json!({"cpus": "0"}),
        json!({"mems": "0"}),
        json!({"cpus": "0", "mems": "0", "shares": 100}),
        json!({"cpus": "", "mems": ""}),
        json!({"quota": 1000, "period": 1000}),
        json!({"quota": 200_000, "period": 1_000_000}),
    ];
    ("cpu", values)
}

fn memory() -> Column {
    let values = vec![
        json!({"limit": 64 * MIB}),
        json!({"limit": 64 * MIB, "swap": 64 * MIB}),
        json!({"limit": 64 * MIB, "swap": 128 * MIB}),
        json!({"limit": 64 * MIB, "swap": -1}),
        json!({"limit": -1}),
        json!({"limit": -1, "swap": -1}),
        json!({"limit": 0, "swap": 0, "reservation": 0}),
        json!({"reservation": 32 * MIB}),
        json!({"reservation": -1}),
        json!({"limit": 64 * MIB, "reservation": 32 * MIB}),
        json!({"limit": 64 * MIB + 1}),
        json!({"limit": 64 * MIB, "swappiness": 0}),
        json!({"swappiness": 100}),
        json!({"limit": 64 * MIB, "disableOOMKiller": true}),
        json!({"limit": 64 * MIB, "disableOOMKiller": false, "useHierarchy": true}),
        json!({"limit": 64 * MIB, "kernel": 16 * MIB, "kernelTCP": 8 * MIB}),
        json!({"limit": 64 * MIB, "checkBeforeUpdate": true}),
    ];
    ("memory", values)
}

fn pids() -> Column {
    ("pids", [50, 20, 4_000_000, -1, 0].map(|limit| json!({"limit": limit})).into())
}

fn devices() -> Column {
    let nothing = || json!({"allow": false, "access": "rwm"});
    let rule = |allow: bool, kind: &str, minor: i64, access: &str| json!({"allow": allow, "type": kind, "major": 10, "minor": minor, "access": access});
    let fuse = |access: &str| rule(true, "c", 229, access);
    let disks = json!({"allow": true, "type": "b", "major": 8, "access": "r"});
    let values = vec![
        json!([]),
        json!([nothing()]),
        json!([nothing(), fuse("rwm")]),
        json!([nothing(), fuse("r"), fuse("w")]),
        json!([nothing(), rule(true, "b", 229, "rw"), disks]),
        json!([nothing(), {"allow": true, "type": "c", "access": "rw"}]),
        json!([{"allow": true, "access": "rwm"}]),
        json!([{"allow": true, "type": "a", "access": "rwm"}]),
        json!([nothing(), fuse("rwm"), rule(false, "c", 229, "w")]),
    ];
    ("devices", values)
}

/// Weights of disks are not here: no kernel with v1 has their files any more, but with a scheduler that is a module.
fn on_v1() -> Vec<Column> {
    let Some((major, minor)) = a_disk() else { return Vec::new() };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let values = vec![
        json!({"throttleReadBpsDevice": rate(1 << 20)}),
        json!({"throttleWriteBpsDevice": rate(1 << 21)}),
        json!({"throttleReadIOPSDevice": rate(1000)}),
        json!({"throttleWriteIOPSDevice": rate(2000)}),
        json!({"throttleReadBpsDevice": rate(0), "throttleWriteIOPSDevice": rate(5)}),
        json!({"throttleReadBpsDevice": rate(7), "throttleWriteBpsDevice": rate(8),
               "throttleReadIOPSDevice": rate(9), "throttleWriteIOPSDevice": rate(10)}),
        json!({"weight": 0}),
    ];
    vec![("blockIO", values)]
}

fn on_v2() -> Vec<Column> {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let has = |name: &str| controllers.split_whitespace().any(|found| found == name);
    let mut columns = Vec::new();
    if has("io") {
        columns.push(("blockIO", [10, 500, 1000].map(|weight| json!({"weight": weight})).into()));
    }
    if has("hugetlb") && Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        let limit = |limit: i64| json!([{"pageSize": "2MB", "limit": limit}]);
        columns.push(("hugepageLimits", vec![limit(4 * MIB), limit(0)]));
    }
    let files = vec![
        json!({"memory.high": "67108864"}),
        json!({"memory.low": "1048576", "memory.min": "1048576"}),
        json!({"memory.high": "max", "memory.oom.group": "1"}),
        json!({"cpu.weight": "77"}),
        json!({"cpu.max": "7000 30000"}),
        json!({"pids.max": "33"}),
        json!({"cpuset.cpus": "0"}),
        json!({"cgroup.max.depth": "3", "cgroup.max.descendants": "5"}),
    ];
    columns.push(("unified", files));
    columns
}

/// The numbers of a disk, for limits that want one.
fn a_disk() -> Option<(u32, u32)> {
    let entries = fs::read_dir("/sys/block").ok()?;
    let numbers = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("dev")).ok();
    let disk = entries.flatten().find_map(numbers)?;
    let (major, minor) = disk.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The n-th of each column together.
fn rows(test: &Test) -> Vec<Value> {
    let columns = columns(test);
    let length = columns.iter().map(|(_, settings)| settings.len()).max().unwrap_or(0);
    let row = |index: usize| {
        let cells =
            columns.iter().filter_map(|(field, settings)| Some((*field, settings.get(index)?.clone())));
        Value::Object(cells.map(|(field, value)| (field.to_owned(), value)).collect())
    };
    (0..length).map(row).collect()
}

/// Every setting of the container's cgroups: the files that can be written and read.
fn settings(container: &Container<'_>) -> Fallible<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let controllers: &[&str] = match container.test.is_on_v2() {
        true => &[""],
        false => &["cpu", "cpuset", "memory", "pids", "blkio", "devices"],
    };
    for controller in controllers {
        for entry in fs::read_dir(container.cgroup(controller)?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let mode = entry.metadata()?.mode();
            let is_setting = mode & 0o600 == 0o600 || name == "devices.list";
            if entry.file_type()?.is_file() && is_setting && !is_use(&name) {
                // Some cannot be read at all times.
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                found.insert(name, text);
            }
        }
    }
    Ok(found)
}

/// Files that can be written, but tell what is used.
fn is_use(name: &str) -> bool {
    let ends = [
        "procs",
        "tasks",
        "threads",
        "usage_in_bytes",
        "max_usage_in_bytes",
        "failcnt",
        "usage",
        "pressure",
        "peak",
        "reclaim",
        "usage_percpu",
        "force_empty",
        "usage_in_bytes",
        "slabinfo",
        "memory_pressure",
    ];
    ends.iter().any(|end| name.ends_with(end))
}

/// What runc has in another way than a later one: each with the first version that does as `rt`.
const LATER: [(&str, [u32; 3]); 4] =
    [("cpu.weight", [1, 3, 2]), (".rsvd.", [1, 2, 0]), ("cpu.idle", [1, 2, 0]), ("burst", [1, 2, 0])];

fn runc_version() -> Fallible<[u32; 3]> {
    let output = Cmd::new(Runtime::runc().binary).arg("--version").succeeds()?.stdout;
    let mut numbers = output.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    Ok(std::array::from_fn(|_| numbers.next().unwrap_or(0)))
}

/// The settings as text, without those in which this runc is behind.
fn text(settings: &BTreeMap<String, String>, version: [u32; 3]) -> String {
    let is_comparable =
        |name: &str| !LATER.iter().any(|(part, since)| name.contains(part) && version < *since);
    let lines = |(name, text): (&String, &String)| {
        let lines = text.lines().map(|line| format!("{name}: {line}\n")).collect::<Vec<_>>();
        // The kernel keeps the exceptions in the order in which they came.
        if name == "devices.list" { sorted(lines) } else { lines.concat() }
    };
    settings.iter().filter(|(name, _)| is_comparable(name)).map(lines).collect()
}

fn sorted(mut lines: Vec<String>) -> String {
    lines.sort();
    lines.concat()
}

fn created_as_by_runc(test: &Test) -> Outcome {
    let version = runc_version()?;
    let plain = created(test, &json!({}))?;
    let mut changed = BTreeMap::new();
    for row in rows(test) {
        let ours = created(test, &row)?;
        let theirs = test.with_runtime(Runtime::runc(), |test| created(test, &row))?;
        same(
            &format!("the cgroup after create with {row} (rt, runc)"),
            &text(&ours, version),
            &text(&theirs, version),
        )?;
        changed.extend(ours.into_iter().filter(|(name, text)| plain.get(name) != Some(text)));
    }
    // Else nothing would have been compared.
    assert!(changed.len() >= 12, "only {:?} were ever changed", changed.keys());
    Ok(())
}

fn created(test: &Test, resources: &Value) -> Fallible<BTreeMap<String, String>> {
    let bundle = test.bundle()?.set("/linux/resources", resources.clone()).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.quiet("create", &[]).succeeds()?;
    let settings = settings(&container)?;
    container.delete()?;
    Ok(settings)
}

/// Whether the update succeeds, and the settings afterwards.
fn updated(
    container: &Container<'_>,
    update: impl Fn(&Container<'_>) -> Cmd,
) -> Fallible<(bool, BTreeMap<String, String>)> {
    Ok((update(container).output()?.code == 0, settings(container)?))
}

/// One container of each, to which the same is done time and again.
fn compared<U: std::fmt::Debug>(
    test: &Test,
    steps: &[U],
    update: impl Fn(&Container<'_>, &U) -> Cmd,
) -> Outcome {
    let version = runc_version()?;
    let start = |test: &Test| -> Fallible<testkit::Bundle> {
        test.bundle()?
            .set("/linux/resources", json!({"memory": {"limit": 256 * MIB}}))
            .script(SLEEPER)
            .build()
    };
    let bundle = start(test)?;
    let ours = test.container(&bundle);
    ours.run(&[])?;
    test.with_runtime(Runtime::runc(), |test| {
        let bundle = start(test)?;
        let theirs = test.container(&bundle);
        theirs.run(&[])?;
        for step in steps {
            let what = format!("update with {step:?}");
            let (right, ours) = updated(&ours, |container| update(container, step))?;
            let (runcs_right, theirs) = updated(&theirs, |container| update(container, step))?;
            assert_eq!(right, runcs_right, "success (rt, runc) of {what}");
            same(
                &format!("the cgroup after {what} (rt, runc)"),
                &text(&ours, version),
                &text(&theirs, version),
            )?;
        }
        theirs.delete()
    })
}

fn updated_as_by_runc(test: &Test) -> Outcome {
    // What runc takes from such a document.
    let columns = columns(test);
    let is_updated = |field: &str| matches!(field, "cpu" | "memory" | "pids" | "unified");
    let mut steps = Vec::new();
    for (field, settings) in columns.iter().filter(|(field, _)| is_updated(field)) {
        for value in settings {
            let is_known = value.get("swappiness").or(value.get("disableOOMKiller")).is_none();
            if is_known {
                steps.push(json!({*field: value}).to_string());
            }
        }
    }
    compared(test, &steps, |container, step| container.cmd("update", &["--resources", "-"]).stdin(step))
}

fn updated_by_options_as_by_runc(test: &Test) -> Outcome {
    let mut steps: Vec<&[&str]> = vec![
        &["--memory", "128m"],
        &["--memory", "64MiB", "--memory-swap", "64mb"],
        &["--memory", "1.5g", "--memory-swap", "2g"],
        &["--memory-reservation", "32m"],
        &["--memory", "-1"],
        &["--memory", "100000000", "--memory-swap", "-1"],
        &["--memory-reservation", "-1"],
        &["--memory", "0"],
        &["--cpu-share", "300"],
        &["--cpu-quota", "20000", "--cpu-period", "40000"],
        &["--cpu-quota", "-1"],
        &["--cpuset-cpus", "0"],
        &["--cpuset-mems", "0"],
        &["--cpuset-cpus", "4095"],
        &["--pids-limit", "44"],
        &["--pids-limit", "0"],
        &["--pids-limit", "-1"],
        &["--cpu-share", "x"],
        &["--memory", "12q"],
        &["--memory", "128m", "--cpu-share", "1024", "--pids-limit", "99", "--memory-swap", "-1"],
    ];
    // On v2 these rest on what was set before, which runc 1.1 forgets.
    if !test.is_on_v2() || runc_version()? >= [1, 2, 0] {
        let resting: [&[&str]; 4] = [
            &["--memory", "64m", "--memory-swap", "64m"],
            &["--memory-swap", "200m"],
            &["--cpu-quota", "30000"],
            &["--cpu-period", "50000"],
        ];
        steps.extend(resting);
    }
    compared(test, &steps, |container, step| container.cmd("update", step))
}

fn refused_as_by_runc(test: &Test) -> Outcome {
    let mut refused = vec![
        json!({"memory": {"limit": 64 * MIB, "swap": 32 * MIB}}),
        json!({"cpu": {"cpus": "4095"}}),
        json!({"cpu": {"mems": "7-5"}}),
        json!({"cpu": {"quota": 1}}),
        json!({"cpu": {"period": 1}}),
        json!({"devices": [{"allow": true, "type": "c", "access": ""}]}),
        json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
    ];
    match test.is_on_v2() {
        true => refused.extend([
            json!({"unified": {"memory.high": "many"}}),
            json!({"unified": {"no.such": "1"}}),
            json!({"unified": {"a/b": "1"}}),
        ]),
        false => refused.extend([
            json!({"unified": {"memory.high": "1"}}),
            json!({"memory": {"swappiness": 101}}),
            json!({"cpu": {"shares": 1}}),
            json!({"cpu": {"shares": 262_145}}),
            json!({"memory": {"swap": 64 * MIB}, "pids": {"limit": 5}, "cpu": {"quota": 1}}),
        ]),
    }
    for resources in refused {
        let refuse = |test: &Test| -> Fallible<()> {
            let bundle = test.bundle()?.set("/linux/resources", resources.clone()).script(SLEEPER).build()?;
            test.container(&bundle).quiet("create", &[]).fails()?;
            Ok(())
        };
        refuse(test).map_err(|error| format!("{resources}: {}", error.message().unwrap_or_default()))?;
        test.with_runtime(Runtime::runc(), refuse)
            .map_err(|error| format!("{resources}: {}", error.message().unwrap_or_default()))?;
    }
    test.leaves_nothing()
}
