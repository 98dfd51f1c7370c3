//! Hooks: when they run, what they are told, and what becomes of the container when one fails.

use std::time::{Duration, Instant};

use testkit::{
    BundleBuilder, Case, Container, Fallible, Outcome, Test, Value, both, json, needs, rt_only, wait_until,
};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on};
use super::{SLEEPER, one_line};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        rt_only("order_and_state", "runc 1.1 runs poststart at create", order_and_state),
        both("arguments_and_environment", arguments_and_environment),
        both("failing_prestart", |test| failing(test, "prestart")),
        both("failing_create_runtime", |test| failing(test, "createRuntime")),
        both("failing_create_container", |test| failing(test, "createContainer")),
        rt_only("failing_start_container", "runc 1.1 has returned by then", |test| {
            failing(test, "startContainer")
        }),
        both("failing_poststart", |test| failing(test, "poststart")),
        rt_only(
            "failing_poststop_is_no_obstacle",
            "runc 1.1 skips the hooks after it",
            failing_poststop_is_no_obstacle,
        ),
        both("missing_hook", missing_hook),
        both("timeout", timeout),
        rt_only("timeout_ends_what_it_started", "runc kills the hook alone", timeout_ends_what_it_started),
        both("directories", directories),
        both("signals_of_a_foreground_hook", signals_of_a_foreground_hook),
        rt_only("empty_environment", "runc passes its own on", empty_environment),
        both("environment_of_the_program", environment_of_the_program),
        both("ends_before_its_state", ends_before_its_state),
        both("much_output", much_output),
        both("does_not_read_its_state", does_not_read_its_state),
        rt_only("restore_runs_them", "runc 1.1 does not run poststart", restore_runs_them).needs(needs::criu),
        rt_only("failing_at_restore", "runc 1.1 ignores it", failing_at_restore).needs(needs::criu),
    ]
}

/// A hook that is a shell script; every kind finds a shell at /bin/sh, on the host or in the image.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

/// A bundle whose hooks each write a line with their kind and the state into the image's /hooks.
fn noting(test: &Test, script: &str) -> Fallible<BundleBuilder> {
    let builder = test.bundle()?.script(script);
    let from_outside = builder.path("/hooks");
    Ok(KINDS.iter().fold(builder, |builder, kind| {
        // The one kind that runs when the image has become the root.
        let file = if *kind == "startContainer" { "/hooks" } else { &from_outside };
        builder.push(
            &format!("/hooks/{kind}"),
            hook(&format!("state=$(tr -d ' \\n\\t'); echo {kind} \"$state\" >>{file}")),
        )
    }))
}

/// The kinds that have run, with the state that each was given.
fn noted(container: &Container<'_>) -> Fallible<Vec<(String, Value)>> {
    let text = container.bundle.read("/hooks");
    text.lines()
        .map(|line| {
            let (kind, state) = line.split_once(' ').ok_or("a hook was given no state")?;
            Ok((kind.to_owned(), serde_json::from_str(state)?))
        })
        .collect()
}

fn kinds(noted: &[(String, Value)]) -> Vec<&str> {
    noted.iter().map(|(kind, _)| kind.as_str()).collect()
}

fn order_and_state(test: &Test) -> Outcome {
    let container = test.container(&noting(test, SLEEPER)?.build()?);
    container.quiet("create", &[]).succeeds()?;
    assert_eq!(kinds(&noted(&container)?), KINDS[..3]);
    container.cmd("start", &[]).succeeds()?;
    assert_eq!(kinds(&noted(&container)?), KINDS[..5]);
    let pid = container.pid()?;
    container.delete()?;
    let noted = noted(&container)?;
    assert_eq!(kinds(&noted), KINDS);
    for (kind, state) in &noted {
        assert_eq!(state["id"], container.id.as_str(), "{kind}");
        assert_eq!(state["bundle"], container.bundle.directory(), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        let status = match kind.as_str() {
            "startContainer" => "created",
            "poststart" => "running",
            "poststop" => "stopped",
            _ => "creating",
        };
        assert_eq!(state["status"], status, "{kind}");
        let told = state["pid"].as_u64().unwrap_or(0);
        // Inside the container's pid namespace, runc tells the number that counts there.
        let inside = ["createContainer", "startContainer"].contains(&kind.as_str()) && told == 1;
        assert!(told == pid || inside || kind == "poststop", "{kind} was told pid {told}, which is {pid}");
    }
    Ok(())
}

fn arguments_and_environment(test: &Test) -> Outcome {
    let builder = test.bundle()?.script(SLEEPER);
    let script = format!(
        "cat >/dev/null; echo $0 $1 $ONE; env | grep -c HOME; ls -l /proc/self/fd >{}",
        builder.path("/fds")
    );
    let seen = builder.path("/seen");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("{{ {script}; }} >{seen}"), "zero", "a b"],
        "env": ["PATH=/usr/bin:/bin", "ONE=1=1"]});
    let container = test.container(&builder.push("/hooks/createRuntime", hook).build()?);
    container.run(&[])?;
    assert_eq!(container.bundle.read("/seen"), "zero a b 1=1\n0\n");
    // A line of its own, 0, 1, 2 and ls's.
    let files = container.bundle.read("/fds");
    assert_eq!(files.lines().count(), 5, "a hook inherits descriptors of the runtime:\n{files}");
    Ok(())
}

