//! `restore`: where to, under which name, and how it ends.

use testkit::{Case, Fallible, Outcome, Test, both, needs, rt_only, wait_until};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, is_unbroken};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("under_another_id", under_another_id),
        both("from_another_bundle", from_another_bundle),
        both("foreground_returns_the_status", foreground_returns_the_status),
        both("pid_file", pid_file),
        both("state_after_restore", state_after_restore),
        both("commands_after_restore", commands_after_restore),
        rt_only("executed_after_restore", "runc 1.1 knows no time namespaces", executed_after_restore),
        both("several_times_from_the_same_images", several_times_from_the_same_images),
        both("refuses_an_id_in_use", refuses_an_id_in_use),
        both("work_directory_that_is_a_link", linked_work_directory),
        rt_only(
            "bundle_flag_defaults_to_the_working_directory",
            "runc 1.1 needs write access to it",
            bundle_in_cwd,
        ),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// Such a process has the clocks that CRIU has given the container, without which it could not be restored once more.
fn executed_after_restore(test: &Test) -> Outcome {
    let container = counting(test)?;
    for round in ["one", "two"] {
        let images = test.new_path(round);
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        let script =
            "readlink /proc/1/ns/time; readlink /proc/self/ns/time; sleep 1000 </dev/null >/dev/null 2>&1 &";
        let seen = container.exec(&[], &["sh", "-c", script]).succeeds()?.stdout;
        let namespaces: Vec<_> = seen.lines().collect();
        assert!(namespaces.len() == 2 && namespaces[0] == namespaces[1], "{namespaces:?}");
    }
    is_unbroken(&container.bundle, "/log")
}

fn under_another_id(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let other = test.container(&container.bundle);
    other.restore(&images, &[])?;
    assert_eq!(other.status()?, "running");
    assert_eq!(container.status()?, "absent");
    counts_on(&other.bundle, "/log", 3)?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", other.pid()?))?;
    assert!(cgroup.contains(&other.id) && !cgroup.contains(&container.id), "in the wrong cgroup: {cgroup}");
    is_unbroken(&other.bundle, "/log")
}

/// containerd's is such a link, and docker restores so.
fn linked_work_directory(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, work, link) = (test.new_path("images"), test.new_path("work"), test.new_path("link"));
    std::fs::create_dir(&work)?;
    std::os::unix::fs::symlink(&work, &link)?;
    container.checkpoint(&images, &["--work-path", &link])?;
    container.restore(&images, &["--work-path", &link])?;
    assert!(std::fs::exists(format!("{work}/restore.log"))?);
    counts_on(&container.bundle, "/log", 3)
}

fn from_another_bundle(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let other = test.container(&container.bundle.copy_to(&test.new_path("moved"))?);
    std::fs::remove_dir_all(container.bundle.directory())?;
    other.restore(&images, &[])?;
    counts_on(&other.bundle, "/log", 3)?;
    assert_eq!(other.state()?["bundle"], other.bundle.directory());
    is_unbroken(&other.bundle, "/log")
}

fn foreground_returns_the_status(test: &Test) -> Outcome {
    let container = test.run_script("while ! test -e /go; do usleep 10000; done; exit 7")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let running = container.quiet("restore", &["--image-path", &images]).spawn()?;
    container.wait_for_status("running")?;
    container.bundle.write("/go", "")?;
    let output = running.output()?;
    assert_eq!(output.code, 7, "{output}");
    container.wait_for_status("absent")?;
    test.leaves_nothing()
}

fn pid_file(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, file) = (test.new_path("images"), test.new_path("pid"));
    container.checkpoint(&images, &[])?;
    container.restore(&images, &["--pid-file", &file])?;
    assert_eq!(std::fs::read_to_string(file)?.parse::<u64>()?, container.pid()?);
    Ok(())
}

fn state_after_restore(test: &Test) -> Outcome {
    let container = counting(test)?;
    let before = container.state()?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    let after = container.state()?;
    for field in ["ociVersion", "id", "status", "bundle", "rootfs", "owner", "annotations"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    // runc's is the time of the restore.
    assert!(!test.is_rt() || before["created"] == after["created"], "{before} {after}");
    Ok(())
}

fn commands_after_restore(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    assert_eq!(container.exec(&[], &["echo", "inside"]).succeeds()?.stdout, "inside\n");
    container.cmd("pause", &[]).succeeds()?;
    assert_eq!(container.status()?, "paused");
    container.cmd("resume", &[]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    assert!(container.pids()?.contains(&container.pid()?));
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    container.wait_for_status("stopped")?;
    container.cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()
}

fn several_times_from_the_same_images(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    for _ in 0..2 {
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        container.delete()?;
    }
    Ok(())
}

fn refuses_an_id_in_use(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    let flags = ["--bundle", container.bundle.directory(), "--detach", "--image-path", &images];
    let output = container.cmd("restore", &flags).fails()?;
    super::one_line(test, &output, &["exists", &container.id])?;
    counts_on(&container.bundle, "/log", 3)
}

fn bundle_in_cwd(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(COUNTER).build()?);
    let quiet = |args: &[&str]| -> Fallible<()> {
        test.quiet(args).current_dir(container.bundle.directory()).arg(&container.id).succeeds().map(drop)
    };
    let images = test.new_path("images");
    quiet(&["run", "--detach"])?;
    counts_on(&container.bundle, "/log", 3)?;
    container.checkpoint(&images, &[])?;
    quiet(&["restore", "--detach", "--image-path", &images])?;
    wait_until("status running", || container.status().is_ok_and(|status| status == "running"))?;
    counts_on(&container.bundle, "/log", 3)
}
