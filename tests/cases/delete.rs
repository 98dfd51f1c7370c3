//! `delete`.

use testkit::{Case, Outcome, Test, both};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("stopped", stopped),
        both("running_is_refused", running_is_refused),
        both("force_running", force_running),
        both("force_paused", force_paused),
        both("force_missing_is_fine", force_missing_is_fine),
        both("frees_the_id", frees_the_id),
        both("kills_what_survived_init", kills_what_survived_init),
        both("several_processes", several_processes),
    ]
    .into()
}

fn stopped(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    container.cmd("delete", &[]).succeeds()?;
    assert_eq!(container.status()?, "absent");
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
    let bundle = test.bundle()?.edit(|config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
    });
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
