//! What a container keeps, and what it gets anew, when it is restored somewhere else: another cgroup, other namespaces, another
//! runtime, several times at once.

use std::collections::BTreeMap;
use std::fs;

use testkit::{Bundle, Case, Container, Fallible, Outcome, Runtime, Test, both, json, needs, rt_only};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, same};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("another_cgroup", another_cgroup),
        rt_only("time_namespace", "runc 1.1 does not know it", time_namespace),
        both("joined_namespaces", joined_namespaces),
        rt_only("joined_pid_namespace", "runc 1.1 cannot dump it", joined_pid_namespace),
        both("shared_with_the_host", shared_with_the_host),
        both("several_at_once", several_at_once),
        rt_only("made_by_runc", "it takes both", made_by_runc).needs(needs::runc),
        rt_only("made_for_runc", "it takes both", made_for_runc).needs(needs::runc),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn dumped(container: &Container<'_>) -> Fallible<String> {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    Ok(images)
}

/// Its configuration, changed.
fn edit(bundle: &Bundle, change: impl FnOnce(&mut serde_json::Value)) -> Outcome {
    let mut config = serde_json::from_str(&fs::read_to_string(bundle.config())?)?;
    change(&mut config);
    Ok(fs::write(bundle.config(), serde_json::to_vec(&config)?)?)
}

fn another_cgroup(test: &Test) -> Outcome {
    let (first, second) = (format!("/{}", test.new_id()), format!("/{}", test.new_id()));
    let bundle = test.bundle()?.script(COUNTER).set("/linux/cgroupsPath", json!(first)).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    counts_on(&bundle, "/log", 3)?;
    let images = dumped(&container)?;
    edit(&bundle, |config| config["linux"]["cgroupsPath"] = json!(second))?;
    container.restore(&images, &[])?;
    let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    assert!(own.contains(&second) && !own.contains(&first), "{own}");
    container.cmd("pause", &[]).succeeds()?;
    container.cmd("resume", &[]).succeeds()?;
    counts_on(&bundle, "/log", 3)?;
    container.delete()?;
    test.leaves_nothing()
}

/// Who is executed later is in the time namespace that was restored, and both see the clock that the program knows.
fn time_namespace(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .script(COUNTER)
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 100_000, "nanosecs": 0}}))
        .build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    counts_on(&bundle, "/log", 3)?;
    let uptime = || -> Fallible<f64> {
        let text = container.exec(&[], &["cut", "-d ", "-f1", "/proc/uptime"]).succeeds()?.stdout;
        Ok(text.trim().parse()?)
    };
    let before = uptime()?;
    let images = dumped(&container)?;
    container.restore(&images, &[])?;
    let after = uptime()?;
    assert!(after >= before && after < before + 600.0, "{before} before, {after} after");
    let inside = container.exec(&[], &["readlink", "/proc/self/ns/time"]).succeeds()?.stdout;
    let init = fs::read_link(format!("/proc/{}/ns/time", container.pid()?))?;
    assert_eq!(inside.trim(), init.display().to_string());
    counts_on(&bundle, "/log", 3)
}

fn link(pid: u64, kind: &str) -> Fallible<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.display().to_string())
}

/// A container that joins namespaces of another one comes back in those that the bundle then names.
fn rejoined(test: &Test, kinds: &[(&str, &str)]) -> Outcome {
    let (first, second) = (test.run_script(SLEEPER)?, test.run_script(SLEEPER)?);
    let (from, to) = (first.pid()?, second.pid()?);
    let builder = test.bundle()?.script(COUNTER).edit(|config| config["hostname"] = json!(""));
    let bundle = kinds
        .iter()
        .fold(builder, |bundle, (kind, file)| bundle.namespace(kind, &format!("/proc/{from}/ns/{file}")))
        .build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    counts_on(&bundle, "/log", 3)?;
    let images = dumped(&container)?;
    let moved =
        fs::read_to_string(bundle.config())?.replace(&format!("/proc/{from}/"), &format!("/proc/{to}/"));
    fs::write(bundle.config(), moved)?;
    container.restore(&images, &[])?;
    counts_on(&bundle, "/log", 3)?;
    for (kind, file) in kinds {
        assert_eq!(link(container.pid()?, file)?, link(to, file)?, "{kind}");
    }
    assert_eq!(first.status()?, "running");
    is_unbroken(&bundle, "/log")?;
    container.delete()
}

