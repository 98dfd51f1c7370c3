//! `update`.

use testkit::{Case, Container, Fallible, Outcome, Test, also_on_v2, both, json, needs, rt_only, wait_until};

use super::{SLEEPER, one_line};

const MIB: u64 = 1 << 20;

pub(crate) fn cases() -> Vec<Case> {
    let limits: [(&'static str, testkit::Body); 9] = [
        ("memory_goes_up_and_down", memory_goes_up_and_down),
        ("while_paused", while_paused),
        ("what_is_not_named_stays", what_is_not_named_stays),
        ("reads_a_file_and_stdin", reads_a_file_and_stdin),
        ("a_document_wins_over_options", a_document_wins_over_options),
        ("below_what_is_used_is_refused", below_what_is_used_is_refused),
        ("pids_bite_at_once", pids_bite_at_once),
        ("quota_bites_at_once", quota_bites_at_once),
        ("before_start", before_start),
    ];
    let mut cases: Vec<_> =
        limits.into_iter().map(|(name, body)| both(name, body).needs(needs::controllers)).collect();
    cases.push(
        rt_only(
            "failure_changes_nothing",
            "runc 1.1 sets only some fields, and writes down what failed",
            failure_changes_nothing,
        )
        .needs(needs::controllers),
    );
    cases.extend(also_on_v2(vec![
        both("of_stopped_is_refused", of_stopped_is_refused),
        both("wrong_values_are_named", wrong_values_are_named),
        both("rdt_is_not_here", rdt_is_not_here),
        rt_only("devices_change", "runc leaves devices out of updates", devices_change),
    ]));
    cases
}

/// A container with 64 MiB of memory and 20 processes.
fn limited<'test>(test: &'test Test, script: &str) -> Fallible<Container<'test>> {
    let resources = json!({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 20}});
    let bundle = test.bundle()?.set("/linux/resources", resources).script(script).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    Ok(container)
}

/// Memory, and memory with swap, as they stand in the files; without a number there is no limit.
fn memory(container: &Container<'_>) -> Fallible<(Option<u64>, Option<u64>)> {
    let number = |file: &str| -> Fallible<Option<u64>> {
        let text = container.cgroup_file("memory", file)?;
        Ok(text.parse().ok().filter(|number| *number < 1 << 62))
    };
    if container.test.is_on_v2() {
        let memory = number("memory.max")?;
        let swap = number("memory.swap.max")?;
        return Ok((memory, swap.map(|swap| swap + memory.unwrap_or(0))));
    }
    Ok((number("memory.limit_in_bytes")?, number("memory.memsw.limit_in_bytes")?))
}

fn memory_goes_up_and_down(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    assert_eq!(memory(&container)?, (Some(64 * MIB), Some(64 * MIB)));
    for (limit, swap, expected) in [
        ("128m", "256m", (Some(128 * MIB), Some(256 * MIB))),
        ("300MiB", "300MiB", (Some(300 * MIB), Some(300 * MIB))),
        ("33554432", "32mb", (Some(32 * MIB), Some(32 * MIB))),
        ("48m", "-1", (Some(48 * MIB), None)),
        ("-1", "", (None, None)),
        ("64m", "96m", (Some(64 * MIB), Some(96 * MIB))),
    ] {
        container.cmd("update", &["--memory", limit, "--memory-swap", swap]).succeeds()?;
        assert_eq!(memory(&container)?, expected, "{limit} {swap}");
    }
    Ok(())
}

fn while_paused(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    container.cmd("update", &["--pids-limit", "7", "--memory=96m", "--memory-swap=96m"]).succeeds()?;
    assert_eq!(container.status()?, "paused");
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "7");
    assert_eq!(memory(&container)?, (Some(96 * MIB), Some(96 * MIB)));
    container.cmd("resume", &[]).succeeds()?;
    assert_eq!(container.status()?, "running");
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "7");
    Ok(())
}

