//! Restores that fail: the error names its class, what it is about and what to do, and where CRIU's log is; nothing is left behind,
//! and the images are as good as before.

use std::os::unix::net::UnixDatagram;

use testkit::{Case, Container, Fallible, Outcome, Test, both, needs, rt_only, wait_until};

use super::diagnosis::holding_outside;
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    const OURS: &str = "runc has another log";
    [
        both("file_missing", |test| changed(test, "rm", &["file-missing", "/open", "root file system"])),
        both("file_size", |test| changed(test, "size", &["file-size", "/open has 13 bytes, had 5"])),
        both("file_mode", |test| {
            changed(test, "mode", &["file-mode", "/open has mode 0600, had 0644", "--skip-file-rwx-check"])
        }),
        both("image_truncated", |test| {
            damaged(test, "pstree.img", &["images-incomplete"], |bytes| bytes.truncate(20))
        }),
        both("image_empty", |test| damaged(test, "files.img", &["images-incomplete"], Vec::clear)),
        both("image_of_another_kind", |test| {
            damaged(test, "pstree.img", &["images-broken", "pstree.img"], |bytes| bytes[4] ^= 0xff)
        }),
        both("image_missing", |test| missing(test, "core-1.img", &["images-incomplete"])),
        both("images_of_another_version", |test| {
            // A magic number and a length; then the version is the first field.
            damaged(test, "inventory.img", &["images-version", "version 127"], |bytes| {
                assert_eq!(bytes[8], 8);
                bytes[9] = 127;
            })
        }),
        both("tcp_established", tcp_established).needs(needs::criu_for_tcp),
        both("external_mount_unknown", external_mount_unknown),
        both("pid_taken", pid_taken),
        rt_only("log_in_the_work_directory", OURS, log_in_the_work_directory),
        rt_only("another_processor", "the option is rt's", another_processor),
        both("memory_that_nobody_serves", |test| {
            refused(test, &["--lazy-pages"], &["lazy-pages", "lazy-pages.socket", "rt lazy-pages"])
        }),
        both("security_profile", |test| {
            refused(test, &["--lsm-profile", "nonsense"], &["lsm", "nonsense", "--lsm-profile TYPE:NAME"])
        }),
        both("external_unix_socket", external_unix_socket).needs(needs::c_compiler),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

const OPEN: &str =
    "echo text >/open; chmod 644 /open; exec 3</open; touch /ready; while :; do sleep 1000; done";

/// A container that is a directory of images now.
fn dumped<'test>(test: &'test Test, script: &str, flags: &[&str]) -> Fallible<(Container<'test>, String)> {
    let container = test.run_script(script)?;
    wait_until("/ready", || std::fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    let images = test.new_path("images");
    container.checkpoint(&images, flags)?;
    Ok((container, images))
}

/// The restore fails with the class `words[0]` and the rest of the words.
fn fails(container: &Container<'_>, images: &str, words: &[&str]) -> Outcome {
    fails_with(container, images, &[], words)
}

fn fails_with(container: &Container<'_>, images: &str, flags: &[&str], words: &[&str]) -> Outcome {
    let fixed = ["--detach", "--bundle", container.bundle.directory(), "--image-path", images];
    let flags = [&fixed, flags].concat();
    let output = container.cmd("restore", &flags).fails()?;
    let (class, log) = (format!("[{}]", words[0]), format!("(log: {images}/restore.log)"));
    one_line(
        container.test,
        &output,
        &[&["criu restore failed", class.as_str(), log.as_str()], &words[1..]].concat(),
    )
}

fn changed(test: &Test, how: &str, words: &[&str]) -> Outcome {
    let (container, images) = dumped(test, OPEN, &[])?;
    let file = container.bundle.path("/open");
    match how {
        "rm" => std::fs::remove_file(&file)?,
        "size" => std::fs::write(&file, "another text\n")?,
        _ => std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?,
    }
    fails(&container, &images, words)?;
    test.leaves_nothing()?;
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, "text\n")?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    container.restore(&images, &[]).map(drop)
}

