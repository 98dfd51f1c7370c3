//! `start`.

use testkit::{Case, Outcome, Test, both};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("twice_is_refused", twice_is_refused),
        both("of_stopped_is_refused", of_stopped_is_refused),
        both("output_of_a_created_container", output_of_a_created_container),
        both("missing_program", missing_program),
    ]
    .into()
}

fn twice_is_refused(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("start", &[]).succeeds()?;
    let output = container.cmd("start", &[]).fails()?;
    super::one_line(test, &output, &["running"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn of_stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("start", &[]).fails()?;
    super::one_line(test, &output, &["stopped"])
}

fn output_of_a_created_container(test: &Test) -> Outcome {
    // The descriptors are those of `create`; `start` has none to give.
    let container = test.container(&test.bundle()?.script("echo to-create").build()?);
    let file = test.new_path("output");
    let words = ["create", "--bundle", container.bundle.directory(), &container.id];
    test.cmd(&words).after_shell(&format!("exec >{file}")).succeeds()?;
    assert_eq!(container.cmd("start", &[]).succeeds()?.stdout, "");
    container.wait_for_status("stopped")?;
    assert_eq!(std::fs::read_to_string(file)?, "to-create\n");
    Ok(())
}

fn missing_program(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.args(&["no-such-program"]).build()?);
    let created = container.quiet("create", &[]).output()?;
    // Whether `create` or `start` looks for the program is the runtime's choice; one of them must say so.
    if created.code == 0 {
        container.cmd("start", &[]).fails()?;
        container.delete()?;
    }
    test.leaves_nothing()
}