fn what_is_not_named_stays(test: &Test) -> Outcome {
    // On v2, swap is counted from the memory that an earlier command has set.
    if !test.is_rt() && test.is_on_v2() {
        // runc 1.1 forgets the memory.
        return Ok(());
    }
    let container = limited(test, SLEEPER)?;
    container.cmd("update", &["--memory", "80m", "--memory-swap", "80m"]).succeeds()?;
    container.cmd("update", &["--memory-swap", "100m"]).succeeds()?;
    assert_eq!(memory(&container)?, (Some(80 * MIB), Some(100 * MIB)));
    container.cmd("update", &["--cpu-period", "20000"]).succeeds()?;
    container.cmd("update", &["--cpu-quota", "5000"]).succeeds()?;
    let quota = if test.is_on_v2() {
        container.cgroup_file("cpu", "cpu.max")?
    } else {
        let file = |name| container.cgroup_file("cpu", name);
        format!("{} {}", file("cpu.cfs_quota_us")?, file("cpu.cfs_period_us")?)
    };
    assert_eq!(quota, "5000 20000");
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "20");
    Ok(())
}

fn reads_a_file_and_stdin(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    let text = |limit: u64| json!({"pids": {"limit": limit}}).to_string();
    let file = test.new_path("resources");
    std::fs::write(&file, text(9))?;
    container.cmd("update", &["--resources", &file]).succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "9");
    container.cmd("update", &["-r", "-"]).stdin(&text(8)).succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "8");
    container.cmd("update", &["--resources=-"]).stdin("{}").succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "8");
    for text in ["{", r#"{"pids":{"limit":"many"}}"#] {
        let output = container.cmd("update", &["-r", "-"]).stdin(text).fails()?;
        one_line(test, &output, &["stdin"])?;
    }
    let output = container.cmd("update", &["-r", "/no/such/file"]).fails()?;
    one_line(test, &output, &["/no/such/file", "no such file or directory"])
}

fn a_document_wins_over_options(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    let document = r#"{"pids":{"limit":12}}"#;
    container
        .cmd("update", &["-r", "-", "--memory", "96m", "--pids-limit", "5"])
        .stdin(document)
        .succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "12");
    assert_eq!(memory(&container)?, (Some(64 * MIB), Some(64 * MIB)));
    Ok(())
}

