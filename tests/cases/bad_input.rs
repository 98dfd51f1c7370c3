//! Wrong input: a non-zero exit, one line that names what is wrong, and nothing left behind.
//!
//! Image directories and CRIU itself are in `images.rs`.

use testkit::{BundleBuilder, Case, Cmd, Fallible, Outcome, Test, Value, both, json, needs, rt_only};

use super::{SLEEPER, one_line};

const COMMANDS_WITH_ID: [&[&str]; 11] = [
    &["state"],
    &["start"],
    &["kill"],
    &["delete"],
    &["pause"],
    &["resume"],
    &["ps"],
    &["ps", "--format", "json"],
    &["exec"],
    &["checkpoint"],
    &["kill", "--all"],
];

pub(crate) fn cases() -> Vec<Case> {
    [
        both("unknown_id", unknown_id),
        both("ids_that_are_none", ids_that_are_none),
        both("ids_that_are_none_anywhere", ids_that_are_none_anywhere),
        both("config_missing", config_missing),
        both("config_broken", config_broken),
        both("config_wrong_types", config_wrong_types),
        both("config_wrong_values", config_wrong_values),
        both("bundle_missing", bundle_missing),
        both("rootfs_missing", rootfs_missing),
        both("rootfs_is_a_file", rootfs_is_a_file),
        both("mount_source_missing", mount_source_missing),
        both("mount_of_a_directory_on_a_file", mount_of_a_directory_on_a_file),
        both("cwd_cannot_be_made", cwd_cannot_be_made),
        both("namespace_path_missing", namespace_path_missing),
        both("state_root_read_only", state_root_read_only).needs(needs::unshare),
        both("state_root_full", state_root_full).needs(needs::unshare),
        both("state_root_is_a_file", state_root_is_a_file),
        both("pid_file_in_a_missing_directory", pid_file_in_a_missing_directory),
        both("console_socket_missing", console_socket_missing),
        both("unknown_flag", unknown_flag),
        both("unknown_command", unknown_command),
        rt_only("missing_argument", "runc 1.1 accepts some of them", missing_argument),
        both("exec_bad_user", exec_bad_user),
        both("exec_process_file", exec_process_file),
        both("log_in_json", log_in_json),
        rt_only("log_holds_one_object", "runc logs warnings too", log_holds_one_object),
        rt_only("usage_behind_the_one_line", "runc prints the usage on stdout", usage_behind_the_one_line),
        rt_only("debug_tells_the_steps", "the steps are rt's", debug_tells_the_steps),
    ]
    .into()
}

/// The command fails in one line with `words`, and leaves nothing.
fn refused(test: &Test, command: Cmd, words: &[&str]) -> Outcome {
    let output = command.fails()?;
    one_line(test, &output, words)?;
    test.leaves_nothing().map_err(|left| format!("{}{output}", left.message().unwrap_or_default()).into())
}

/// `run` of the bundle is refused so.
fn run_refused(test: &Test, bundle: BundleBuilder, words: &[&str]) -> Outcome {
    let container = test.container(&bundle.build()?);
    refused(test, container.run_foreground(&[]), words)
}

fn unknown_id(test: &Test) -> Outcome {
    for command in COMMANDS_WITH_ID {
        let id = test.new_id();
        let images = test.new_path("images");
        let flags: &[&str] = if command[0] == "checkpoint" { &["--image-path", &images] } else { &[] };
        let rest: &[&str] = if command[0] == "exec" { &["true"] } else { &[] };
        // containerd and CRI-O look for these words.
        refused(test, test.cmd(command).args(flags).arg(&id).args(rest), &[&id, "does not exist"])?;
    }
    Ok(())
}

fn ids_that_are_none(test: &Test) -> Outcome {
    let bundle = test.bundle()?.build()?;
    let long = "x".repeat(1025);
    for id in ["../x", "a/b", "", ".", "..", "a b", "ä", "/", "a\nb", &long] {
        for command in ["create", "run", "state", "delete", "restore"] {
            let bundled = ["--bundle", bundle.directory()];
            let flags: &[&str] = if ["state", "delete"].contains(&command) { &[] } else { &bundled };
            let output = test.cmd(&[command]).args(flags).arg(id).fails()?;
            one_line(test, &output, &["id"])?;
        }
    }
    assert!(std::fs::read_dir(test.root())?.next().is_none());
    test.leaves_nothing()
}

