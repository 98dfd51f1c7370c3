//! Descriptors of the caller that are open when the runtime starts (CVE-2024-21626).

use std::fs;

use testkit::{Case, Cmd, Outcome, Test, both, json, rt_only};

use super::super::SLEEPER;

/// What a careless engine leaves open: the host's root, a cgroup, a file for writing.
const LEAKS: &str = "exec 3</etc/hostname 4</ 5</sys/fs/cgroup 6>>/dev/null 7</";

pub(super) fn cases() -> Vec<Case> {
    vec![
        both("leaked_descriptors_stay_out", stay_out),
        rt_only("leaked_descriptors_and_hooks", "runc 1.1.5 passes them to hooks", hooks),
        both("working_directory_of_an_exec_is_a_leak", exec_cwd),
    ]
}

fn leaking(command: Cmd) -> Cmd {
    command.after_shell(LEAKS)
}

/// The container and what is executed in it get those that were asked for, and no other.
fn stay_out(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["ls", "/proc/self/fd"]).build()?;
    let run =
        |count: &str| leaking(test.container(&bundle).run_foreground(&["--preserve-fds", count])).succeeds();
    assert_eq!(run("0")?.stdout, "0\n1\n2\n3\n");
    assert_eq!(run("1")?.stdout, "0\n1\n2\n3\n4\n");
    let container = test.run_script(SLEEPER)?;
    let exec = |count: &str| {
        leaking(container.exec(&["--preserve-fds", count], &["ls", "/proc/self/fd"])).succeeds()
    };
    assert_eq!(exec("0")?.stdout, "0\n1\n2\n3\n");
    assert_eq!(exec("1")?.stdout, "0\n1\n2\n3\n4\n");
    Ok(())
}

/// What is meant for the container is not meant for hooks.
fn hooks(test: &Test) -> Outcome {
    let seen = test.new_path("seen");
    let script = format!("ls /proc/self/fd >>{seen}");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    let mut bundle = test.bundle()?.script("true");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bundle = bundle.push(&format!("/hooks/{kind}"), hook.clone());
    }
    let container = test.container(&bundle.build()?);
    leaking(container.run_foreground(&["--preserve-fds", "4"])).succeeds()?;
    // 0, 1, 2 and ls's own, five times.
    assert_eq!(fs::read_to_string(&seen)?, "0\n1\n2\n3\n".repeat(5));
    Ok(())
}

fn exec_cwd(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let host = fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "nothing".to_owned());
    for fd in 3..16 {
        let cwd = format!("/proc/self/fd/{fd}");
        let command = container.exec(&["--cwd", &cwd], &["cat", "etc/hostname", "../../../../etc/hostname"]);
        let output = leaking(command).output()?;
        assert!(output.code != 0 && !output.stdout.contains(host.trim()), "{output}");
    }
    Ok(())
}
