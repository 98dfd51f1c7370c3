//! Wrong images, a CRIU that is not there or does not work, a full disk: one line, and the container as it was.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use testkit::{Case, Container, Outcome, Test, both, json, needs, rt_only};

use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken};
use super::{SLEEPER, one_line};

const RT_CRIU: &str = "runc takes criu from PATH";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("directories_of_odd_names", "runc looks for them in the bundle", directories_of_odd_names),
        both("missing", missing),
        both("a_file", a_file),
        both("empty", empty),
        both("broken", broken),
        both("of_another_container", of_another_container),
        both("work_path_is_a_file", work_path_is_a_file),
        both("image_path_is_a_file", image_path_is_a_file),
        both("disk_full", disk_full).needs(needs::unshare),
        both("disk_read_only", disk_read_only).needs(needs::unshare),
        rt_only("no_criu_to_dump", RT_CRIU, |test| cannot_dump(test, "/nonexistent", "no such file")),
        rt_only("failing_criu_to_dump", RT_CRIU, |test| cannot_dump(test, "/bin/false", "")),
        rt_only("silent_criu_to_dump", RT_CRIU, |test| cannot_dump(test, "/bin/true", "")),
        rt_only("no_criu_to_restore", RT_CRIU, |test| cannot_restore(test, "/nonexistent", "no such file")),
        rt_only("failing_criu_to_restore", RT_CRIU, |test| cannot_restore(test, "/bin/false", "")),
        both("failed_dump_leaves_no_image_that_restores", failed_dump_leaves_no_image_that_restores),
        both("rootfs_changed_since", rootfs_changed_since),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// A restore from `images` is refused with `words`, and leaves nothing.
fn refused(container: &Container<'_>, images: &str, words: &[&str]) -> Outcome {
    let flags = ["--detach", "--bundle", container.bundle.directory(), "--image-path", images];
    let output = container.cmd("restore", &flags).fails()?;
    one_line(container.test, &output, words)?;
    container
        .test
        .leaves_nothing()
        .map_err(|left| format!("{}{output}", left.message().unwrap_or_default()).into())
}

fn idle(test: &Test) -> Result<Container<'_>, testkit::Failed> {
    Ok(test.container(&test.bundle()?.script(SLEEPER).build()?))
}

/// Seen from where the command runs, with whatever bytes a name may have; the work directory is made with all above it.
fn directories_of_odd_names(test: &Test) -> Outcome {
    let container = counting(test)?;
    let here = test.new_path("here");
    std::fs::create_dir(&here)?;
    for name in [&b"plain"[..], b" '\"\\ \n", b"n\xff\xfe", b"a/../b"] {
        let images = OsStr::from_bytes(name);
        std::fs::create_dir_all(format!("{here}/a"))?;
        let checkpoint = test.cmd(&["checkpoint", "--work-path", "w/x/y", "--image-path"]);
        checkpoint.arg(images).arg(&container.id).current_dir(&here).succeeds()?;
        let restore = ["restore", "--detach", "--bundle", container.bundle.directory(), "--image-path"];
        test.quiet(&restore).arg(images).arg(&container.id).current_dir(&here).succeeds()?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    assert!(std::fs::exists(format!("{here}/w/x/y/dump.log"))?);
    is_unbroken(&container.bundle, "/log")
}

fn missing(test: &Test) -> Outcome {
    let images = test.new_path("images");
    refused(&idle(test)?, &images, &[&images, "no such file"])
}

fn a_file(test: &Test) -> Outcome {
    let images = test.new_path("images");
    std::fs::write(&images, "")?;
    refused(&idle(test)?, &images, &[&images, "not a directory"])
}

fn empty(test: &Test) -> Outcome {
    let images = test.new_path("images");
    std::fs::create_dir(&images)?;
    refused(&idle(test)?, &images, &[&images, "inventory.img"])
}

fn broken(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    for file in ["pstree.img", "core-1.img", "inventory.img"] {
        std::fs::write(format!("{images}/{file}"), "nonsense")?;
        refused(&container, &images, &[])?;
    }
    Ok(())
}

fn of_another_container(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    std::fs::create_dir(&volume)?;
    let mount =
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]});
    let container = test.container(&test.bundle()?.push("/mounts", mount).script(SLEEPER).build()?);
    container.run(&[])?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    refused(&idle(test)?, &images, &[])
}

fn image_path_is_a_file(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    std::fs::write(&images, "")?;
    let output = container.cmd("checkpoint", &["--image-path", &images]).fails()?;
    one_line(test, &output, &[&images])?;
    counts_on(&container.bundle, "/log", 3)
}

fn work_path_is_a_file(test: &Test) -> Outcome {
    let container = counting(test)?;
    let work = test.new_path("work");
    std::fs::write(&work, "")?;
    let output = container
        .cmd("checkpoint", &["--image-path", &test.new_path("images"), "--work-path", &work])
        .fails()?;
    one_line(test, &output, &[&work])?;
    counts_on(&container.bundle, "/log", 3)
}

/// A dump into a mount that takes nothing fails, and the container goes on.
fn no_room(test: &Test, mount: &str, words: &[&str]) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    std::fs::create_dir(&images)?;
    let command = container.cmd("checkpoint", &["--image-path", &images]);
    let output = command.in_private_mounts(&format!("{mount} {images}")).fails()?;
    one_line(test, &output, words)?;
    assert_eq!(container.status()?, "running");
    counts_on(&container.bundle, "/log", 3)
}

fn disk_full(test: &Test) -> Outcome {
    no_room(test, "mount -t tmpfs -o size=64k none", &["no space left on device"])
}

fn disk_read_only(test: &Test) -> Outcome {
    no_room(test, "mount -t tmpfs -o ro none", &["read-only file system"])
}

fn cannot_dump(test: &Test, criu: &str, word: &str) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    let output = container.cmd("checkpoint", &["--image-path", &images]).env("RT_CRIU", criu).fails()?;
    one_line(test, &output, &[criu, word])?;
    assert_eq!(container.status()?, "running");
    counts_on(&container.bundle, "/log", 3)
}

fn cannot_restore(test: &Test, criu: &str, word: &str) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let flags = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
    let output = container.cmd("restore", &flags).env("RT_CRIU", criu).fails()?;
    one_line(test, &output, &[criu, word])?;
    test.leaves_nothing()?;
    // The images are as good as before.
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

fn failed_dump_leaves_no_image_that_restores(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    let command =
        container.cmd("checkpoint", &["--image-path", &images, "--work-path", &test.new_path("work")]);
    std::fs::create_dir(&images)?;
    // The inventory is written last; a directory in its place makes the dump fail there.
    std::fs::create_dir(format!("{images}/inventory.img"))?;
    let output = command.fails()?;
    one_line(test, &output, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()?;
    refused(&container, &images, &[])
}

fn rootfs_changed_since(test: &Test) -> Outcome {
    // An open file that has grown meanwhile: CRIU compares sizes, and the restored program would not expect it.
    let container =
        test.run_script("echo text >/open; exec 3</open; touch /ready; while :; do sleep 1000; done")?;
    testkit::wait_until("the open file", || {
        std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes)
    })?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.bundle.write("/open", "another text, of another length\n")?;
    // CRIU names the file relative to the root, and only in its log; its error has the sizes.
    refused(&container, &images, &["bad size 32 (expect 5)"])
}