/// Nor does any other command take such an id for a path.
fn ids_that_are_none_anywhere(test: &Test) -> Outcome {
    let other = test.run_script(SLEEPER)?;
    let sideways = format!("x/../{}", other.id);
    let long = "x".repeat(4096);
    for id in [sideways.as_str(), "..", "/", "\u{1b}[2J", "\r", "a\tb", &long] {
        for command in COMMANDS_WITH_ID {
            let rest: &[&str] = if command[0] == "exec" { &["true"] } else { &[] };
            test.cmd(command).arg(id).args(rest).fails()?;
        }
    }
    assert_eq!(other.status()?, "running");
    Ok(())
}

fn config_missing(test: &Test) -> Outcome {
    let bundle = test.bundle()?.build()?;
    std::fs::remove_file(bundle.config())?;
    for command in ["run", "create", "restore"] {
        let container = test.container(&bundle);
        refused(
            test,
            container.cmd(command, &["--bundle", bundle.directory()]),
            &["config.json", "no such file"],
        )?;
    }
    Ok(())
}

fn config_broken(test: &Test) -> Outcome {
    let bundle = test.bundle()?.build()?;
    for text in ["", "{", "{\"ociVersion\": \"1.0.2\", ", "[]", "nonsense", "{\"process\": {}} trailing"] {
        std::fs::write(bundle.config(), text)?;
        refused(test, test.container(&bundle).run_foreground(&[]), &["config.json"])?;
    }
    Ok(())
}

fn config_wrong_types(test: &Test) -> Outcome {
    for (pointer, value, path) in [
        ("/process/user/uid", json!("zero"), "process.user.uid"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args/0", json!(7), "process.args[0]"),
        ("/process/env", json!({}), "process.env"),
        ("/process/terminal", json!("no"), "process.terminal"),
        ("/mounts", json!({}), "mounts"),
        ("/mounts/1/destination", json!(3), "mounts[1].destination"),
        ("/root", json!("rootfs"), "root"),
        ("/root/path", json!(1), "root.path"),
        ("/linux/namespaces/0/type", json!(1), "linux.namespaces[0].type"),
        ("/process/rlimits/0/hard", json!("many"), "process.rlimits[0].hard"),
        ("/hostname", json!([]), "hostname"),
    ] {
        run_refused(test, test.bundle()?.set(pointer, value), &["config.json", path])?;
    }
    Ok(())
}

fn config_wrong_values(test: &Test) -> Outcome {
    for (pointer, value, words) in [
        ("/process/args", json!([]), ["process.args", "empty"]),
        ("/process/cwd", json!("tmp"), ["process.cwd", "absolute"]),
        ("/process/cwd", json!(""), ["process.cwd", ""]),
        ("/root/path", json!(""), ["root.path", ""]),
        ("/process/rlimits/0/type", json!("RLIMIT_NOSUCH"), ["process.rlimits[0].type", "RLIMIT_NOSUCH"]),
        ("/linux/namespaces/0/type", json!("nosuch"), ["linux.namespaces[0].type", "nosuch"]),
        ("/linux/namespaces/1/type", json!("pid"), ["linux.namespaces[1]", "pid"]),
    ] {
        run_refused(test, test.bundle()?.set(pointer, value), &words)?;
    }
    let without_process = test.bundle()?.edit(|config| config["process"] = Value::Null);
    run_refused(test, without_process, &["process"])
}

fn bundle_missing(test: &Test) -> Outcome {
    let missing = test.new_path("no-bundle");
    refused(test, test.cmd(&["run", "--bundle", &missing, &test.new_id()]), &[&missing, "no such file"])
}

fn rootfs_missing(test: &Test) -> Outcome {
    let bundle = test.bundle()?.build()?;
    std::fs::remove_dir_all(bundle.path(""))?;
    for command in ["run", "create"] {
        let container = test.container(&bundle);
        refused(
            test,
            container.cmd(command, &["--bundle", bundle.directory()]),
            &["rootfs", "no such file"],
        )?;
    }
    Ok(())
}

fn rootfs_is_a_file(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/root/path", json!("rootfs/etc/passwd"));
    run_refused(test, bundle, &["rootfs/etc/passwd", "not a directory"])
}

fn mount_source_missing(test: &Test) -> Outcome {
    let mount =
        json!({"destination": "/volume", "type": "bind", "source": "/no/such/source", "options": ["bind"]});
    run_refused(test, test.bundle()?.push("/mounts", mount), &["/no/such/source", "no such file"])
}

fn mount_of_a_directory_on_a_file(test: &Test) -> Outcome {
    let mount = json!({"destination": "/bin/busybox", "type": "bind", "source": "/etc", "options": ["bind"]});
    run_refused(test, test.bundle()?.push("/mounts", mount), &["/bin/busybox", "not a directory"])
}

fn cwd_cannot_be_made(test: &Test) -> Outcome {
    run_refused(
        test,
        test.bundle()?.set("/process/cwd", json!("/etc/passwd/below")),
        &["/etc/passwd/below", "not a directory"],
    )
}

fn namespace_path_missing(test: &Test) -> Outcome {
    run_refused(
        test,
        test.bundle()?.set("/linux/namespaces/1/path", json!("/no/such/namespace")),
        &["/no/such/namespace"],
    )
}

fn state_root_read_only(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("true").build()?);
    let root = test.root();
    let setup = format!("mount --bind {root} {root} && mount -o remount,ro,bind {root}");
    refused(test, container.run_foreground(&[]).in_private_mounts(&setup), &["read-only file system"])
}

