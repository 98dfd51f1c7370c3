//! `kill`.

use testkit::{Case, Container, Fallible, Outcome, Test, both, wait_until};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("default_is_term", |test| caught(test, &[], "TERM")),
        both("by_name", |test| caught(test, &["USR1"], "USR1")),
        both("by_full_name", |test| caught(test, &["SIGUSR2"], "USR2")),
        both("by_number", |test| caught(test, &["1"], "HUP")),
        both("in_lower_case", |test| caught(test, &["sigint"], "INT")),
        both("all", all),
        both("paused", paused),
        both("unknown_signal", unknown_signal),
        both("stopped_is_refused", stopped_is_refused),
    ]
    .into()
}

/// A container that notes the signals it gets.
fn listener(test: &Test) -> Fallible<Container<'_>> {
    let script = "for s in HUP INT TERM USR1 USR2; do trap \"echo $s >>/signals\" $s; done; touch /ready; \
        while :; do usleep 10000; done";
    let container = test.run_script(script)?;
    wait_until("the traps", || std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    Ok(container)
}

fn caught(test: &Test, args: &[&str], name: &str) -> Outcome {
    let container = listener(test)?;
    container.cmd("kill", &[]).args(args).succeeds()?;
    wait_until(name, || container.bundle.read("/signals") == format!("{name}\n"))
}

fn all(test: &Test) -> Outcome {
    let container = test.run_script("trap '' TERM; sleep 1000 & sleep 1000 & wait; wait; sleep 1000")?;
    wait_until("three processes", || container.pids().is_ok_and(|pids| pids.len() == 3))?;
    container.cmd("kill", &["--all"]).arg("KILL").succeeds()?;
    container.wait_for_status("stopped")
}

fn paused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    // On cgroup v1 a frozen process dies when it is thawed; `delete --force` must see to that.
    container.delete()?;
    test.leaves_nothing()
}

fn unknown_signal(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for signal in ["NOSUCH", "SIGNOSUCH", "99999", "-x", ""] {
        let output = container.cmd("kill", &[]).args(["--", signal]).output()?;
        assert!(output.code != 0 || !test.is_rt(), "{output}");
    }
    let output = container.cmd("kill", &[]).arg("NOSUCH").fails()?;
    one_line(test, &output, &["NOSUCH", "signal"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("kill", &[]).arg("TERM").fails()?;
    // containerd and CRI-O look for these words.
    one_line(test, &output, &["container not running"])
}
