//! `delete`.

use std::time::{Duration, Instant};

use testkit::{BundleBuilder, Case, Outcome, Test, also_on_v2, both, json, needs, rt_only, wait_until};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = also_on_v2(vec![
        both("stopped", stopped),
        both("running_is_refused", running_is_refused),
        both("force_running", force_running),
        both("force_paused", force_paused),
        both("force_missing_is_fine", force_missing_is_fine),
        both("frees_the_id", frees_the_id),
        rt_only(
            "kills_what_survived_init",
            "runc 1.1 now and then leaves them on v2",
            kills_what_survived_init,
        ),
        both("several_processes", several_processes),
        both("nested_cgroups", nested_cgroups),
        rt_only("what_froze_itself", "runc 1.1 leaves it behind on v1", what_froze_itself),
    ]);
    cases.push(rt_only("by_expression", "the option is crun's", by_expression));
    let among: testkit::Body = |test| bomb(test, false, &["delete", "--force"]);
    let bombs = [
        both("a_bomb_of_forks", |test| bomb(test, true, &["delete", "--force"])),
        both("a_bomb_is_killed", |test| bomb(test, false, &["kill", "--all"])),
        rt_only("a_bomb_among_the_hosts_processes", "runc 1.1 leaves its cgroup behind on v2", among),
    ];
    cases.extend(bombs.into_iter().map(|case| case.needs(needs::controllers)));
    cases
}

fn stopped(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    container.cmd("delete", &[]).succeeds()?;
    assert_eq!(container.status()?, "absent");
    test.leaves_nothing()
}

fn by_expression(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(SLEEPER).build()?;
    let containers: Vec<_> = (0..3).map(|_| test.container(&bundle)).collect();
    for container in &containers {
        container.run(&[])?;
    }
    let [one, two, other] = &containers[..] else { return Err("not three".into()) };
    let both = format!("^({}|{})$", one.id, two.id);
    let delete = |flags: &[&str], pattern: &str| test.cmd(&["delete", "--regex"]).args(flags).args([pattern]);
    let output = delete(&[], &both).fails()?;
    assert!(output.stderr.contains("cannot delete container that is not stopped"), "{output}");
    delete(&["--force"], &both).succeeds()?;
    assert_eq!(
        [one, two, other].map(|container| container.status().ok()),
        ["absent", "absent", "running"].map(|s| Some(s.to_owned()))
    );
    delete(&[], "nothing-like-this").succeeds()?;
    one_line(test, &delete(&[], "x[").fails()?, &["--regex", "x["])?;
    delete(&["-f"], &other.id).succeeds()?;
    test.leaves_nothing()
}

fn running_is_refused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.cmd("delete", &[]).fails()?;
    one_line(test, &output, &["not stopped", &container.id])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn force_running(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("delete", &["-f"]).succeeds()?;
    test.leaves_nothing()
}

fn force_paused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    container.delete()?;
    test.leaves_nothing()
}

fn force_missing_is_fine(test: &Test) -> Outcome {
    let output = test.cmd(&["delete", "--force", &test.new_id()]).succeeds()?;
    assert_eq!(output.stderr, "");
    test.leaves_nothing()
}

fn frees_the_id(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.delete()?;
    container.run(&[])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn kills_what_survived_init(test: &Test) -> Outcome {
    // Without a pid namespace of its own nothing dies with init.
    let bundle = among_the_hosts_processes(test.bundle()?);
    let container = test.container(&bundle.script("setsid sleep 1000 & exit 0").build()?);
    container.run(&[])?;
    container.wait_for_status("stopped")?;
    container.delete()?;
    test.leaves_nothing()
}

fn several_processes(test: &Test) -> Outcome {
    let container = test.run_script("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait")?;
    container.delete()?;
    test.leaves_nothing()
}

/// Without a pid namespace of its own.
fn among_the_hosts_processes(bundle: BundleBuilder) -> BundleBuilder {
    bundle.edit(|config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
    })
}

/// With cgroups that the container may write to.
fn with_cgroups(bundle: BundleBuilder) -> BundleBuilder {
    bundle.edit(|config| {
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            if mount["type"] == "cgroup" {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
            }
        }
    })
}

