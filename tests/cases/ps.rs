//! `ps`.

use testkit::{Case, Outcome, Test, both, wait_until};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("json", json_format),
        both("table", table),
        both("ps_options", ps_options),
        both("of_stopped", of_stopped),
    ]
    .into()
}

fn json_format(test: &Test) -> Outcome {
    let container = test.run_script("sleep 1000 & sleep 1000 & wait")?;
    wait_until("three processes", || container.pids().is_ok_and(|pids| pids.len() == 3))?;
    assert!(container.pids()?.contains(&container.pid()?));
    Ok(())
}

fn table(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    wait_until("two processes", || container.pids().is_ok_and(|pids| pids.len() == 2))?;
    let output = container.cmd("ps", &[]).succeeds()?;
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].contains("PID") && lines[0].contains("CMD"), "{output}");
    assert_eq!(lines.len(), 3, "{output}");
    assert!(output.stdout.contains("sleep 1000"));
    Ok(())
}

fn ps_options(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.cmd("ps", &[]).args(["-o", "pid,comm"]).succeeds()?;
    let head: Vec<_> = output.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["PID", "COMMAND"]);
    assert!(output.stdout.contains(&container.pid()?.to_string()));
    Ok(())
}

fn of_stopped(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    // runc prints an empty array or fails, by version; it must not show other processes.
    let output = container.cmd("ps", &["--format", "json"]).output()?;
    assert!(output.code != 0 || ["[]", "null"].contains(&output.stdout.trim()), "{output}");
    Ok(())
}