fn joined_namespaces(test: &Test) -> Outcome {
    rejoined(test, &[("ipc", "ipc"), ("uts", "uts"), ("network", "net")])
}

fn joined_pid_namespace(test: &Test) -> Outcome {
    rejoined(test, &[("pid", "pid")])
}

fn shared_with_the_host(test: &Test) -> Outcome {
    let builder =
        ["ipc", "uts", "network"].iter().fold(test.bundle()?, |bundle, kind| bundle.without_namespace(kind));
    let bundle = builder.script(COUNTER).edit(|config| config["hostname"] = json!("")).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    counts_on(&bundle, "/log", 3)?;
    for _ in 0..2 {
        let images = dumped(&container)?;
        container.restore(&images, &[])?;
        counts_on(&bundle, "/log", 3)?;
    }
    for kind in ["ipc", "uts", "net"] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string();
        assert_eq!(link(container.pid()?, kind)?, own);
    }
    is_unbroken(&bundle, "/log")
}

/// The names and sizes of a directory's files.
fn listing(dir: &str) -> Fallible<BTreeMap<String, u64>> {
    let entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries
        .iter()
        .map(|entry| Ok((entry.file_name().display().to_string(), entry.metadata()?.len())))
        .collect()
}

/// One checkpoint becomes five containers, and can be used again after.
fn several_at_once(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = dumped(&container)?;
    let before = listing(&images)?;
    for _ in 0..2 {
        let copies = (0..5)
            .map(|_| Ok(test.container(&container.bundle.copy_to(&test.new_path("copy"))?)))
            .collect::<Fallible<Vec<_>>>()?;
        let started = copies.iter().map(|copy| {
            let work = test.new_path("work");
            copy.quiet("restore", &["--detach", "--image-path", &images, "--work-path", &work]).spawn()
        });
        for running in started.collect::<Fallible<Vec<_>>>()? {
            let output = running.output()?;
            assert_eq!(output.code, 0, "{output}");
        }
        for copy in &copies {
            counts_on(&copy.bundle, "/log", 3)?;
            is_unbroken(&copy.bundle, "/log")?;
            copy.delete()?;
        }
        assert_eq!(before, listing(&images)?, "the images are as they were");
    }
    Ok(())
}

/// What a container of a terminal, a tmpfs, a bind mount, a masked and a read-only path sees of its mounts.
fn mounts(container: &Container<'_>) -> Fallible<String> {
    Ok(container.exec(&[], &["sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort"]).succeeds()?.stdout)
}

fn made_by_runc(test: &Test) -> Outcome {
    let images = test.new_path("images");
    let bundle = test.bundle()?.script(COUNTER).build()?;
    test.with_runtime(Runtime::runc(), |runc| {
        let container = runc.container(&bundle);
        container.run(&[])?;
        counts_on(&bundle, "/log", 3)?;
        container.checkpoint(&images, &[]).map(drop)
    })?;
    let container = test.container(&bundle);
    container.restore(&images, &[])?;
    counts_on(&bundle, "/log", 3)?;
    mounts(&container)?;
    is_unbroken(&bundle, "/log")?;
    // And on from there, as if nothing had been.
    let images = dumped(&container)?;
    container.restore(&images, &[])?;
    counts_on(&bundle, "/log", 3)
}

fn made_for_runc(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    let before = mounts(&container)?;
    container.checkpoint(&images, &["--portable"])?;
    let cgroup = format!("/sys/fs/cgroup/{}", container.id);
    assert!(!fs::exists(&cgroup)?, "{cgroup} is left of the checkpoint");
    test.with_runtime(Runtime::runc(), |runc| {
        let container = runc.container(&container.bundle);
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        is_unbroken(&container.bundle, "/log")
    })?;
    // On cgroup2 an empty cgroup stays after a restore by runc (1.1.15), which is not ours to judge.
    let _ = fs::remove_dir(&cgroup);
    // rt takes them as well.
    let container = test.container(&container.bundle);
    container.bundle.write("/log", "")?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    same("mounts before (first) and after the restore", &before, &mounts(&container)?)
}
