//! `create`.

use testkit::{Case, Outcome, Test, both, json};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("waits_for_start", waits_for_start),
        both("pid_file", pid_file),
        both("deleted_before_start", deleted_before_start),
        both("killed_before_start", killed_before_start),
        both("asked_to_end_before_start", asked_to_end_before_start),
        both("holds_nothing_of_the_callers", holds_nothing_of_the_callers),
        both("terminal_needs_a_socket", terminal_needs_a_socket),
        both("socket_needs_a_terminal", socket_needs_a_terminal),
        both("hostname_and_sysctl", hostname_and_sysctl),
    ]
    .into()
}

fn waits_for_start(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("touch /started; sleep 1000").build()?);
    container.quiet("create", &[]).succeeds()?;
    assert_eq!(container.status()?, "created");
    let pid = container.pid()?;
    assert!(!std::fs::exists(container.bundle.path("/started"))?);
    container.cmd("start", &[]).succeeds()?;
    assert_eq!(container.status()?, "running");
    assert_eq!(container.pid()?, pid);
    testkit::wait_until("the program", || {
        std::fs::exists(container.bundle.path("/started")).is_ok_and(|yes| yes)
    })
}

fn pid_file(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let file = test.new_path("pid");
    container.quiet("create", &["--pid-file", &file]).succeeds()?;
    assert_eq!(std::fs::read_to_string(file)?, container.pid()?.to_string());
    Ok(())
}

fn deleted_before_start(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.quiet("create", &[]).succeeds()?;
    // runc deletes a created container without --force.
    container.cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()
}

fn killed_before_start(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    container.wait_for_status("stopped")?;
    container.cmd("start", &[]).fails()?;
    container.cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()
}

/// The first process of a pid namespace, which the kernel spares such signals unless it has said that it wants them.
fn asked_to_end_before_start(test: &Test) -> Outcome {
    for signal in ["TERM", "INT", "HUP"] {
        let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
        container.quiet("create", &[]).succeeds()?;
        container.cmd("kill", &[]).arg(signal).succeeds()?;
        container.wait_for_status("stopped")?;
    }
    Ok(())
}

/// Neither what the caller had open, which may be a pipe whose end somebody waits for, nor the container's cgroup.
fn holds_nothing_of_the_callers(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let file = test.new_path("open");
    container.quiet("create", &[]).after_shell(&format!("exec 7>{file}")).succeeds()?;
    for fd in std::fs::read_dir(format!("/proc/{}/fd", container.pid()?))? {
        let target = std::fs::read_link(fd?.path())?;
        let target = target.to_string_lossy();
        assert!(target != file && !target.contains("/cgroup/"), "{target}");
    }
    Ok(())
}

fn terminal_needs_a_socket(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().build()?);
    let output = container.cmd("create", &["--bundle", container.bundle.directory()]).fails()?;
    super::one_line(test, &output, &["console"])?;
    test.leaves_nothing()
}

fn socket_needs_a_terminal(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.build()?);
    let socket = test.console_socket()?;
    let flags = ["--bundle", container.bundle.directory(), "--console-socket", socket.path()];
    let output = container.cmd("create", &flags).fails()?;
    super::one_line(test, &output, &["console", "terminal"])?;
    test.leaves_nothing()
}

fn hostname_and_sysctl(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .set("/hostname", json!("a-name"))
        .edit(|config| config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}))
        .script("hostname; cat /proc/sys/net/ipv4/ip_forward")
        .build()?;
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "a-name\n1\n");
    Ok(())
}
