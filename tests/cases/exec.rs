//! `exec`.

use testkit::{Case, Outcome, Test, both, json, pseudo_terminal, rt_only, wait_until};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("output_and_status", output_and_status),
        both("status_of_a_signal", status_of_a_signal),
        both("stdin", stdin),
        both("cwd_env_user", cwd_env_user),
        both("additional_gids_and_cap", additional_gids_and_cap),
        rt_only(
            "long_and_short_flags",
            "runc refuses two forms of a flag in one command",
            long_and_short_flags,
        ),
        both("process_file", process_file),
        both("detached_with_pid_file", detached_with_pid_file),
        both("foreground_terminal", foreground_terminal),
        rt_only("terminal_on_a_pipe", "runc 1.1 leaves the carriage returns", terminal_on_a_pipe),
        both("console_socket", console_socket),
        both("missing_program", missing_program),
        rt_only("status_127_and_126", "runc 1.1 answers 255 and 1", status_127_and_126),
        both("in_paused_is_refused", in_paused_is_refused),
        both("in_stopped_is_refused", in_stopped_is_refused),
        both("in_created", in_created),
        both("same_world_as_init", same_world_as_init),
        both("inherits_nothing", inherits_nothing),
        both("relative_cwd_is_refused", relative_cwd_is_refused),
        both("flags_end_at_the_id", flags_end_at_the_id),
    ]
    .into()
}

fn output_and_status(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).output()?;
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (3, "out\n", "err\n"),
        "{output}"
    );
    Ok(())
}

fn status_of_a_signal(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    assert_eq!(container.exec(&[], &["sh", "-c", "kill -9 $$"]).output()?.code, 128 + 9);
    Ok(())
}

fn stdin(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    assert_eq!(container.exec(&[], &["wc", "-c"]).stdin("12345").succeeds()?.stdout, "5\n");
    Ok(())
}

fn cwd_env_user(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let flags = ["--cwd", "/tmp", "--env", "A=1", "--env", "B=2 3", "--user", "1000:2000"];
    let output = container.exec(&flags, &["sh", "-c", "pwd; echo $A $B; id -u; id -g"]).succeeds()?;
    assert_eq!(output.stdout, "/tmp\n1 2 3\n1000\n2000\n");
    Ok(())
}

fn additional_gids_and_cap(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let flags = ["-u", "1:1", "-g", "3000", "-g", "4000"];
    assert_eq!(container.exec(&flags, &["id", "-G"]).succeeds()?.stdout, "1 3000 4000\n");
    let script = "grep CapBnd /proc/self/status; ip link set lo mtu 9000";
    container.exec(&[], &["sh", "-c", script]).fails()?;
    container.exec(&["--cap", "CAP_NET_ADMIN"], &["sh", "-c", script]).succeeds()?;
    Ok(())
}

fn long_and_short_flags(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let flags = [
        "--env=A=1",
        "-e",
        "B=2",
        "-e=C=3",
        "-env",
        "D=4",
        "-g",
        "3000",
        "--additional-gids=4000",
        "-u",
        "1:1",
    ];
    let output = container.exec(&flags, &["sh", "-c", "echo $A $B $C $D; id -G"]).succeeds()?;
    assert_eq!(output.stdout, "1 2 3 4\n1 3000 4000\n");
    Ok(())
}

fn process_file(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let file = test.new_path("process");
    let process = json!({
        "args": ["sh", "-c", "echo $WORD; pwd; id -u"], "cwd": "/tmp", "user": {"uid": 7, "gid": 8},
        "env": ["PATH=/bin", "WORD=from-the-file"],
    });
    std::fs::write(&file, process.to_string())?;
    let output = test.cmd(&["exec", "--process", &file, &container.id]).succeeds()?;
    assert_eq!(output.stdout, "from-the-file\n/tmp\n7\n");
    Ok(())
}

fn detached_with_pid_file(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let file = test.new_path("pid");
    test.quiet(&["exec", "--detach", "--pid-file", &file, &container.id, "sleep", "999"]).succeeds()?;
    let pid = std::fs::read_to_string(file)?;
    wait_until("the program", || {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text == "sleep\x00999\0")
    })?;
    assert!(container.pids()?.contains(&pid.parse()?));
    Ok(())
}

