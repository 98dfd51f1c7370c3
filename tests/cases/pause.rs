//! `pause` and `resume`.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Case, Fallible, Outcome, Test, both, json, rt_only, wait_until};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, stands_still};
use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("stops_and_goes_on", stops_and_goes_on),
        both("of_stopped_is_refused", of_stopped_is_refused),
        both("resume_of_running_is_refused", resume_of_running_is_refused),
        both("exec_with_ignore_paused", exec_with_ignore_paused),
        both("below_a_frozen_parent", below_a_frozen_parent),
        both("while_it_forks", while_it_forks),
        rt_only("by_many_at_once", "runc 1.1 has no lock for it", by_many_at_once),
    ]
    .into()
}

fn stops_and_goes_on(test: &Test) -> Outcome {
    let container = counting(test)?;
    for _ in 0..2 {
        container.cmd("pause", &[]).succeeds()?;
        assert_eq!(container.status()?, "paused");
        stands_still(&container.bundle, "/log")?;
        container.cmd("resume", &[]).succeeds()?;
        assert_eq!(container.status()?, "running");
        counts_on(&container.bundle, "/log", 3)?;
    }
    Ok(())
}

fn of_stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("pause", &[]).fails()?;
    one_line(test, &output, &["not running"])
}

fn resume_of_running_is_refused(test: &Test) -> Outcome {
    let container = counting(test)?;
    let output = container.cmd("resume", &[]).fails()?;
    one_line(test, &output, &["not paused"])?;
    counts_on(&container.bundle, "/log", 3)
}

fn exec_with_ignore_paused(test: &Test) -> Outcome {
    // It joins the frozen cgroup, so it runs when that is thawed.
    let container = counting(test)?;
    container.cmd("pause", &[]).succeeds()?;
    let running = container.exec(&["--ignore-paused"], &["echo", "later"]).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    container.cmd("resume", &[]).succeeds()?;
    let output = running.output()?;
    assert_eq!((output.code, output.stdout.as_str()), (0, "later\n"), "{output}");
    Ok(())
}

/// Freezes or thaws a cgroup from outside, and waits until it is so.
fn set_frozen(cgroup: &Path, freeze: bool) -> Fallible<()> {
    let (v1, v2) = (cgroup.join("freezer.state"), cgroup.join("cgroup.freeze"));
    let (file, value, state, expected) = match v1.exists() {
        true => (
            &v1,
            if freeze { "FROZEN" } else { "THAWED" },
            v1.clone(),
            if freeze { "FROZEN" } else { "THAWED" },
        ),
        false => {
            let value = if freeze { "1" } else { "0" };
            (&v2, value, cgroup.join("cgroup.events"), if freeze { "frozen 1" } else { "frozen 0" })
        }
    };
    fs::write(file, value)?;
    wait_until(expected, || fs::read_to_string(&state).is_ok_and(|text| text.contains(expected)))
}

fn below_a_frozen_parent(test: &Test) -> Outcome {
    let parent = test.new_id();
    let bundle = test.bundle()?.script(COUNTER).set("/linux/cgroupsPath", json!(format!("/{parent}/inner")));
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let own = container.cgroup("freezer")?;
    let above = own.parent().ok_or("no parent")?;
    let log = &container.bundle;

    // It stands still, but nobody has paused it, and it could not be resumed.
    set_frozen(above, true)?;
    stands_still(log, "/log")?;
    assert_eq!(container.status()?, "running");
    container.cmd("resume", &[]).fails()?;
    // Paused now, it stays so when its parent goes on.
    container.cmd("pause", &[]).succeeds()?;
    assert_eq!(container.status()?, "paused");
    set_frozen(above, false)?;
    assert_eq!(container.status()?, "paused");
    stands_still(log, "/log")?;
    // Resumed below a frozen parent, it goes on with that.
    set_frozen(above, true)?;
    container.cmd("resume", &[]).succeeds()?;
    assert_eq!(container.status()?, "running");
    stands_still(log, "/log")?;
    set_frozen(above, false)?;
    counts_on(log, "/log", 3)?;
    container.delete()?;
    remove_everywhere(&parent);
    test.leaves_nothing()
}

/// Removes an empty cgroup from every hierarchy.
fn remove_everywhere(name: &str) {
    let below = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in below.chain([PathBuf::from("/sys/fs/cgroup")]) {
        // Not there in every one; what remains is found by `leaves_nothing`.
        let _ = fs::remove_dir(hierarchy.join(name));
    }
}

fn while_it_forks(test: &Test) -> Outcome {
    // Two that fork all the time, and do not become more.
    let script = format!("for i in 1 2; do (while :; do /bin/true; done) & done; {COUNTER}");
    let container = test.run_script(&script)?;
    for _ in 0..5 {
        counts_on(&container.bundle, "/log", 2)?;
        container.cmd("pause", &[]).succeeds()?;
        assert_eq!(container.status()?, "paused");
        stands_still(&container.bundle, "/log")?;
        container.cmd("resume", &[]).succeeds()?;
    }
    container.delete()?;
    test.leaves_nothing()
}

fn by_many_at_once(test: &Test) -> Outcome {
    let container = counting(test)?;
    std::thread::scope(|scope| {
        let turns = || -> Fallible<()> {
            for command in ["pause", "resume", "pause", "resume"] {
                let output = container.cmd(command, &[]).output()?;
                let words = if command == "pause" { "not running" } else { "not paused" };
                assert!(output.code == 0 || output.stderr.contains(words), "{output}");
            }
            Ok(())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(turns)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a panic")?)
    })?;
    if container.status()? == "paused" {
        container.cmd("resume", &[]).succeeds()?;
    }
    counts_on(&container.bundle, "/log", 3)
}
