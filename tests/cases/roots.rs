//! Where a container's root may lie, how it becomes `/`, and the devices in it.

use std::fs;

use testkit::{BundleBuilder, Case, Fallible, Outcome, Test, both, json, needs, rt_only, wait_until};

use super::one_line;
use super::userns::mapped;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("on_tmpfs", |test| on(test, "tmpfs")).needs(needs::unshare),
        both("on_ramfs", |test| on(test, "ramfs")).needs(needs::unshare),
        both("no_pivot", no_pivot),
        both("no_pivot_in_a_user_namespace", no_pivot_in_a_user_namespace),
        rt_only("among_the_mounts_of_the_host", "runc leaves them there", among_the_mounts_of_the_host),
        rt_only("what_needs_its_own_mounts", "runc 1.1 takes some of it", what_needs_its_own_mounts),
        both("more_devices", more_devices),
        both("more_devices_in_a_user_namespace", more_devices_in_a_user_namespace),
    ]
}

fn on(test: &Test, fstype: &str) -> Outcome {
    let bundle = test.bundle()?.script("echo x >/file && cat /file").build()?;
    let root = bundle.path("");
    let root = root.trim_end_matches('/');
    let setup = format!(
        "mkdir -p {root}.new && mount -t {fstype} none {root}.new && cp -a {root}/. {root}.new && mount --move {root}.new {root}"
    );
    for flags in [&[][..], &["--no-pivot"]] {
        let output = test.container(&bundle).run_foreground(flags).in_private_mounts(&setup).succeeds()?;
        assert_eq!(output.stdout, "x\n", "{flags:?}");
    }
    // Nothing was written beside it.
    assert_eq!(bundle.read("/file"), "");
    test.leaves_nothing()
}

/// A bundle without a mount namespace.
fn among_mounts(test: &Test) -> Fallible<BundleBuilder> {
    let none = || json!([]);
    let builder = test.bundle()?.without_namespace("mount");
    Ok(builder.set("/linux/maskedPaths", none()).set("/linux/readonlyPaths", none()))
}

/// How many mounts of this process' namespace are below a path, and the line of `/` in its table.
fn mounts(below: &str) -> Fallible<(usize, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let place = |line: &&str| line.split(' ').nth(4).map(str::to_owned).unwrap_or_default();
    let root = table.lines().find(|line| place(line) == "/").unwrap_or_default();
    Ok((table.lines().filter(|line| place(line).starts_with(below)).count(), root.to_owned()))
}

fn among_the_mounts_of_the_host(test: &Test) -> Outcome {
    let bundle = among_mounts(test)?.script("touch /dev/here; exec sleep 1000").build()?;
    let (place, before) = (bundle.path(""), mounts("/")?.1);
    let container = test.container(&bundle);
    container.run(&[])?;
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    assert_eq!(namespace(&container.pid()?.to_string())?, namespace("self")?);
    assert!(mounts(&place)?.0 > 5, "{:?}", mounts(&place)?);
    assert_eq!(mounts("/")?.1, before, "the host's own mounts are as they were");
    wait_until("the container's /dev", || fs::exists(bundle.path("/dev/here")).unwrap_or(false))?;
    // Who comes later is at home in the same root.
    let output = container.exec(&[], &["sh", "-c", "ls -d /dev/here /proc/1 /boot; pwd"]).output()?;
    assert_eq!(output.stdout, "/dev/here\n/proc/1\n/\n", "{output}");
    let images = test.new_path("images");
    let output = test.quiet(&["checkpoint", "--image-path", &images, &container.id]).fails()?;
    one_line(test, &output, &["cannot be checkpointed", "no mount namespace"])?;
    container.delete()?;
    assert_eq!(mounts(&place)?.0, 0, "of the container's tree nothing is left");
    // Nor is what a start that fails has made, or one that is killed half way.
    test.container(&among_mounts(test)?.args(&["/missing"]).build()?).run_foreground(&[]).fails()?;
    test.leaves_nothing()
}

fn what_needs_its_own_mounts(test: &Test) -> Outcome {
    let hidden = json!(["/proc/kcore"]);
    let user = json!({"type": "user"});
    let builders = [
        (among_mounts(test)?.set("/linux/maskedPaths", hidden.clone()), "linux.maskedPaths"),
        (among_mounts(test)?.set("/linux/readonlyPaths", hidden), "linux.readonlyPaths"),
        (among_mounts(test)?.set("/linux/rootfsPropagation", json!("rshared")), "linux.rootfsPropagation"),
        (among_mounts(test)?.push("/linux/namespaces", user), "linux.namespaces"),
    ];
    for (builder, field) in builders {
        let output = test.container(&builder.build()?).quiet("run", &[]).fails()?;
        one_line(test, &output, &[field])?;
    }
    test.leaves_nothing()
}

fn no_pivot(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script("ls /; ls -d /tmp/rt-tests /proc/1/root/tmp/rt-tests").build()?;
    let output = test.container(&bundle).run_foreground(&["--no-pivot"]).output()?;
    assert!(output.stdout.starts_with("bin\ndev\n") && !output.stdout.contains("rt-tests"), "{output}");
    test.leaves_nothing()
}

fn no_pivot_in_a_user_namespace(test: &Test) -> Outcome {
    let bundle = mapped(test)?.script("id -u; ls -d /tmp/rt-tests").build()?;
    let output = test.container(&bundle).run_foreground(&["--no-pivot"]).output()?;
    assert_eq!(output.stdout, "0\n", "{output}");
    test.leaves_nothing()
}

fn more_devices(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .push("/linux/devices", json!({"path": "/dev/mem2", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8}))
        .push("/linux/devices", json!({"path": "/dev/deep/er/disk", "type": "b", "major": 7, "minor": 0}))
        .push("/linux/devices", json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600}))
        .script("cd /dev; stat -c '%n %F %t:%T %a %u:%g' mem2 deep/er/disk pipe");
    let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], "mem2 character special file 1:5 640 7:8");
    assert!(lines[1].starts_with("deep/er/disk block special file 7:0 "), "{output}");
    assert!(lines[2].starts_with("pipe fifo ") && lines[2].contains(" 600 "), "{output}");
    Ok(())
}

fn more_devices_in_a_user_namespace(test: &Test) -> Outcome {
    let device = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600, "uid": 0, "gid": 0});
    let bundle =
        mapped(test)?.push("/linux/devices", device).script("stat -c '%t:%T %u' /dev/kmsg").build()?;
    // It is the host's, with the host's owner.
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "1:b 65534\n");
    test.leaves_nothing()
}