/// As for `run`.
fn terminal_on_a_pipe(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let (_console, terminal) = pseudo_terminal()?;
    let (mut reader, writer) = testkit::pipe()?;
    let command = container.cmd("exec", &["--tty"]).args(["sh", "-c", "echo one; echo two"]);
    command.terminal(terminal).stdout(writer).spawn()?.output()?;
    reader.expect("one\ntwo\n")
}

fn foreground_terminal(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let (mut console, terminal) = pseudo_terminal()?;
    let script = "tty; read line; echo \"got:$line\"; exit 6";
    let running = container.cmd("exec", &["--tty"]).args(["sh", "-c", script]).terminal(terminal).spawn()?;
    console.expect("/dev/")?;
    console.send("hello\n")?;
    console.expect("got:hello")?;
    assert_eq!(running.output()?.code, 6);
    Ok(())
}

fn console_socket(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let socket = test.console_socket()?;
    let flags = ["exec", "--tty", "--detach", "--console-socket", socket.path(), &container.id, "sh"];
    test.quiet(&flags).succeeds()?;
    let mut console = socket.accept()?;
    console.send("echo $((6*7))\n")?;
    console.expect("42")?;
    console.send("exit\n")
}

fn missing_program(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&[], &["no-such-program"]).fails()?;
    super::one_line(test, &output, &["no-such-program", "executable file not found in $PATH"])?;
    let output = container.exec(&[], &["/no/such/program"]).fails()?;
    super::one_line(test, &output, &["/no/such/program", "no such file or directory"])?;
    let output = container.exec(&[], &["/etc/passwd"]).fails()?;
    super::one_line(test, &output, &["/etc/passwd", "permission denied"])?;
    assert_eq!(container.pids()?.len(), 2, "only the shell and its sleep");
    Ok(())
}

fn status_127_and_126(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    assert_eq!(container.exec(&[], &["no-such-program"]).output()?.code, 127);
    assert_eq!(container.exec(&[], &["/no/such/program"]).output()?.code, 127);
    assert_eq!(container.exec(&[], &["/etc/passwd"]).output()?.code, 126);
    Ok(())
}

fn in_paused_is_refused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    let output = container.exec(&[], &["true"]).fails()?;
    super::one_line(test, &output, &["paused"])?;
    assert_eq!(container.status()?, "paused");
    Ok(())
}

fn in_stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.exec(&[], &["true"]).fails()?;
    super::one_line(test, &output, &["stopped"])
}

fn in_created(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.quiet("create", &[]).succeeds()?;
    assert_eq!(container.exec(&[], &["echo", "early"]).succeeds()?.stdout, "early\n");
    assert_eq!(container.status()?, "created");
    Ok(())
}

fn same_world_as_init(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let script = "for n in cgroup ipc mnt net pid uts; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo $n differs; done; \
        grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status >/tmp/mine; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/1/status >/tmp/its; \
        while read line; do grep -q \"$line\" /tmp/its || echo \"$line is new\"; done </tmp/mine; \
        while read line; do grep -q \"$line\" /proc/1/cgroup || echo \"$line is new\"; done </proc/self/cgroup; cat /proc/self/oom_score_adj >/tmp/oom";
    let output = container.exec(&[], &["sh", "-c", script]).succeeds()?;
    assert_eq!(output.stdout, "");
    Ok(())
}

fn inherits_nothing(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    assert_eq!(container.exec(&[], &["ls", "/proc/self/fd"]).succeeds()?.stdout, "0\n1\n2\n3\n");
    Ok(())
}

fn relative_cwd_is_refused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&["--cwd", "tmp"], &["true"]).fails()?;
    super::one_line(test, &output, &["cwd"])
}

fn flags_end_at_the_id(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&[], &["echo", "--detach", "-t", "--", "--env"]).succeeds()?;
    assert_eq!(output.stdout, "--detach -t -- --env\n");
    Ok(())
}