/// The failing hook is named, the container is gone, and nothing of its program has run unless it had to.
fn failing(test: &Test, kind: &str) -> Outcome {
    let bundle = test.bundle()?.script("touch /ran; sleep 1000");
    let bundle = bundle.push(&format!("/hooks/{kind}"), hook("echo the reason >&2; exit 3")).build()?;
    let container = test.container(&bundle);
    let output = container.cmd("run", &["--detach", "--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &[kind, "/bin/sh", "the reason"])?;
    assert!(kind == "poststart" || !std::fs::exists(bundle.path("/ran"))?, "the program has run");
    assert_eq!(container.status()?, "absent");
    test.leaves_nothing()
}

fn failing_poststop_is_no_obstacle(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(SLEEPER).push("/hooks/poststop", hook("exit 3"));
    let second = bundle.path("/second");
    let container =
        test.container(&bundle.push("/hooks/poststop", hook(&format!("touch {second}"))).build()?);
    container.run(&[])?;
    container.delete()?;
    assert_eq!(container.status()?, "absent");
    // The specification: log it, and go on with the others.
    assert!(std::fs::exists(second)?, "the hook after the failing one has not run");
    test.leaves_nothing()
}

fn missing_hook(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .script(SLEEPER)
        .push("/hooks/createRuntime", json!({"path": "/no/such/hook"}))
        .build()?;
    let output = test.container(&bundle).cmd("run", &["--detach", "--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["createRuntime", "/no/such/hook", "no such file"])?;
    test.leaves_nothing()
}

fn timeout(test: &Test) -> Outcome {
    let slow = json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1});
    let bundle = test.bundle()?.script(SLEEPER).push("/hooks/createRuntime", slow).build()?;
    let started = Instant::now();
    let output = test.container(&bundle).cmd("run", &["--detach", "--bundle", bundle.directory()]).fails()?;
    assert!(started.elapsed() > Duration::from_millis(900), "{output}");
    one_line(test, &output, &["createRuntime", "/bin/sleep"])?;
    test.leaves_nothing()
}

fn timeout_ends_what_it_started(test: &Test) -> Outcome {
    let builder = test.bundle()?.script(SLEEPER);
    let started = builder.path("/started");
    let script = format!("sleep 1000 & echo $! >{started}; wait");
    let slow =
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], "timeout": 1});
    let bundle = builder.push("/hooks/createRuntime", slow).build()?;
    let output = test.container(&bundle).cmd("run", &["--detach", "--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["createRuntime", "past specified timeout of 1.0s"])?;
    let stat = format!("/proc/{}/stat", bundle.read("/started").trim());
    wait_until("the end of what the hook started", || {
        std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "))
    })?;
    test.leaves_nothing()
}

/// The hooks of the runtime run in the bundle, those in the container in its root.
fn directories(test: &Test) -> Outcome {
    let builder = test.bundle()?.script(SLEEPER).set("/process/cwd", json!("/tmp"));
    let seen = builder.path("/seen");
    let builder = ["prestart", "createRuntime", "createContainer"].iter().fold(builder, |builder, kind| {
        builder.push(&format!("/hooks/{kind}"), hook(&format!("pwd -P >>{seen}")))
    });
    let container = test.container(&builder.push("/hooks/startContainer", hook("pwd >>/seen")).build()?);
    container.run(&[])?;
    let bundle = std::fs::canonicalize(container.bundle.directory())?.display().to_string();
    assert_eq!(container.bundle.read("/seen"), format!("{bundle}\n{bundle}\n{bundle}/rootfs\n/tmp\n"));
    Ok(())
}

/// A runtime in the foreground takes signals itself; its hooks must not find them blocked.
fn signals_of_a_foreground_hook(test: &Test) -> Outcome {
    let builder = test.bundle()?.script("true");
    let seen = builder.path("/seen");
    let script = format!("grep SigBlk /proc/self/status >{seen}");
    let container = test.container(&builder.push("/hooks/createRuntime", hook(&script)).build()?);
    container.run_foreground(&[]).succeeds()?;
    assert_eq!(container.bundle.read("/seen"), "SigBlk:\t0000000000000000\n");
    Ok(())
}

fn empty_environment(test: &Test) -> Outcome {
    let builder = test.bundle()?.script("true");
    let seen = builder.path("/seen");
    let script = format!("/usr/bin/wc -c </proc/$$/environ >{seen}");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let container = test.container(&builder.push("/hooks/createRuntime", hook).build()?);
    container.run_foreground(&[]).succeeds()?;
    assert_eq!(container.bundle.read("/seen").trim(), "0");
    Ok(())
}

/// A startContainer hook that names none has that: it runs in the program's place.
fn environment_of_the_program(test: &Test) -> Outcome {
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo $ONE $HOME >/hook"]});
    let bundle = test.bundle()?.script("cat /hook").push("/hooks/startContainer", hook);
    let container = test.container(&bundle.push("/process/env", json!("ONE=two")).build()?);
    assert_eq!(container.run_foreground(&[]).succeeds()?.stdout, "two /\n");
    Ok(())
}

/// In the container's init a write to a pipe that nobody reads any more would be deadly.
fn ends_before_its_state(test: &Test) -> Outcome {
    let long = "x".repeat(200_000);
    let bundle = test.bundle()?.script("exit 5").set("/annotations/long", json!(long));
    let at_once = json!({"path": "/bin/true", "timeout": 5});
    let bundle =
        bundle.push("/hooks/createContainer", at_once.clone()).push("/hooks/startContainer", at_once);
    let container = test.container(&bundle.build()?);
    assert_eq!(container.run_foreground(&[]).output()?.code, 5);
    Ok(())
}

fn much_output(test: &Test) -> Outcome {
    // More than a pipe holds, on both streams.
    let script = "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' x >&2";
    let bundle = test.bundle()?.script(SLEEPER).push("/hooks/createRuntime", hook(script)).build()?;
    test.container(&bundle).run(&[])
}

fn does_not_read_its_state(test: &Test) -> Outcome {
    let long = "x".repeat(200_000);
    let bundle = test
        .bundle()?
        .script(SLEEPER)
        .set("/annotations/long", json!(long))
        .push("/hooks/createRuntime", json!({"path": "/bin/true"}))
        .build()?;
    test.container(&bundle).run(&[])
}

fn restore_runs_them(test: &Test) -> Outcome {
    let container = test.container(&noting(test, COUNTER)?.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    // A checkpoint deletes the container, so poststop has run.
    assert_eq!(noted(&container)?.last().map(|(kind, _)| kind.as_str()), Some("poststop"));
    std::fs::remove_file(container.bundle.path("/hooks"))?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let noted = noted(&container)?;
    let kinds = kinds(&noted);
    assert!(kinds.contains(&"createRuntime") && kinds.contains(&"poststart"), "only {kinds:?} ran");
    assert!(!kinds.contains(&"startContainer") && !kinds.contains(&"poststop"), "{kinds:?} ran");
    let pid = container.pid()?;
    for (kind, state) in noted {
        assert!(state["pid"] == pid && state["id"] == container.id.as_str(), "{kind}: {state}");
    }
    Ok(())
}

fn failing_at_restore(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(container.bundle.config())?)?;
    for kind in ["createRuntime", "poststart"] {
        let mut config = config.clone();
        config["hooks"][kind] = json!([hook("cat >/dev/null; echo the reason >&2; exit 3")]);
        std::fs::write(container.bundle.config(), config.to_string())?;
        let flags = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
        let output = container.cmd("restore", &flags).fails()?;
        one_line(test, &output, &[kind, "the reason"])?;
        test.leaves_nothing()?;
    }
    std::fs::write(container.bundle.config(), config.to_string())?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}