fn state_root_full(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let root = test.root();
    let setup = format!("mount -t tmpfs -o size=4k none {root} && head -c 4096 /dev/zero >{root}/.fill");
    let command = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    refused(test, command.in_private_mounts(&setup), &["no space left on device"])
}

fn state_root_is_a_file(test: &Test) -> Outcome {
    let file = test.new_path("file");
    std::fs::write(&file, "")?;
    let bundle = test.bundle()?.script("true").build()?;
    let words = ["--root", &file, "run", "--bundle", bundle.directory(), &test.new_id()];
    refused(test, test.bare(&words), &[&file, "not a directory"])
}

fn pid_file_in_a_missing_directory(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let flags =
        ["--detach", "--pid-file", "/no/such/directory/pid", "--bundle", container.bundle.directory()];
    refused(test, container.cmd("run", &flags), &["/no/such/directory", "no such file"])
}

fn console_socket_missing(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().build()?);
    let flags = ["--detach", "--console-socket", "/no/such/socket", "--bundle", container.bundle.directory()];
    refused(test, container.cmd("run", &flags), &["/no/such/socket", "no such file"])
}

fn unknown_flag(test: &Test) -> Outcome {
    for command in ["run", "state", "checkpoint", "restore", "list", "spec"] {
        let output = test.cmd(&[command, "--frobnicate", "x"]).fails()?;
        assert!(output.stderr.contains("frobnicate") || !test.is_rt(), "{output}");
    }
    test.bare(&["--frobnicate", "list"]).fails()?;
    test.leaves_nothing()
}

fn unknown_command(test: &Test) -> Outcome {
    let output = test.cmd(&["frobnicate"]).output()?;
    assert!(output.code != 0 || !test.is_rt(), "{output}");
    assert!(format!("{}{}", output.stdout, output.stderr).contains("frobnicate"), "{output}");
    test.leaves_nothing()
}

fn missing_argument(test: &Test) -> Outcome {
    let id = test.new_id();
    for words in COMMANDS_WITH_ID.iter().copied().chain([&["create"] as &[&str], &["run"], &["restore"]]) {
        let output = test.cmd(words).fails()?;
        assert!(!output.stderr.trim().is_empty(), "{output}");
    }
    for words in [&["exec", &id] as &[&str], &["state", &id, "more"], &["run", "--bundle"], &["list", "more"]]
    {
        test.cmd(words).fails()?;
    }
    test.leaves_nothing()
}