/// All hierarchies that the container sees, with a process two levels below in those that take one, and on cgroup2 another in a
/// threaded cgroup.
const NEST: &str = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -e $d/cgroup.procs ] && mkdir -p $d/a/b || continue; \
    sh -c \"echo \\$\\$ >$d/a/b/cgroup.procs && touch /made; exec sleep 1000\" & \
    [ -e $d/cgroup.type ] || continue; mkdir -p $d/c/t; echo threaded >$d/c/t/cgroup.type; \
    sh -c \"echo \\$\\$ >$d/c/cgroup.procs; echo \\$\\$ >$d/c/t/cgroup.threads && touch /threaded; exec sleep 1000\" & \
    done 2>/dev/null; sleep 1; touch /ready; wait";

fn nested_cgroups(test: &Test) -> Outcome {
    if !test.is_rt() && test.is_on_v2() {
        // runc 1.1 cannot read who is in a threaded cgroup.
        return Ok(());
    }
    for pids in [true, false] {
        let mut bundle = with_cgroups(test.bundle()?);
        if !pids {
            bundle = among_the_hosts_processes(bundle);
        }
        let container = test.container(&bundle.script(NEST).build()?);
        container.run(&[])?;
        let is_there = |name: &str| std::fs::exists(container.bundle.path(name)).is_ok_and(|yes| yes);
        wait_until("cgroups of its own", || is_there("/ready"))?;
        assert!(is_there("/made"), "no process could enter a nested cgroup");
        assert!(is_there("/threaded") || !test.is_on_v2(), "no process could enter a threaded cgroup");
        assert!(container.pids()?.len() >= 3, "{:?}", container.pids()?);
        container.cmd("pause", &[]).succeeds()?;
        container.cmd("resume", &[]).succeeds()?;
        container.delete()?;
        test.leaves_nothing()?;
    }
    Ok(())
}

fn what_froze_itself(test: &Test) -> Outcome {
    // A cgroup below, frozen from inside: what is in it can neither run nor, on v1, die before it is thawed.
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/freezer; do [ -e $d/cgroup.procs ] || continue; mkdir -p $d/f; \
        sleep 1000 & echo $! >$d/f/cgroup.procs; echo 1 >$d/f/cgroup.freeze; echo FROZEN >$d/f/freezer.state; done 2>/dev/null; \
        touch /ready; sleep 1000; true";
    let bundle = with_cgroups(among_the_hosts_processes(test.bundle()?)).script(script);
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    wait_until("a frozen process", || std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    container.delete()?;
    test.leaves_nothing()
}

/// A fork bomb in a cgroup that holds a few dozen is ended by `command`, and gone within a second or so.
fn bomb(test: &Test, has_pid_namespace: bool, command: &[&str]) -> Outcome {
    let mut bundle = test.bundle()?.set("/linux/resources/pids/limit", json!(60));
    if !has_pid_namespace {
        bundle = among_the_hosts_processes(bundle);
    }
    // A shell that cannot fork ends, and with the limit reached all do; awk lights the fuse again. The first process buries them.
    let script = "awk 'BEGIN { b = \"b() { while :; do b & usleep 20000; done; }; b & b & exit\"; while (1) system(b) }' 2>/dev/null & \
        wait; sleep 1000; true";
    let container = test.container(&bundle.script(script).build()?);
    container.run(&[])?;
    let members = container.cgroup("freezer")?.join("cgroup.procs");
    let crowd = || std::fs::read_to_string(&members).is_ok_and(|pids| pids.lines().count() > 15);
    wait_until("a crowd", crowd)?;
    let begun = Instant::now();
    let ended = test.cmd(command).arg(&container.id);
    let ended = if command[0] == "kill" { ended.arg("KILL") } else { ended };
    ended.succeeds()?;
    if command[0] == "kill" {
        container.wait_for_status("stopped")?;
        wait_until("the end of all", || std::fs::read_to_string(&members).is_ok_and(|pids| pids.is_empty()))?;
        container.cmd("delete", &[]).succeeds()?;
    }
    assert!(begun.elapsed() < testkit::patience().max(Duration::from_secs(5)), "{:?}", begun.elapsed());
    test.leaves_nothing()
}
