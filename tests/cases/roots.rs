//! Where a container's root may lie, how it becomes `/`, and the devices in it.

use testkit::{Case, Outcome, Test, both, json, needs};

use super::userns::mapped;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("on_tmpfs", |test| on(test, "tmpfs")).needs(needs::unshare),
        both("on_ramfs", |test| on(test, "ramfs")).needs(needs::unshare),
        both("no_pivot", no_pivot),
        both("no_pivot_in_a_user_namespace", no_pivot_in_a_user_namespace),
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
