//! `checkpoint --check` of containers that can be dumped, and then are; and `criu check`.

use testkit::{Case, Container, Fallible, Outcome, Test, Value, json, needs, rt_only, wait_until};

use super::SLEEPER;
use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken};
use super::diagnosis::would_fail;

pub(crate) fn cases() -> Vec<Case> {
    const OURS: &str = "the option is rt's";
    [
        rt_only("sleeping_shell", OURS, |test| works(&test.run_script(SLEEPER)?)),
        rt_only("counter_is_not_disturbed", OURS, counter_is_not_disturbed),
        rt_only("listening_server", OURS, listening_server).needs(needs::criu_for_tcp),
        rt_only("terminal", OURS, terminal),
        rt_only("binds_and_tmpfs", OURS, binds_and_tmpfs),
        rt_only("host_log_as_output", OURS, host_log_as_output),
        rt_only("paused_stays_paused", OURS, paused_stays_paused),
        rt_only("process_of_an_exec", OURS, process_of_an_exec),
        rt_only("mapped_mount", OURS, mapped_mount),
        rt_only("pre_dump_where_it_cannot_be", OURS, pre_dump_where_it_cannot_be)
            .needs(needs::no_memory_tracking),
        rt_only("as_a_table", OURS, as_a_table),
        rt_only("machine", OURS, machine),
        rt_only("machine_without_criu", OURS, machine_without_criu),
        rt_only("refused_options", OURS, refused_options),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// The check finds nothing in the way, and the checkpoint works.
fn works(container: &Container<'_>) -> Outcome {
    assert_eq!(would_fail(container, &[])?, Vec::<Value>::new());
    container.checkpoint(&container.test.new_path("images"), &[]).map(drop)
}

fn counter_is_not_disturbed(test: &Test) -> Outcome {
    let container = counting(test)?;
    for _ in 0..3 {
        assert_eq!(would_fail(&container, &[])?, Vec::<Value>::new());
        counts_on(&container.bundle, "/log", 2)?;
    }
    is_unbroken(&container.bundle, "/log")?;
    works(&container)
}

fn listening_server(test: &Test) -> Outcome {
    let container = test.run_script("mkfifo /quiet; nc -l -p 5000 0<>/quiet; sleep 1000")?;
    let listens = || {
        container.exec(&[], &["netstat", "-ltn"]).output().is_ok_and(|output| output.stdout.contains(":5000"))
    };
    wait_until("a listening socket", listens)?;
    works(&container)
}

fn terminal(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().script(SLEEPER).build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let _console = socket.accept()?;
    works(&container)
}

fn binds_and_tmpfs(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    std::fs::create_dir(&volume)?;
    let bind =
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]});
    let tmpfs =
        json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]});
    let script = format!("echo kept >/scratch/file; exec 3<>/volume/log; {SLEEPER}");
    let bundle = test.bundle()?.push("/mounts", bind).push("/mounts", tmpfs).script(&script).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    works(&container)
}

fn host_log_as_output(test: &Test) -> Outcome {
    let container =
        test.container(&test.bundle()?.script("echo hello; while :; do sleep 1000; done").build()?);
    let file = test.new_path("output");
    let command = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    command.after_shell(&format!("exec </dev/null >{file} 2>&1")).succeeds()?;
    works(&container)
}

fn paused_stays_paused(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    container.cmd("pause", &[]).succeeds()?;
    assert_eq!(would_fail(&container, &[])?, Vec::<Value>::new());
    assert_eq!(container.status()?, "paused");
    container.cmd("resume", &[]).succeeds().map(drop)
}

fn process_of_an_exec(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let _exec = container.exec(&[], &["sleep", "1000"]).spawn()?;
    wait_until("the process", || container.pids().is_ok_and(|pids| pids.len() > 2))?;
    let failures = would_fail(&container, &[])?;
    assert!(failures.len() == 1 && failures[0]["class"] == "exec-process", "{failures:?}");
    assert!(failures[0]["object"].as_str().is_some_and(|object| object.contains("(sleep)")), "{failures:?}");
    assert_eq!(would_fail(&container, &["--leave-running"])?, Vec::<Value>::new());
    container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails().map(drop)
}

fn mapped_mount(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    std::fs::create_dir(&volume)?;
    let mount = json!({
        "destination": "/volume", "type": "bind", "source": volume, "options": ["bind"],
        "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 1}],
    });
    let container = test.container(&test.bundle()?.push("/mounts", mount).script(SLEEPER).build()?);
    container.run(&[])?;
    let failures = would_fail(&container, &[])?;
    assert!(failures.len() == 1 && failures[0]["class"] == "unsupported", "{failures:?}");
    container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails().map(drop)
}

fn pre_dump_where_it_cannot_be(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let failures = would_fail(&container, &["--pre-dump"])?;
    assert!(failures.len() == 1 && failures[0]["class"] == "memory-tracking", "{failures:?}");
    container.cmd("checkpoint", &["--pre-dump", "--image-path", &test.new_path("images")]).fails().map(drop)
}

fn as_a_table(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.cmd("checkpoint", &["--check"]).succeeds()?;
    assert!(output.stdout.starts_with("VERDICT") && output.stderr.is_empty(), "{output}");
    for words in [
        ["ok", "criu-too-old", "Linux"],
        ["ok", "no-space", "free for"],
        ["ok", "unsupported", "descriptors"],
    ] {
        let is_it = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(output.stdout.lines().any(is_it), "{words:?}: {output}");
    }
    Ok(())
}

/// What `criu check` prints, as an object.
fn machine_report(test: &Test, criu: Option<&str>) -> Fallible<(i32, Value)> {
    let mut command = test.cmd(&["criu", "check", "--format", "json"]);
    if let Some(criu) = criu {
        command = command.env("RT_CRIU", criu);
    }
    let output = command.output()?;
    assert_eq!(output.stderr, "", "{output}");
    Ok((output.code, serde_json::from_str(&output.stdout)?))
}

fn machine(test: &Test) -> Outcome {
    let (code, report) = machine_report(test, None)?;
    assert_eq!((code, report["works"].as_bool()), (0, Some(true)), "{report}");
    let findings = report["findings"].as_array().ok_or("no findings")?;
    for class in ["criu-too-old", "memory-tracking", "userfaultfd", "pipe-size", "kernel-feature"] {
        assert!(findings.iter().any(|one| one["class"] == class), "{class}: {report}");
    }
    let table = test.cmd(&["criu", "check"]).succeeds()?;
    assert!(table.stdout.starts_with("VERDICT") && table.stdout.contains("kernel-feature"), "{table}");
    Ok(())
}

fn machine_without_criu(test: &Test) -> Outcome {
    let (code, report) = machine_report(test, Some("/bin/false"))?;
    assert_eq!((code, report["findings"][0]["verdict"].as_str()), (1, Some("would-fail")), "{report}");
    let output = test.cmd(&["criu", "check"]).env("RT_CRIU", "/nonexistent").fails()?;
    super::one_line(test, &output, &["/nonexistent", "no such file"])
}

fn refused_options(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.cmd("checkpoint", &["--format", "json"]).fails()?;
    super::one_line(test, &output, &["--format", "--check"])?;
    test.cmd(&["criu"]).fails()?;
    test.cmd(&["criu", "nonsense"]).fails()?;
    test.cmd(&["checkpoint", "--check", &test.new_id()]).fails()?;
    assert_eq!(container.status()?, "running");
    Ok(())
}
