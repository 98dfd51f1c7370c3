//! What is in a tmpfs, across checkpoints: packed by CRIU where it is much, told in words where it is next to nothing.

use serde_json::json;
use testkit::{Case, Container, Fallible, Outcome, Test, both, needs, rt_only};

use super::{SLEEPER, one_line, same};

/// All that can be seen of three tmpfs from within, but for inode numbers. Other file systems in /dev are new after a restore.
const LOOK: &str = "for dir in /dev /dev/shm /scratch; do find $dir -xdev -exec ls -ldn --full-time {} +; done | \
                    grep -v -e /dev/mqueue -e /dev/pts$";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("is_not_packed_when_hollow", "runc packs each", is_not_packed_when_hollow),
        both("looks_the_same_three_times", looks_the_same_three_times),
        both("keeps_changed_devices", keeps_changed_devices),
        both("keeps_contents", keeps_contents),
        both("keeps_open_files", keeps_open_files),
        both("keeps_a_second_mount", keeps_a_second_mount),
        rt_only("paused_and_left_running", "it compares with itself", paused_and_left_running),
        rt_only("refuses_a_name_that_leads_out", "it is about rt's own file", refuses_a_name_that_leads_out),
        rt_only(
            "refuses_a_device_of_the_images",
            "it is about rt's own file",
            refuses_a_device_of_the_images,
        ),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// A running container that has done `script` in a bundle with a tmpfs at /scratch.
fn prepared<'test>(test: &'test Test, script: &str) -> Fallible<Container<'test>> {
    let scratch = json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=1750"]});
    let script = format!("{script}\ntouch /ready\n{SLEEPER}");
    let container = test.container(&test.bundle()?.push("/mounts", scratch).script(&script).build()?);
    container.run(&[])?;
    testkit::wait_until("the script", || {
        container.bundle.read("/ready").is_empty() && exists(&container, "/ready")
    })?;
    Ok(container)
}

fn exists(container: &Container<'_>, path: &str) -> bool {
    std::fs::exists(container.bundle.path(path)).is_ok_and(|yes| yes)
}

fn shell(container: &Container<'_>, script: &str) -> Fallible<String> {
    Ok(container.exec(&[], &["sh", "-c", script]).succeeds()?.stdout)
}

fn cycle(container: &Container<'_>) -> Fallible<String> {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    Ok(images)
}

/// How many archives of a tmpfs there are in a directory of images.
fn archives(images: &str) -> Fallible<usize> {
    let names = std::fs::read_dir(images)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Fallible<_>>()?;
    Ok(names.iter().filter(|name| name.starts_with("tmpfs-")).count())
}

/// `script` makes something of the tmpfs that must look the same in the restored container, three times.
fn survives(test: &Test, script: &str, packed: usize) -> Outcome {
    let container = prepared(test, script)?;
    let before = shell(&container, LOOK)?;
    for _ in 0..3 {
        let images = cycle(&container)?;
        same("the tmpfs before (first) from after (second)", &before, &shell(&container, LOOK)?)?;
        if test.is_rt() {
            assert_eq!(archives(&images)?, packed);
        }
    }
    Ok(())
}

fn is_not_packed_when_hollow(test: &Test) -> Outcome {
    let container = prepared(test, "")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    assert_eq!(archives(&images)?, 0);
    Ok(())
}

fn looks_the_same_three_times(test: &Test) -> Outcome {
    let script = "cd /scratch; mkdir -m 2751 a; mkdir -m 700 a/b; ln -s ../nowhere a/b/link; touch a/empty; chmod 4711 a/empty; \
                  touch -d 2001-02-03 a/empty; touch -h -d 2002-02-03 a/b/link; chown 7:8 a/b/link a/empty a; \
                  touch -d 2003-02-03 a/b; ln -s /target /dev/mine; mkdir -m 1777 /dev/shm/dir";
    survives(test, script, 0)
}

fn keeps_changed_devices(test: &Test) -> Outcome {
    survives(
        test,
        "chmod 600 /dev/zero; chown 5:6 /dev/full; rm /dev/random; touch -d 2001-02-03 /dev/tty",
        0,
    )
}

fn keeps_contents(test: &Test) -> Outcome {
    survives(test, "echo text >/scratch/file; ln /scratch/file /scratch/again; mkfifo /dev/shm/fifo", 2)
}

fn keeps_open_files(test: &Test) -> Outcome {
    let script =
        "exec 5</dev/zero 6>/dev/null 7>>/dev/shm/removed 8</scratch; rm /dev/shm/removed; echo some >&7";
    let container = prepared(test, script)?;
    for _ in 0..2 {
        cycle(&container)?;
        let links = shell(
            &container,
            "cd /proc/1/fd; for fd in 5 6 7 8; do readlink $fd; done; cat 7; head -c 2 5 | od -An -tx1",
        )?;
        let expected = "/dev/zero\n/dev/null\n/dev/shm/removed (deleted)\n/scratch\nsome\n 00 00\n";
        same("open files", expected, &links)?;
    }
    Ok(())
}

/// Who may mount can have a tmpfs in more places than one.
fn keeps_a_second_mount(test: &Test) -> Outcome {
    let script =
        format!("mkdir /second; mount -o bind /dev/shm /second && touch /second/x /ready\n{SLEEPER}");
    let bundle = test.bundle()?.capability("CAP_SYS_ADMIN").script(&script).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    testkit::wait_until("the script", || exists(&container, "/ready"))?;
    cycle(&container)?;
    assert_eq!(shell(&container, "touch /dev/shm/y; ls /second")?, "x\ny\n");
    Ok(())
}

fn paused_and_left_running(test: &Test) -> Outcome {
    let container = prepared(test, "touch /scratch/mine")?;
    let before = shell(&container, LOOK)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    same("the one that runs on", &before, &shell(&container, LOOK)?)?;
    container.cmd("pause", &[]).succeeds()?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    same("the restored one", &before, &shell(&container, LOOK)?)
}

/// Restores from images whose `rt.json` was changed, which must fail.
fn forged(test: &Test, from: &str, to: &str, words: &[&str]) -> Outcome {
    let container = prepared(test, "touch /scratch/mine")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let file = format!("{images}/rt.json");
    let text = std::fs::read_to_string(&file)?;
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to))?;
    let output = container.quiet("restore", &["--detach", "--image-path", &images]).fails()?;
    one_line(test, &output, words)?;
    assert_eq!(container.status()?, "absent");
    Ok(())
}

fn refuses_a_name_that_leads_out(test: &Test) -> Outcome {
    forged(test, "\"name\":\"mine\"", "\"name\":\"../mine\"", &["/scratch/../mine", "not the name of a file"])
}

fn refuses_a_device_of_the_images(test: &Test) -> Outcome {
    forged(test, "\"name\":\"full\"", "\"name\":\"kmsg\"", &["/dev/kmsg", "config.json"])
}