fn exec_bad_user(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for user in ["nobody-here", "-1", "1:x", "99999999999", ":", "1:2:3"] {
        let output = container.exec(&["--user", user], &["true"]).output()?;
        assert!(output.code != 0 || !test.is_rt(), "{output}");
        if test.is_rt() {
            assert!(output.stderr.contains(user) && output.stderr.contains("user"), "{output}");
        }
    }
    Ok(())
}

fn exec_process_file(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let file = test.new_path("process");
    let exec = || test.cmd(&["exec", "--process", &file, &container.id]).fails();
    one_line(test, &exec()?, &[&file, "no such file"])?;
    std::fs::write(&file, "{")?;
    one_line(test, &exec()?, &[&file])?;
    std::fs::write(&file, json!({"args": ["true"], "cwd": "/", "user": {"uid": "x", "gid": 0}}).to_string())?;
    one_line(test, &exec()?, &[&file, "user.uid"])
}

/// The objects in the log of a command that fails.
fn logged(test: &Test) -> Fallible<Vec<Value>> {
    let log = test.new_path("log");
    test.cmd(&["--log", &log, "--log-format", "json", "state", &test.new_id()]).fails()?;
    let text = std::fs::read_to_string(log)?;
    Ok(serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>()?)
}

fn log_in_json(test: &Test) -> Outcome {
    let objects = logged(test)?;
    let last = objects.last().ok_or("the log is empty")?;
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().is_some_and(|text| text.contains("does not exist")), "{last}");
    let time = last["time"].as_str().unwrap_or_default();
    assert!(time.len() >= 20 && &time[10..11] == "T", "{last}");
    Ok(())
}

fn log_holds_one_object(test: &Test) -> Outcome {
    // podman reads the whole log as one object.
    assert_eq!(logged(test)?.len(), 1);
    Ok(())
}

fn usage_behind_the_one_line(test: &Test) -> Outcome {
    let log = test.new_path("log");
    for (words, first) in [
        (&["run", "--frobnicate"] as &[&str], "rt: flag provided but not defined: --frobnicate"),
        (&["frobnicate"], "rt: unknown command \"frobnicate\""),
        (&["run", "--bundle"], "rt: flag needs an argument: --bundle"),
        (&["state", "a", "b"], "rt: unexpected argument \"b\""),
        (&["state"], "rt: missing argument: <CONTAINER-ID>"),
    ] {
        let output = test.bare(&["--log", &log, "--log-format=json"]).args(words).fails()?;
        assert!(output.stderr.starts_with(first) && output.stderr.contains("\n\nUsage: rt"), "{output}");
        let object: Value = serde_json::from_str(&std::fs::read_to_string(&log)?)?;
        assert!(
            object["msg"].as_str().is_some_and(|text| first.ends_with(text) || text.starts_with(&first[4..]))
        );
        assert!(!object.to_string().contains("Usage"), "{object}");
        std::fs::remove_file(&log)?;
    }
    Ok(())
}

/// On stderr and in the log, each step with the time since the start.
fn debug_tells_the_steps(test: &Test) -> Outcome {
    let log = test.new_path("log");
    let container = test.container(&test.bundle()?.script("true").build()?);
    let words = ["--debug", "--log", &log, "run", "--bundle", container.bundle.directory(), &container.id];
    let output = test.cmd(&words).succeeds()?;
    for text in [&output.stderr, &std::fs::read_to_string(&log)?] {
        let times: Vec<f64> = text
            .lines()
            .filter_map(|line| line.split_once("[")?.1.split_once(" ms]")?.0.trim().parse().ok())
            .collect();
        assert!(times.len() >= 5 && times.is_sorted(), "{text}");
        for step in ["cgroup made", "init is ready", "the program runs", "cgroup removed"] {
            assert!(text.contains(step), "{step}: {text}");
        }
    }
    Ok(())
}
