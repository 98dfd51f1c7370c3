//! Limits that bite, on whichever generation of cgroups has their controllers, and a crowd that leaves no trace.

use testkit::{Case, Container, Outcome, Test, both, json, needs, rt_only};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("memory_kills", memory_kills).needs(needs::memory_controller),
        rt_only("a_mebibyte_is_enough", "runc 1.1 needs more itself", a_mebibyte)
            .needs(needs::memory_controller),
        both("pids_stop_a_fork", pids_stop_a_fork).needs(needs::pids_controller),
        both("cpu_is_throttled", cpu_is_throttled).needs(needs::cpu_controller),
        both("device_is_denied", |test| device(test, &[], "")),
        both("device_is_allowed", |test| device(test, &[(true, "rw")], "rw")),
        both("device_is_for_reading", |test| device(test, &[(true, "r")], "r")),
        both("device_is_for_writing", |test| device(test, &[(true, "w")], "w")),
        both("device_is_denied_again", |test| device(test, &[(true, "rw"), (false, "r")], "w")),
        rt_only("a_hundred_leave_no_trace", "a hundred of runc fill a small machine", a_hundred),
    ]
}

/// A child gets more than there is and is killed; its parent, in the same cgroup, reads that in the kernel's own count.
fn memory_kills(test: &Test) -> Outcome {
    // dd's buffer; /dev/zero fills it.
    let script = "dd if=/dev/zero of=/dev/null bs=100M count=1; echo status $?; \
                  cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control";
    let limit = json!(32 << 20);
    let bundle = test.bundle()?.set("/linux/resources/memory/limit", limit).script(script).build()?;
    let output = test.container(&bundle).run_foreground(&[]).output()?;
    assert!(output.stdout.starts_with("status 137\n"), "{output}");
    assert!(output.stdout.contains("\noom_kill 1\n"), "{output}");
    Ok(())
}

/// What rt needs itself is not counted there.
fn a_mebibyte(test: &Test) -> Outcome {
    let bundle =
        test.bundle()?.set("/linux/resources/memory/limit", json!(1 << 20)).args(&["true"]).build()?;
    let container = test.container(&bundle);
    for _ in 0..5 {
        container.run_foreground(&[]).succeeds()?;
    }
    test.leaves_nothing()
}

fn pids_stop_a_fork(test: &Test) -> Outcome {
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait";
    let bundle = test.bundle()?.set("/linux/resources/pids/limit", json!(5)).script(script).build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    assert!(output.stderr.contains("fork"), "{output}");
    Ok(())
}

/// A tenth of a processor for what wants all of it.
fn cpu_is_throttled(test: &Test) -> Outcome {
    let script = "busybox timeout 1 sh -c 'while :; do :; done'; \
                  cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat";
    let cpu = json!({"quota": 10_000, "period": 100_000});
    let bundle = test.bundle()?.set("/linux/resources/cpu", cpu).script(script).build()?;
    let output = test.container(&bundle).run_foreground(&[]).output()?;
    let throttled = output.stdout.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    assert!(throttled.is_some_and(|count| count != "0"), "{output}");
    Ok(())
}

/// Opens the kernel's log (whose node the image brings along) under rules of (allow, access) for it; `opened` is for what that
/// succeeds.
fn device(test: &Test, rules: &[(bool, &str)], opened: &str) -> Outcome {
    let script = "(: </kmsg) && echo -n r; (: >>/kmsg) && echo -n w; true";
    // Without this capability a kernel may refuse reading by itself.
    let mut bundle = test.bundle()?.capability("CAP_SYSLOG").script(script);
    testkit::Cmd::new("mknod").args([&bundle.path("/kmsg"), "c", "1", "11"]).succeeds()?;
    for (allow, access) in rules {
        let rule = json!({"allow": allow, "type": "c", "major": 1, "minor": 11, "access": access});
        bundle = bundle.push("/linux/resources/devices", rule);
    }
    let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, opened, "{output}");
    let refusals = output.stderr.matches("Operation not permitted").count();
    assert_eq!(refusals, 2 - opened.len(), "{output}");
    Ok(())
}

/// A hundred are created at once, then deleted at once.
fn a_hundred(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(SLEEPER).build()?;
    let containers: Vec<_> = (0..100).map(|_| test.container(&bundle)).collect();
    let all = |command: fn(&Container<'_>) -> Outcome| {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                containers.iter().map(|container| scope.spawn(move || command(container))).collect();
            running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a panic")?)
        })
    };
    all(|container| container.quiet("create", &[]).succeeds().map(drop))?;
    all(|container| container.delete())?;
    test.leaves_nothing()
}
