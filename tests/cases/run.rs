//! `run`.

use testkit::{Case, Outcome, Test, both, json, pseudo_terminal, wait_until};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("exit_status_zero", |test| exit_status(test, "true", 0)),
        both("exit_status_three", |test| exit_status(test, "exit 3", 3)),
        both("exit_status_of_a_signal", |test| {
            exit_status(test, "exec 2>/dev/null; sh -c 'kill -9 $$'; exit $?", 128 + 9)
        }),
        both("init_killed_by_a_signal", init_killed_by_a_signal),
        both("stdin_stdout_stderr", stdin_stdout_stderr),
        both("long_output_arrives_whole", long_output_arrives_whole),
        both("detached", detached),
        both("pid_file", pid_file),
        both("console_socket", console_socket),
        both("foreground_terminal", foreground_terminal),
        both("terminal_on_a_pipe", terminal_on_a_pipe),
        both("terminal_size", terminal_size),
        both("forwards_signals", forwards_signals),
        both("keep", keep),
        both("missing_program", missing_program),
        both("program_without_x", program_without_x),
        both("env_cwd_user", env_cwd_user),
        both("inherits_nothing", inherits_nothing),
        both("inherits_no_ignored_signals", inherits_no_ignored_signals),
        both("ignored_sigchld", ignored_sigchld),
        both("preserve_fds", preserve_fds),
        both("absolute_rootfs", absolute_rootfs),
        both("cgroups_path", cgroups_path),
        both("single_dash_and_equals", single_dash_and_equals),
        both("root_is_read_only", root_is_read_only),
    ]
    .into()
}

fn exit_status(test: &Test, script: &str, expected: i32) -> Outcome {
    let container = test.container(&test.bundle()?.script(script).build()?);
    let output = container.run_foreground(&[]).output()?;
    assert_eq!(output.code, expected, "{output}");
    assert_eq!(output.stderr, "", "{output}");
    test.leaves_nothing()
}

fn init_killed_by_a_signal(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let running = container.run_foreground(&[]).spawn()?;
    container.wait_for_status("running")?;
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    assert_eq!(running.output()?.code, 128 + 9);
    test.leaves_nothing()
}

fn stdin_stdout_stderr(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("cat; echo problem >&2").build()?);
    let output = container.run_foreground(&[]).stdin("one\ntwo\n").succeeds()?;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\ntwo\n", "problem\n"));
    Ok(())
}

fn long_output_arrives_whole(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("seq 1 100000").build()?);
    let output = container.run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout.lines().count(), 100_000);
    assert!(output.stdout.ends_with("\n100000\n"));
    Ok(())
}

fn detached(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    assert_eq!(container.status()?, "running");
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", container.pid()?))?;
    assert_eq!(command.split('\0').next(), Some("sh"), "running means that the program has been executed");
    container.delete()?;
    test.leaves_nothing()
}

fn pid_file(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let file = test.new_path("pid");
    container.run(&["--pid-file", &file])?;
    assert_eq!(std::fs::read_to_string(file)?, container.pid()?.to_string());
    Ok(())
}

fn console_socket(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("tty; test -t 0 -a -t 1 -a -t 2 && echo all''three; echo $((6*7))\n")?;
    console.expect("/dev/")?;
    console.expect("allthree")?;
    console.expect("42")?;
    console.send("exit\n")?;
    container.wait_for_status("stopped")
}

fn foreground_terminal(test: &Test) -> Outcome {
    let container =
        test.container(&test.bundle()?.terminal().script("read line; echo \"got:$line\"; exit 5").build()?);
    let (mut console, terminal) = pseudo_terminal()?;
    let running = container.run_foreground(&[]).terminal(terminal).spawn()?;
    container.wait_for_status("running")?;
    console.send("hello\n")?;
    console.expect("got:hello")?;
    assert_eq!(running.output()?.code, 5);
    test.leaves_nothing()
}

/// What a terminal would add to the ends of lines is no part of the output.
fn terminal_on_a_pipe(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().script("echo one; echo two").build()?);
    let (_console, terminal) = pseudo_terminal()?;
    let (mut reader, writer) = testkit::pipe()?;
    container.run_foreground(&[]).terminal(terminal).stdout(writer).spawn()?.output()?;
    reader.expect("one\ntwo\n")
}