fn damaged(test: &Test, image: &str, words: &[&str], damage: impl FnOnce(&mut Vec<u8>)) -> Outcome {
    let (container, images) = dumped(test, OPEN, &[])?;
    let file = format!("{images}/{image}");
    let whole = std::fs::read(&file)?;
    let mut bytes = whole.clone();
    damage(&mut bytes);
    std::fs::write(&file, bytes)?;
    fails(&container, &images, words)?;
    test.leaves_nothing()?;
    std::fs::write(&file, whole)?;
    container.restore(&images, &[]).map(drop)
}

fn missing(test: &Test, image: &str, words: &[&str]) -> Outcome {
    let (container, images) = dumped(test, OPEN, &[])?;
    std::fs::remove_file(format!("{images}/{image}"))?;
    fails(&container, &images, words)?;
    test.leaves_nothing()
}

/// A restore with these flags fails, one without them does not.
fn refused(test: &Test, flags: &[&str], words: &[&str]) -> Outcome {
    let (container, images) = dumped(test, OPEN, &[])?;
    fails_with(&container, &images, flags, words)?;
    test.leaves_nothing()?;
    container.restore(&images, &[]).map(drop)
}

fn another_processor(test: &Test) -> Outcome {
    let (container, images) = dumped(test, OPEN, &["--cpu-cap", "all"])?;
    let file = format!("{images}/cpuinfo.img");
    let mut bytes = std::fs::read(&file)?;
    // The words of its features are numbers of several bytes, of which all but the last have their first bit set.
    bytes[24..].iter_mut().filter(|byte| **byte >= 0x80).for_each(|byte| *byte = 0xff);
    std::fs::write(&file, bytes)?;
    fails_with(&container, &images, &["--cpu-cap", "all"], &["cpu-mismatch", "--cpu-cap"])?;
    test.leaves_nothing()?;
    container.restore(&images, &[]).map(drop)
}

fn external_unix_socket(test: &Test) -> Outcome {
    let dir = test.new_path("dir");
    std::fs::create_dir(&dir)?;
    let _socket = UnixDatagram::bind(format!("{dir}/socket"))?;
    let container = holding_outside(test, &dir, "unix-datagram")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--ext-unix-sk"])?;
    std::fs::remove_file(container.bundle.path("/ready"))?;
    // The path that it was bound to is one of the host.
    fails_with(&container, &images, &["--ext-unix-sk"], &["unix-peer-missing", "no such file", "bound to"])?;
    test.leaves_nothing()
}

fn tcp_established(test: &Test) -> Outcome {
    let (container, images) = dumped(test, super::diagnosis::CONNECTED, &["--tcp-established"])?;
    fails(&container, &images, &["tcp-established", "--tcp-established", "--tcp-close"])?;
    test.leaves_nothing()
}

fn external_mount_unknown(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    std::fs::create_dir(&volume)?;
    let mount = testkit::json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]});
    let container = test.container(&test.bundle()?.push("/mounts", mount).script(SLEEPER).build()?);
    container.run(&[])?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let other = test.container(&test.bundle()?.script(SLEEPER).build()?);
    std::fs::create_dir(other.bundle.path("/volume"))?;
    fails(&other, &images, &["mount-unnamed", "of the images", "bundle that it was dumped with"])?;
    test.leaves_nothing()
}

/// A container that shares the host's process ids can be there once.
fn pid_taken(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.without_namespace("pid").script(SLEEPER).build()?);
    container.run(&[])?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    let pid = container.pid()?;
    let again = test.container(&container.bundle);
    fails(&again, &images, &["pid-taken", &format!("process id {pid}, of sh")])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn log_in_the_work_directory(test: &Test) -> Outcome {
    let (container, images) = dumped(test, OPEN, &[])?;
    std::fs::remove_file(container.bundle.path("/open"))?;
    let work = test.new_path("work");
    let flags =
        ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images, "--work-path", &work];
    let output = container.cmd("restore", &flags).fails()?;
    let log = format!("{work}/restore.log");
    one_line(test, &output, &["[file-missing]", &format!("(log: {log})")])?;
    assert!(std::fs::read_to_string(log)?.contains("Can't open file"));
    test.leaves_nothing()
}
