//! SIGKILL for the runtime in the middle of its work: engines do that when a request is cancelled. Whatever
//! stands then, `delete --force` must be able to clean it.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Case, Container, Fallible, Outcome, Running, Test, needs, rt_only, wait_until};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, is_unbroken, numbers};
use super::{SLEEPER, one_line};

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
        rt_only("criu_in_a_checkpoint", WHY, criu_in_a_checkpoint).needs(needs::criu),
        rt_only("criu_in_a_restore", WHY, criu_in_a_restore).needs(needs::criu),
        rt_only("both_in_a_checkpoint", WHY, both_in_a_checkpoint).needs(needs::criu),
        rt_only("looking_repairs", WHY, looking_repairs).needs(needs::criu),
        rt_only("paused_stays_paused", WHY, paused_stays_paused).needs(needs::criu),
        rt_only("images_removed_meanwhile", WHY, images_removed_meanwhile).needs(needs::criu),
    ]
    .into()
}

fn kill_after(mut running: Running, delay: u64) {
    std::thread::sleep(Duration::from_millis(delay));
    running.kill();
}

/// Checks that it counts where it was, and can be used as before.
fn goes_on(container: &Container<'_>) -> Outcome {
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    recovers(container)
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
        goes_on(&container)?;
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

/// The criu that a runtime has started, once there is one.
pub(crate) fn criu_of(running: &mut Running) -> Option<Pid> {
    let pid = running.pid();
    let children = format!("/proc/{pid}/task/{pid}/children");
    while running.is_running() {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        let mut pids = text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        let is_criu = |pid: &i32| {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
            exe.is_ok_and(|exe| exe.display().to_string().contains("criu"))
        };
        if let Some(pid) = pids.find(is_criu).and_then(Pid::from_raw) {
            return Some(pid);
        }
    }
    None
}

/// Whether a counter has ended with criu, which can take one with it whose process makes a system call in CRIU's name at that moment
/// (docs/criu.md); how often stands below the result. Any other counts on.
fn is_lost_with_criu(container: &Container<'_>, who: &str, delay: u64) -> Fallible<bool> {
    let before = numbers(&container.bundle, "/log").len();
    let mut is_lost = false;
    wait_until("it counts on, or has ended", || {
        is_lost = container.status().is_ok_and(|status| status == "stopped");
        is_lost || numbers(&container.bundle, "/log").len() > before + 3
    })?;
    if is_lost {
        container.test.figure(format!("{who} killed after {delay} ms took a container with it"));
    }
    Ok(is_lost)
}

/// A dump that nobody finishes: the runtime says so, and the container runs on, or is in the images when they were complete.
fn criu_in_a_checkpoint(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = test.new_path("images");
        let mut running = container.cmd("checkpoint", &["--image-path", &images]).spawn()?;
        let criu = criu_of(&mut running);
        std::thread::sleep(Duration::from_millis(delay));
        let was_there = criu.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        let output = running.output()?;
        if output.code == 0 {
            container.restore(&images, &[])?;
        } else {
            assert!(was_there, "{output}");
            one_line(test, &output, &["criu died during"])?;
            if is_lost_with_criu(&container, "criu", delay)? {
                one_line(test, &output, &["ended with it"])?;
                recovers(&container)?;
                continue;
            }
        }
        goes_on(&container)?;
    }
    Ok(())
}

/// Neither of them can take back anything: the next command does.
fn both_in_a_checkpoint(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = test.new_path("images");
        let mut running =
            container.cmd("checkpoint", &["--image-path", &images, "--leave-running"]).spawn()?;
        let criu = criu_of(&mut running);
        std::thread::sleep(Duration::from_millis(delay));
        running.kill();
        criu.map(|pid| kill_process(pid, Signal::KILL));
        container.cmd("resume", &[]).output()?;
        if !is_lost_with_criu(&container, "rt and criu", delay)? {
            assert_eq!(container.status()?, "running");
            is_unbroken(&container.bundle, "/log")?;
        }
        recovers(&container)?;
    }
    Ok(())
}

/// Whoever only asks is told the truth, and once nobody is at work on the container any more, it is as it was.
fn looking_repairs(test: &Test) -> Outcome {
    for (delay, with_criu) in DELAYS.into_iter().flat_map(|delay| [(delay, false), (delay, true)]) {
        let container = counting(test)?;
        let images = test.new_path("images");
        let mut running =
            container.cmd("checkpoint", &["--image-path", &images, "--leave-running"]).spawn()?;
        let criu = criu_of(&mut running);
        std::thread::sleep(Duration::from_millis(delay));
        running.kill();
        criu.filter(|_| with_criu).map(|pid| kill_process(pid, Signal::KILL));
        // As long as criu, which nobody waits for, holds it, it stands still.
        let mut seen = vec![container.status()?];
        wait_until("what becomes of it", || {
            let list = test.cmd(&["list", "--format", "json"]).succeeds();
            let list = list.ok().and_then(|list| list.stdout.parse::<testkit::Value>().ok());
            seen.extend(list.and_then(|list| Some(list[0]["status"].as_str()?.to_owned())));
            seen.last().is_some_and(|status| status != "paused")
        })?;
        // Killed alone, rt takes no container with it.
        if !with_criu || !is_lost_with_criu(&container, "rt and criu", delay)? {
            let (last, before) = seen.split_last().ok_or("no status")?;
            assert!(last == "running" && before.iter().all(|one| one == "paused" || one == last), "{seen:?}");
            counts_on(&container.bundle, "/log", 3)?;
            is_unbroken(&container.bundle, "/log")?;
        }
        recovers(&container)?;
    }
    Ok(())
}

/// What its user has paused is not for a repair to resume.
fn paused_stays_paused(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        container.cmd("pause", &[]).succeeds()?;
        let images = test.new_path("images");
        let flags = ["--image-path", &images, "--leave-running"];
        kill_after(container.cmd("checkpoint", &flags).spawn()?, delay);
        assert_eq!(container.status()?, "paused");
        // This waits for criu.
        container.cmd("resume", &[]).succeeds()?;
        goes_on(&container)?;
    }
    Ok(())
}

fn criu_in_a_restore(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    for delay in DELAYS {
        let mut running = container.quiet("restore", &["--detach", "--image-path", &images]).spawn()?;
        let criu = criu_of(&mut running);
        std::thread::sleep(Duration::from_millis(delay));
        criu.map(|pid| kill_process(pid, Signal::KILL));
        if running.output()?.code == 0 {
            container.delete()?;
        }
        assert_eq!(container.status()?, "absent");
        test.leaves_nothing()?;
    }
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

/// The container is whole: it runs on, unless the dump was complete before, and then the images' end is its end.
fn images_removed_meanwhile(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = test.new_path("images");
        let running = container.cmd("checkpoint", &["--image-path", &images, "--leave-running"]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        let _ = std::fs::remove_dir_all(&images);
        running.output()?;
        counts_on(&container.bundle, "/log", 3)?;
        assert_eq!(container.status()?, "running");
        recovers(&container)?;
    }
    Ok(())
}
