//! A process' share of the machine: scheduler, priorities, processors, memory nodes, execution domain, clocks.

use testkit::{Bundle, Case, Fallible, Outcome, Test, Value, both, json, needs, rt_only};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, exec_file, one_line};

const UNKNOWN: &str = "runc 1.1 does not know it";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        rt_only("scheduler", UNKNOWN, scheduler),
        rt_only("scheduler_of_exec", UNKNOWN, scheduler_of_exec),
        rt_only("io_priority", UNKNOWN, io_priority),
        rt_only("exec_affinity", UNKNOWN, exec_affinity),
        rt_only("affinity_of_the_caller_is_not_inherited", UNKNOWN, affinity_of_the_caller),
        rt_only("personality", UNKNOWN, personality),
        rt_only("memory_policy", UNKNOWN, memory_policy),
        rt_only("clocks", UNKNOWN, clocks),
        rt_only("clocks_in_a_user_namespace", UNKNOWN, clocks_in_a_user_namespace),
        rt_only("clocks_survive_a_checkpoint", UNKNOWN, clocks_survive_a_checkpoint).needs(needs::criu),
        rt_only("wrong_values", UNKNOWN, wrong_values),
        both("nothing_asked_for", nothing_asked_for),
    ]
}

/// Runs a script with one value of config.json changed; its output.
fn with(test: &Test, pointer: &str, value: Value, script: &str) -> Fallible<String> {
    let container = test.container(&test.bundle()?.set(pointer, value).script(script).build()?);
    Ok(container.run_foreground(&[]).succeeds()?.stdout)
}

/// Nice value, real-time priority and policy, out of /proc/self/stat (proc_pid_stat(5)).
const SCHEDULING: &str = "set -- $(cat /proc/self/stat); shift 18; echo $1; shift 21; echo $1 $2";

/// The nice value that whoever runs the tests has, and so a container that asks for none.
fn own_nice() -> Fallible<String> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let nice = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(17));
    Ok(nice.unwrap_or_default().to_owned())
}

fn scheduler(test: &Test) -> Outcome {
    let batch = json!({"policy": "SCHED_BATCH", "nice": 5});
    assert_eq!(with(test, "/process/scheduler", batch, SCHEDULING)?, "5\n0 3\n");
    // With this flag the program has the priority, and what it starts has not.
    let reset = json!({"policy": "SCHED_OTHER", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let nice =
        "set -- $(cat /proc/1/stat); shift 18; echo $1; set -- $(cat /proc/self/stat); shift 18; echo $1";
    assert_eq!(with(test, "/process/scheduler", reset, nice)?, "-5\n0\n");
    let mut bundle = test.bundle()?.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 3}));
    if std::fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")? {
        // There a cgroup has no time for real-time processes unless it is given some.
        bundle =
            bundle.set("/linux/resources/cpu", json!({"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}));
    }
    let container = test.container(&bundle.script(SCHEDULING).build()?);
    assert_eq!(container.run_foreground(&[]).succeeds()?.stdout, format!("{}\n3 1\n", own_nice()?));
    Ok(())
}

fn scheduler_of_exec(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 4}));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    assert_eq!(container.exec(&[], &["sh", "-c", SCHEDULING]).succeeds()?.stdout, "4\n0 3\n");
    let own = exec_file(&container, &json!({"scheduler": {"policy": "SCHED_IDLE"}}), SCHEDULING)?;
    assert_eq!(own, format!("{}\n0 5\n", own_nice()?));
    assert_eq!(
        exec_file(&container, &json!({}), SCHEDULING)?,
        "4\n0 3\n",
        "without its own, the container's"
    );
    Ok(())
}

fn io_priority(test: &Test) -> Outcome {
    let best_effort = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    let bundle = test.bundle()?.set("/process/ioPriority", best_effort).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let ask = ["ionice", "-p", "1"];
    assert_eq!(container.exec(&[], &ask).succeeds()?.stdout, "best-effort: prio 6\n");
    assert_eq!(container.exec(&[], &["ionice"]).succeeds()?.stdout, "best-effort: prio 6\n");
    let idle = json!({"ioPriority": {"class": "IOPRIO_CLASS_IDLE"}});
    assert_eq!(exec_file(&container, &idle, "ionice")?, "idle\n");
    Ok(())
}

const PROCESSORS: &str = "grep Cpus_allowed_list /proc/self/status | tr -d 'A-Za-z_:\\t '";

fn exec_affinity(test: &Test) -> Outcome {
    let affinity = |fields: Value| json!({ "execCPUAffinity": fields });
    let bundle = test.bundle()?.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    assert_eq!(container.exec(&[], &["sh", "-c", PROCESSORS]).succeeds()?.stdout, "0\n");
    let all = container.exec(&[], &["grep", "Cpus_allowed_list", "/proc/1/status"]).succeeds()?.stdout;
    let all = all.split_whitespace().nth(1).unwrap_or_default();
    assert_eq!(exec_file(&container, &affinity(json!({"initial": "0"})), PROCESSORS)?.trim(), all);
    assert_eq!(exec_file(&container, &affinity(json!({"final": " 0, "})), PROCESSORS)?, "0\n");
    for (list, words) in [("0-x", "final"), ("2-1", "ends before it begins"), ("8191", "final")] {
        let file = test.new_path("process");
        let process = json!({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "execCPUAffinity": {"final": list}});
        std::fs::write(&file, process.to_string())?;
        let output = container.cmd("exec", &["--process", &file]).fails()?;
        one_line(test, &output, &["execCPUAffinity", words])?;
    }
    Ok(())
}

