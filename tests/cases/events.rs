//! `events`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use testkit::{
    Case, Container, Fallible, Outcome, Running, Runtime, Test, Value, also_on_v2, both, comparing, json,
    needs, rt_only, wait_until,
};

use super::{SLEEPER, one_line, same};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = also_on_v2(vec![
        both("stats_are_one_line", stats_are_one_line),
        both("stats_of_a_paused_one", stats_of_a_paused_one),
        both("go_on_until_it_is_deleted", go_on_until_it_is_deleted),
        both("wrong_intervals_are_refused", wrong_intervals_are_refused),
        both("of_stopped_is_refused", of_stopped_is_refused),
        rt_only("end_with_the_container", "runc waits for the cgroup's end on v1", end_with_the_container),
        rt_only("a_reader_may_go", "runc goes on writing", a_reader_may_go),
    ]);
    cases.push(both("shortage_of_memory", shortage_of_memory).needs(needs::controllers));
    cases.push(comparing("the_layout_is_runcs", the_layout_is_runcs));
    cases
}

fn stats(container: &Container<'_>) -> Fallible<Value> {
    let output = container.cmd("events", &["--stats"]).succeeds()?;
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    Ok(serde_json::from_str(&output.stdout)?)
}

fn stats_are_one_line(test: &Test) -> Outcome {
    let container = test.run_script("x=0; while [ $x -lt 20000 ]; do x=$((x+1)); done; sleep 1000")?;
    wait_until("some processor time", || {
        stats(&container).is_ok_and(|event| event["data"]["cpu"]["usage"]["total"].as_u64() > Some(1_000_000))
    })?;
    let event = stats(&container)?;
    assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("stats"), Some(container.id.as_str())));
    assert!(event["data"]["pids"]["current"].as_u64() >= Some(1), "{event}");
    Ok(())
}

fn stats_of_a_paused_one(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    assert_eq!(stats(&container)?["type"], "stats");
    assert_eq!(container.status()?, "paused");
    Ok(())
}

/// `events` that writes into a file, and that file.
fn follow(container: &Container<'_>, interval: &str) -> Fallible<(Running, String)> {
    let path = container.test.new_path("events");
    let file = File::create(&path)?;
    Ok((container.cmd("events", &["--interval", interval]).stdout(file).spawn()?, path))
}

/// How many events of this type stand in the file.
fn count(path: &str, kind: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let is_it = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|event| event["type"] == kind);
    text.lines().filter(is_it).count()
}

fn go_on_until_it_is_deleted(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let (running, path) = follow(&container, "100ms")?;
    wait_until("three events", || count(&path, "stats") >= 3)?;
    container.delete()?;
    let output = running.output()?;
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(count(&path, "oom"), 0);
    Ok(())
}

fn end_with_the_container(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let (running, path) = follow(&container, "1h")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    let output = running.output()?;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    assert_eq!(count(&path, "stats"), 0, "an hour has not passed");
    Ok(())
}

fn a_reader_may_go(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let (reader, writer) = std::io::pipe()?;
    let running = container.cmd("events", &["--interval", "50ms"]).stdout(writer).spawn()?;
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut line)?;
    assert!(line.starts_with("{\"type\":\"stats\""), "{line}");
    drop(reader);
    let output = running.output()?;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn shortage_of_memory(test: &Test) -> Outcome {
    let limit = 32 << 20;
    let bundle = test.bundle()?.set("/linux/resources/memory", json!({"limit": limit, "swap": limit}));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    let (mut running, path) = follow(&container, "1h")?;
    // It listens when it waits.
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Where everything is slow more than one process may have to go; init is not to be among them.
    let eat =
        "echo 1000 >/proc/self/oom_score_adj; x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived";
    let output = container.exec(&[], &["sh", "-c", eat]).output()?;
    assert!(!output.stdout.contains("survived"), "{output}");
    wait_until("word of it", || count(&path, "oom") >= 1)?;
    assert_eq!(container.status()?, "running");
    assert!(running.is_running());
    let usage = &stats(&container)?["data"]["memory"]["usage"];
    assert_eq!(usage["limit"].as_u64(), Some(limit));
    container.delete()?;
    assert_eq!(running.output()?.code, 0);
    Ok(())
}

fn wrong_intervals_are_refused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for interval in ["0s", "-1s", "soon", "5"] {
        let output = container.cmd("events", &["--interval", interval]).fails()?;
        one_line(test, &output, &["interval"])?;
    }
    Ok(())
}

fn of_stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("events", &["--stats"]).fails()?;
    one_line(test, &output, &["is not running", &container.id])
}

/// Every path in the document with the type of what is there. What is left out when it is zero is not a part of it.
fn layout(value: &Value, path: &str, found: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| layout(value, &format!("{path}.{name}"), found));
            "object"
        }
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    found.insert(path.to_owned(), kind);
}

/// What comes and goes with its value, and the huge pages, which runc does not see where cgroup2 has them beside v1.
fn is_optional(path: &str) -> bool {
    [".usage", ".max", ".cache", ".total", ".current", ".limit"].iter().any(|end| path.ends_with(end))
        || path.contains(".throttling.")
        || path.contains(".blkio.")
        || path.contains(".hugetlb.")
        // Since runc 1.2, and where the kernel counts.
        || path.contains(".psi")
}

fn the_layout_is_runcs(test: &Test) -> Outcome {
    let resources = json!({
        "memory": {"limit": 128 << 20, "swap": 128 << 20}, "cpu": {"cpus": "0", "quota": 20000, "period": 50000},
    });
    let has_limits = needs::controllers().is_ok();
    let layout_of = |test: &Test| -> Fallible<String> {
        let mut bundle = test.bundle()?;
        if has_limits {
            bundle = bundle.set("/linux/resources", resources.clone());
        }
        let container = test.container(&bundle.script("while :; do usleep 1000; done").build()?);
        container.run(&[])?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        let event = stats(&container)?;
        container.delete()?;
        let mut found = BTreeMap::new();
        layout(&event, "", &mut found);
        let limits =
            ["usage", "swap", "kernel", "kernelTCP"].map(|kind| &event["data"]["memory"][kind]["limit"]);
        let fixed = found.iter().filter(|(path, _)| !is_optional(path));
        let lines: String = fixed.map(|(path, kind)| format!("{path}: {kind}\n")).collect();
        Ok(format!("{lines}{limits:?}\n{}\n", event["data"]["cpuset"]))
    };
    let ours = layout_of(test)?;
    let runcs = test.with_runtime(Runtime::runc(), layout_of)?;
    same("the layout of `events --stats` (rt, runc)", &ours, &runcs)
}
