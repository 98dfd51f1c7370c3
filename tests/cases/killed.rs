//! SIGKILL for the runtime in the middle of its work: engines do that when a request is cancelled. Whatever
//! stands then, `delete --force` must be able to clean it.

use std::time::Duration;

use testkit::{Case, Container, Outcome, Running, Test, needs, rt_only};

use super::SLEEPER;
use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, is_unbroken};

const WHY: &str = "runc does not recover from SIGKILL everywhere";

/// Milliseconds after which it is killed: from "hardly started" to "done".
const DELAYS: [u64; 9] = [1, 2, 4, 7, 12, 20, 35, 60, 120];

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("run", WHY, run),
        rt_only("create", WHY, create),
        rt_only("exec", WHY, exec),
        rt_only("delete", WHY, delete),
        rt_only("checkpoint", WHY, checkpoint).needs(needs::criu),
        rt_only("checkpoint_leave_running", WHY, checkpoint_leave_running).needs(needs::criu),
        rt_only("restore", WHY, restore).needs(needs::criu),
    ]
    .into()
}

fn kill_after(mut running: Running, delay: u64) {
    std::thread::sleep(Duration::from_millis(delay));
    running.kill();
}

/// `delete --force` cleans, and the id can be used again.
fn recovers(container: &Container<'_>) -> Outcome {
    container.delete()?;
    container.test.leaves_nothing()?;
    container.run(&[])?;
    container.delete()
}

fn run(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    DELAYS.into_iter().try_for_each(|delay| {
        kill_after(container.quiet("run", &["--detach"]).spawn()?, delay);
        recovers(&container)
    })
}

fn create(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    DELAYS.into_iter().try_for_each(|delay| {
        kill_after(container.quiet("create", &[]).spawn()?, delay);
        // Other commands understand it as well, whatever it is.
        let status = container.status()?;
        assert!(["absent", "creating", "created", "stopped"].contains(&status.as_str()), "{status}");
        test.cmd(&["list"]).succeeds()?;
        recovers(&container)
    })
}

fn exec(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for delay in DELAYS {
        kill_after(container.exec(&[], &["sleep", "1000"]).spawn()?, delay);
        assert_eq!(container.status()?, "running");
    }
    recovers(&container)
}

fn delete(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    DELAYS.into_iter().try_for_each(|delay| {
        container.run(&[])?;
        kill_after(container.cmd("delete", &["--force"]).spawn()?, delay);
        recovers(&container)
    })
}

fn checkpoint(test: &Test) -> Outcome {
    loses_nobody(test, &[])
}

fn checkpoint_leave_running(test: &Test) -> Outcome {
    loses_nobody(test, &["--leave-running"])
}

/// The container runs on, at the latest after the next command, or it is in the images, whole.
fn loses_nobody(test: &Test, flags: &[&str]) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = test.new_path("images");
        let flags = [&["--image-path", &images], flags].concat();
        kill_after(container.cmd("checkpoint", &flags).spawn()?, delay);
        // It is refused, since nothing is paused; but before that it waits for criu, and thaws.
        container.cmd("resume", &[]).output()?;
        if container.status()? != "running" {
            container.delete()?;
            container.restore(&images, &[])?;
        }
        counts_on(&container.bundle, "/log", 3)?;
        is_unbroken(&container.bundle, "/log")?;
        recovers(&container)?;
    }
    Ok(())
}

fn restore(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(COUNTER).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    for delay in DELAYS {
        let running = container.quiet("restore", &["--detach", "--image-path", &images]).spawn()?;
        kill_after(running, delay);
        container.delete()?;
        test.leaves_nothing()?;
    }
    // None of it has harmed the images.
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}
