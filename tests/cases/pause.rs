//! `pause` and `resume`.

use testkit::{Case, Outcome, Test, both};

use super::checkpoint::counting;
use super::counter::{counts_on, stands_still};
use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("stops_and_goes_on", stops_and_goes_on),
        both("of_stopped_is_refused", of_stopped_is_refused),
        both("resume_of_running_is_refused", resume_of_running_is_refused),
        both("exec_with_ignore_paused", exec_with_ignore_paused),
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