fn below_what_is_used_is_refused(test: &Test) -> Outcome {
    let container = limited(
        test,
        "x=$(head -c 20000000 /dev/zero | tr '\\0' x); touch /ready; while :; do sleep 1000; done",
    )?;
    wait_until("memory in use", || std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    if !test.is_rt() && test.is_on_v2() {
        // runc knows checkBeforeUpdate since 1.2.
        return Ok(());
    }
    let document = json!({"memory": {"limit": MIB, "swap": MIB, "checkBeforeUpdate": true}}).to_string();
    let output = container.cmd("update", &["-r", "-"]).stdin(&document).fails()?;
    let words = if test.is_on_v2() { "rejecting memory" } else { "unable to set memory limit to 1048576" };
    assert!(output.stderr.contains(words), "{output}");
    one_line(test, &output, &["usage"])?;
    assert_eq!(memory(&container)?, (Some(64 * MIB), Some(64 * MIB)));
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn pids_bite_at_once(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    // runc's own threads want room, too.
    container.cmd("update", &["--pids-limit", "60"]).succeeds()?;
    let fork = "for i in $(seq 30); do sleep 5 & done; echo all; kill $(jobs -p)";
    let output = container.exec(&[], &["sh", "-c", fork]).output()?;
    assert!(output.stdout.contains("all"), "{output}");
    container.cmd("update", &["--pids-limit", "20"]).succeeds()?;
    let output = container.exec(&[], &["sh", "-c", fork]).fails()?;
    assert!(output.stderr.contains("fork"), "{output}");
    container.cmd("update", &["--pids-limit", "-1"]).succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "max");
    Ok(())
}

fn quota_bites_at_once(test: &Test) -> Outcome {
    let container = limited(test, "while :; do :; done")?;
    container.cmd("update", &["--cpu-period", "10000", "--cpu-quota", "1000"]).succeeds()?;
    let throttled = || -> Fallible<u64> {
        let output = container.cmd("events", &["--stats"]).succeeds()?;
        let event: testkit::Value = serde_json::from_str(&output.stdout)?;
        Ok(event["data"]["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap_or(0))
    };
    wait_until("throttling", || throttled().is_ok_and(|periods| periods >= 3))
}

fn before_start(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("update", &["--pids-limit", "33"]).succeeds()?;
    assert_eq!(container.status()?, "created");
    container.cmd("start", &[]).succeeds()?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "33");
    Ok(())
}

fn failure_changes_nothing(test: &Test) -> Outcome {
    let container = limited(test, SLEEPER)?;
    let state = format!("{}/{}/state.json", test.root(), container.id);
    let before = std::fs::read_to_string(&state)?;
    let document = json!({
        "pids": {"limit": 5}, "memory": {"limit": 128 * MIB, "swap": 256 * MIB},
        "network": {"priorities": [{"name": "no-such-if", "priority": 1}]},
        "blockIO": {"throttleReadBpsDevice": [{"major": 4095, "minor": 4095, "rate": 7}]},
    });
    let output = container.cmd("update", &["-r", "-"]).stdin(&document.to_string()).fails()?;
    one_line(test, &output, &["cgroup ", "4095:4095"])?;
    assert_eq!(container.cgroup_file("pids", "pids.max")?, "20");
    assert_eq!(memory(&container)?, (Some(64 * MIB), Some(64 * MIB)));
    assert_eq!(std::fs::read_to_string(&state)?, before);
    Ok(())
}

fn of_stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("update", &["--cpu-share", "100"]).fails()?;
    one_line(test, &output, &["not running"])?;
    let output = test.cmd(&["update", "--cpu-share", "100", &test.new_id()]).fails()?;
    one_line(test, &output, &["does not exist"])
}

fn wrong_values_are_named(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for (option, value) in [
        ("cpu-share", "many"),
        ("cpu-share", "-1"),
        ("cpu-quota", "1.5"),
        ("memory", "1x"),
        ("memory", "-5"),
        ("memory-swap", "m"),
        ("pids-limit", "few"),
        ("cpu-idle", "yes"),
    ] {
        let output = container.cmd("update", &[&format!("--{option}"), value]).fails()?;
        one_line(test, &output, &[&format!("invalid value for {option}")])?;
    }
    Ok(())
}

fn rdt_is_not_here(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for (option, words) in [
        ("--l3-cache-schema=L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("--mem-bw-schema=MB:0=50", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        let output = container.cmd("update", &[option]).fails()?;
        assert!(output.stderr.contains(words), "{output}");
    }
    Ok(())
}

fn devices_change(test: &Test) -> Outcome {
    let bundle = test.bundle()?.capability("CAP_MKNOD").capability("CAP_SYSLOG").script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    container.exec(&[], &["mknod", "/kmsg", "c", "1", "11"]).succeeds()?;
    let open = || container.exec(&[], &["sh", "-c", "</kmsg"]).output();
    let update = |rules: testkit::Value| {
        let document = json!({"devices": rules}).to_string();
        container.cmd("update", &["-r", "-"]).stdin(&document).succeeds()
    };
    assert_ne!(open()?.code, 0, "denied by default");
    let nothing = json!({"allow": false, "access": "rwm"});
    update(json!([nothing, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]))?;
    assert_eq!(open()?.code, 0, "allowed");
    container.exec(&[], &["sh", "-c", "</dev/null"]).succeeds()?;
    // An update of something else leaves it so.
    container.cmd("update", &["-r", "-"]).stdin("{}").succeeds()?;
    assert_eq!(open()?.code, 0, "still allowed");
    update(json!([nothing]))?;
    assert_ne!(open()?.code, 0, "denied again");
    update(json!([{"allow": true, "access": "rwm"}]))?;
    assert_eq!(open()?.code, 0, "all is allowed");
    update(json!([nothing]))?;
    assert_ne!(open()?.code, 0, "denied again");
    container.exec(&[], &["sh", "-c", "</dev/null"]).succeeds().map(drop)
}