fn terminal_size(test: &Test) -> Outcome {
    let bundle = test.bundle()?.terminal().set("/process/consoleSize", json!({"height": 31, "width": 99}));
    let container = test.container(&bundle.script("stty size; sleep 1000").build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    socket.accept()?.expect("31 99")
}

fn forwards_signals(test: &Test) -> Outcome {
    let script = "trap 'exit 9' TERM; touch /ready; while :; do usleep 10000; done";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let running = container.run_foreground(&[]).spawn()?;
    wait_until("the trap", || std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    testkit::Cmd::new("kill").args(["-TERM", &running.pid().to_string()]).succeeds()?;
    assert_eq!(running.output()?.code, 9);
    Ok(())
}

fn keep(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("exit 4").build()?);
    assert_eq!(container.run_foreground(&["--keep"]).output()?.code, 4);
    assert_eq!(container.status()?, "stopped");
    container.cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()
}

fn missing_program(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.args(&["no-such-program"]).build()?);
    let output = container.run_foreground(&[]).fails()?;
    // podman and docker look for these words.
    super::one_line(test, &output, &["no-such-program", "executable file not found in $PATH"])?;
    test.leaves_nothing()
}

fn program_without_x(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["/etc/passwd"]).build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    super::one_line(test, &output, &["/etc/passwd", "permission denied"])?;
    test.leaves_nothing()
}

fn env_cwd_user(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .push("/process/env", json!("WORD=a b"))
        .set("/process/cwd", json!("/tmp"))
        .set("/process/user", json!({"uid": 1000, "gid": 2000, "additionalGids": [3000]}))
        .script("echo \"$WORD\"; pwd; id -u; id -g; id -G; echo $HOME; umask")
        .build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, "a b\n/tmp\n1000\n2000\n2000 3000\n/\n0022\n");
    Ok(())
}

fn inherits_nothing(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["ls", "/proc/self/fd"]).build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    // The fourth is ls's own, of the directory.
    assert_eq!(output.stdout, "0\n1\n2\n3\n");
    Ok(())
}

fn inherits_no_ignored_signals(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["grep", "SigIgn", "/proc/self/status"]).build()?;
    let command =
        test.container(&bundle).run_foreground(&[]).after_shell("trap '' HUP INT QUIT TERM USR1 USR2 PIPE");
    let output = command.succeeds()?;
    let mask = output.stdout.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok());
    // Those that libc hides are not Go's business; parity has them.
    assert_eq!(mask.map(|mask| mask & 0x7fff_ffff), Some(0), "{output}");
    Ok(())
}

fn ignored_sigchld(test: &Test) -> Outcome {
    // Some supervisors start their children so. The kernel then reaps before anybody can wait. (A shell's `trap` need not
    // reach the program.)
    let container = test.container(&test.bundle()?.script("echo here; exit 3").build()?);
    let output =
        container.run_foreground(&[]).after_shell("exec env --ignore-signal=CHLD \"$0\" \"$@\"").output()?;
    assert_eq!((output.code, output.stdout.as_str()), (3, "here\n"), "{output}");
    test.leaves_nothing()
}

fn preserve_fds(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script("cat <&3").build()?;
    let container = test.container(&bundle);
    let file = test.new_path("third");
    std::fs::write(&file, "by descriptor\n")?;
    let words = ["run", "--preserve-fds", "1", "--bundle", bundle.directory(), &container.id];
    let command = test.cmd(&words).after_shell(&format!("exec 3<{file}"));
    assert_eq!(command.succeeds()?.stdout, "by descriptor\n");
    Ok(())
}

fn absolute_rootfs(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script("echo here").build()?;
    let rootfs = bundle.path("");
    let other = test.bundle()?.set("/root/path", json!(rootfs)).script("echo there").build()?;
    std::fs::remove_dir_all(other.path(""))?;
    assert_eq!(test.container(&other).run_foreground(&[]).succeeds()?.stdout, "there\n");
    Ok(())
}

fn cgroups_path(test: &Test) -> Outcome {
    let name = format!("/{}", test.new_id());
    let bundle = test.bundle()?.set("/linux/cgroupsPath", json!(name)).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    assert!(cgroup.lines().any(|line| line.ends_with(&name)), "{cgroup}");
    container.delete()?;
    Ok(())
}

fn single_dash_and_equals(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script("echo fine").build()?;
    let container = test.container(&bundle);
    let flag = format!("-bundle={}", bundle.directory());
    let output = test
        .cmd(&["run", &flag, "-no-pivot=false", "--no-new-keyring", "-no-new-keyring", &container.id])
        .succeeds()?;
    assert_eq!(output.stdout, "fine\n");
    Ok(())
}

fn root_is_read_only(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/root/readonly", json!(true)).script("echo x >/file").build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    Ok(())
}
