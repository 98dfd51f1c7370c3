//! Commands that meet a checkpoint of the same container.

use std::time::Duration;

use testkit::{Case, Outcome, Test, needs, rt_only};

use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken};
use super::one_line;

const WHY: &str = "runc has no lock for it";

/// Milliseconds after which the second command starts.
const DELAYS: [u64; 5] = [0, 10, 30, 60, 100];

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("two_checkpoints", WHY, two_checkpoints),
        rt_only("two_checkpoints_left_running", WHY, two_checkpoints_left_running),
        rt_only("delete_during_a_checkpoint", WHY, delete_during_a_checkpoint),
        rt_only("kill_during_a_checkpoint", WHY, kill_during_a_checkpoint),
        rt_only("exec_during_a_checkpoint", WHY, exec_during_a_checkpoint),
        rt_only("pause_during_a_checkpoint", WHY, pause_during_a_checkpoint),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn two_checkpoints(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = [test.new_path("images"), test.new_path("images")];
        let first = container.cmd("checkpoint", &["--image-path", &images[0]]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        let second = container.cmd("checkpoint", &["--image-path", &images[1]]).spawn()?;
        let outputs = [first.output()?, second.output()?];
        let good: Vec<_> = (0..2).filter(|index| outputs[*index].code == 0).collect();
        assert_eq!(good.len(), 1, "{} and {}", outputs[0], outputs[1]);
        one_line(test, &outputs[1 - good[0]], &[&container.id])?;
        test.leaves_nothing()?;
        container.restore(&images[good[0]], &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        is_unbroken(&container.bundle, "/log")?;
        container.delete()?;
    }
    Ok(())
}

fn two_checkpoints_left_running(test: &Test) -> Outcome {
    let container = counting(test)?;
    for delay in DELAYS {
        let start =
            |images: &str| container.cmd("checkpoint", &["--leave-running", "--image-path", images]).spawn();
        let first = start(&test.new_path("images"))?;
        std::thread::sleep(Duration::from_millis(delay));
        let second = start(&test.new_path("images"))?;
        let outputs = [first.output()?, second.output()?];
        assert!(outputs.iter().all(|output| output.code == 0), "{} and {}", outputs[0], outputs[1]);
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")
}

fn delete_during_a_checkpoint(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let running = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        container.delete()?;
        running.output()?;
        assert_eq!(container.status()?, "absent");
        test.leaves_nothing()?;
    }
    Ok(())
}

fn kill_during_a_checkpoint(test: &Test) -> Outcome {
    for delay in DELAYS {
        let container = counting(test)?;
        let images = test.new_path("images");
        let running = container.cmd("checkpoint", &["--image-path", &images]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        container.cmd("kill", &[]).arg("KILL").output()?;
        if running.output()?.code == 0 {
            container.restore(&images, &[])?;
            assert!(["running", "stopped"].contains(&container.status()?.as_str()));
        } else {
            container.wait_for_status("stopped")?;
        }
        container.delete()?;
        test.leaves_nothing()?;
    }
    Ok(())
}

fn exec_during_a_checkpoint(test: &Test) -> Outcome {
    // It runs before, or after, or is refused; the container that is left running is none the worse.
    let container = counting(test)?;
    for delay in DELAYS {
        let images = test.new_path("images");
        let running = container.cmd("checkpoint", &["--leave-running", "--image-path", &images]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        let output = container.exec(&[], &["echo", "inside"]).output()?;
        assert!(output.code != 0 || output.stdout == "inside\n", "{output}");
        let dump = running.output()?;
        if dump.code != 0 {
            one_line(test, &dump, &["exec"])?;
        }
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")
}

fn pause_during_a_checkpoint(test: &Test) -> Outcome {
    let container = counting(test)?;
    for delay in DELAYS {
        let images = test.new_path("images");
        let running = container.cmd("checkpoint", &["--leave-running", "--image-path", &images]).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        container.cmd("pause", &[]).succeeds()?;
        running.output()?;
        assert_eq!(container.status()?, "paused");
        container.cmd("resume", &[]).succeeds()?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")
}