fn affinity_of_the_caller(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(PROCESSORS).build()?);
    let free = container.run_foreground(&[]).succeeds()?.stdout;
    let bound = container.run_foreground(&[]).after_shell("taskset -cp 0 $$ >/dev/null").succeeds()?.stdout;
    assert_eq!(free, bound);
    Ok(())
}

fn personality(test: &Test) -> Outcome {
    let container = test.container(
        &test.bundle()?.set("/linux/personality", json!({"domain": "LINUX32"})).script(SLEEPER).build()?,
    );
    container.run(&[])?;
    let seen = container.exec(&[], &["cat", "/proc/1/personality", "/proc/self/personality"]).succeeds()?;
    assert_eq!(seen.stdout, "00000008\n00000008\n");
    assert_eq!(
        with(test, "/linux/personality", json!({"domain": "LINUX"}), "cat /proc/self/personality")?,
        "00000000\n"
    );
    Ok(())
}

fn memory_policy(test: &Test) -> Outcome {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let bundle = test.bundle()?.set("/linux/memoryPolicy", policy).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let seen = container.exec(&[], &["head", "-n1", "/proc/self/numa_maps"]).succeeds()?.stdout;
    assert!(seen.contains(" bind=static:0 "), "{seen}");
    let seen =
        with(test, "/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}), "head -n1 /proc/self/numa_maps")?;
    assert!(seen.contains(" local "), "{seen}");
    Ok(())
}

const DAY: f64 = 86_400.0;

/// A bundle whose boot time clock is ten days ahead.
fn shifted(test: &Test, script: &str) -> Fallible<Bundle> {
    let offsets = json!({"boottime": {"secs": 864_000}, "monotonic": {"secs": 7, "nanosecs": 8}});
    let builder = test.bundle()?.push("/linux/namespaces", json!({"type": "time"}));
    builder.set("/linux/timeOffsets", offsets).script(script).build()
}

/// How far the container's boot time clock is ahead of the host's, in days.
fn ahead(uptime: &str) -> Fallible<f64> {
    let first = |text: &str| -> Fallible<f64> { Ok(text.split(' ').next().unwrap_or_default().parse()?) };
    Ok((first(uptime)? - first(&std::fs::read_to_string("/proc/uptime")?)?) / DAY)
}

fn clocks(test: &Test) -> Outcome {
    let container = test.container(&shifted(test, SLEEPER)?);
    container.run(&[])?;
    let seen = container.exec(&[], &["cat", "/proc/uptime", "/proc/self/timens_offsets"]).succeeds()?.stdout;
    assert!((9.99..10.01).contains(&ahead(&seen)?), "{seen}");
    let lines: Vec<Vec<_>> = seen.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["monotonic", "7", "8"], ["boottime", "864000", "0"]]);
    let place = |file: &str| container.exec(&[], &["readlink", file]).succeeds().map(|output| output.stdout);
    assert_eq!(place("/proc/1/ns/time")?, place("/proc/self/ns/time")?);
    assert_eq!(place("/proc/1/ns/time")?, place("/proc/1/ns/time_for_children")?);
    Ok(())
}

fn clocks_in_a_user_namespace(test: &Test) -> Outcome {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let builder = test.bundle()?.push("/linux/namespaces", json!({"type": "user"}));
    let builder = builder.push("/linux/namespaces", json!({"type": "time"}));
    let builder = builder.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let builder = builder.set("/linux/timeOffsets", json!({"boottime": {"secs": 864_000}}));
    let container = test.container(&builder.script(SLEEPER).build()?);
    container.run(&[])?;
    let seen = container.exec(&[], &["cat", "/proc/uptime"]).succeeds()?.stdout;
    assert!((9.99..10.01).contains(&ahead(&seen)?), "{seen}");
    Ok(())
}

fn clocks_survive_a_checkpoint(test: &Test) -> Outcome {
    let container = test.container(&shifted(test, COUNTER)?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    let seen = container.exec(&[], &["cat", "/proc/uptime"]).succeeds()?.stdout;
    assert!((9.99..10.01).contains(&ahead(&seen)?), "{seen}");
    Ok(())
}

fn wrong_values(test: &Test) -> Outcome {
    let wrong = [
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice"),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 1}), "process.scheduler.priority"),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "runtime": 1}), "process.scheduler"),
        ("/process/scheduler", json!({"policy": "SCHED_NONE"}), "process.scheduler.policy"),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 100}), "process.scheduler"),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_RT", "priority": 8}),
            "process.ioPriority.priority",
        ),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_X"}), "process.ioPriority.class"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/linux/personality", json!({"domain": "BSD"}), "linux.personality.domain"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1000"}), "linux.memoryPolicy"),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "time namespace isn't enabled"),
    ];
    for (pointer, value, words) in wrong {
        let bundle = test.bundle()?.set(pointer, value).script("true").build()?;
        let output = test.container(&bundle).cmd("run", &["--bundle", bundle.directory()]).fails()?;
        one_line(test, &output, &[words])?;
    }
    let bundle = test.bundle()?.push("/linux/namespaces", json!({"type": "time"}));
    let bundle = bundle.set("/linux/timeOffsets", json!({"realtime": {"secs": 1}})).script("true").build()?;
    let output = test.container(&bundle).cmd("run", &["--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["linux.timeOffsets.realtime"])?;
    test.leaves_nothing()
}

fn nothing_asked_for(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let script = format!("{SCHEDULING}; ionice; cat /proc/self/personality");
    assert_eq!(
        container.exec(&[], &["sh", "-c", &script]).succeeds()?.stdout,
        format!("{}\n0 0\nnone: prio 0\n00000000\n", own_nice()?)
    );
    Ok(())
}
