//! Bind mounts of what the host has mounted with options of its own.

use testkit::{Case, Outcome, Test, Value, both, json, needs, rt_only, wait_until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("given_attributes_replace_the_sources", |test| attributes(test, false)),
        rt_only("locked_attributes_stay", "runc 1.1 fails at them", |test| attributes(test, true)),
        rt_only("locked_attributes_are_not_promised", "runc 1.1 does not tell", not_promised),
        both("access_times", access_times),
        both("recursive_attributes", recursive),
        rt_only("places_as_the_host_sees_them", "runc takes the root off since 1.3.3", places),
        both("source_is_mounted_in_the_container", source_within),
        rt_only(
            "source_is_mounted_in_the_container_checkpoint",
            "runc 1.1 restores an empty directory",
            source_within_checkpoint,
        )
        .needs(needs::criu),
    ]
}

/// A tmpfs on `source` with options of its own, in a mount namespace of the command's own.
fn mounted(source: &str, options: &str) -> String {
    format!(
        "mount -t tmpfs tmpfs {source} && mount -o remount,bind,{options} {source} && chmod 755 {source}/.."
    )
}

/// In a user namespace nobody can take off what the host has locked, so who asks for that gets an error.
fn not_promised(test: &Test) -> Outcome {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    for (options, is_fine) in [("ro", true), ("rw", false), ("ro,dev", false), ("ro,noatime", false)] {
        let options: Vec<_> = ["bind"].into_iter().chain(options.split(',')).collect();
        let mount = json!({"destination": "/mnt", "type": "bind", "source": source, "options": options});
        let bundle = test.bundle()?.push("/mounts", mount).push("/linux/namespaces", json!({"type": "user"}));
        let bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map.clone());
        let container = test.container(&bundle.script("true").build()?);
        let run = container.run_foreground(&[]).in_private_mounts(&mounted(&source, "ro,nodev,relatime"));
        if is_fine {
            run.succeeds()?;
        } else {
            let output = run.fails()?;
            assert!(output.stderr.contains("operation not permitted"), "{options:?}: {output}");
        }
    }
    test.leaves_nothing()
}

/// As mount(8) does it: when access times are kept changes only where an option decides it anew, and then as a whole.
fn access_times(test: &Test) -> Outcome {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    for (options, expected) in [
        ("rw", "noatime nodiratime"),
        ("atime", "noatime nodiratime"),
        ("norelatime", "noatime nodiratime"),
        ("noatime", "noatime"),
        ("relatime", "relatime"),
        ("nodiratime", "nodiratime relatime"),
        ("strictatime", ""),
    ] {
        let mount =
            json!({"destination": "/mnt", "type": "bind", "source": source, "options": ["bind", options]});
        let script = "grep ' /mnt ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep atime; true";
        let container = test.container(&test.bundle()?.push("/mounts", mount).script(script).build()?);
        let run = container.run_foreground(&[]).in_private_mounts(&mounted(&source, "noatime,nodiratime"));
        let output = run.succeeds()?;
        assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{options}");
    }
    Ok(())
}

/// The words with an `r` in front are for all mounts below, the others for the one on top.
fn recursive(test: &Test) -> Outcome {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    let setup = format!(
        "{} && mkdir {source}/below && mount -t tmpfs -o nodev tmpfs {source}/below",
        mounted(&source, "relatime")
    );
    let script = "for mount in /mnt /mnt/below; do grep \" $mount \" /proc/mounts | cut -d' ' -f4 | tr , '\\n' | \
                  grep -E '^(r[ow]|no.*)$' | sort | tr '\\n' ' '; echo; done";
    for (options, top, below) in [
        (json!(["rbind", "ro", "nosuid"]), "nosuid ro ", "nodev rw "),
        (
            json!(["rbind", "rro", "rnosuid", "rnoexec", "rnoatime"]),
            "noatime noexec nosuid ro ",
            "noatime nodev noexec nosuid ro ",
        ),
        (
            json!(["rbind", "rdev", "rnosymfollow", "rnodiratime"]),
            "nodiratime nosymfollow rw ",
            "nodiratime nosymfollow rw ",
        ),
        (json!(["rbind", "rro", "rw"]), "ro ", "nodev ro "),
    ] {
        let mount = json!({"destination": "/mnt", "type": "bind", "source": source, "options": options});
        let container = test.container(&test.bundle()?.push("/mounts", mount).script(script).build()?);
        let output = container.run_foreground(&[]).in_private_mounts(&setup).succeeds()?;
        assert_eq!(output.stdout, format!("{top}\n{below}\n"), "{options}");
    }
    Ok(())
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
}

/// The path of the root in front of a destination, or of a device, is taken off.
fn places(test: &Test) -> Outcome {
    let builder = test.bundle()?;
    let (mount, device) = (builder.path("/mnt/new"), builder.path("/dev/other"));
    let tmpfs = json!({"destination": mount, "type": "tmpfs", "source": "tmpfs"});
    let node = json!({"path": device, "type": "c", "major": 1, "minor": 3});
    let bundle = builder.push("/mounts", tmpfs).set("/linux/devices", json!([node]));
    let script = "grep -c ' /mnt/new tmpfs' /proc/mounts; echo nothing >/dev/other";
    let output = test.container(&bundle.script(script).build()?).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, "1\n");
    test.leaves_nothing()
}

/// The container's own path to what the mount before has brought there.
fn source_within(test: &Test) -> Outcome {
    let host = test.new_path("host");
    std::fs::create_dir_all(format!("{host}/below"))?;
    std::fs::write(format!("{host}/below/file"), "of the host")?;
    let builder = test.bundle()?;
    let (dir, file) = (builder.path("/mnt/below"), builder.path("/again/file"));
    let builder = builder.push("/mounts", bind(&host, "/mnt")).push("/mounts", bind(&dir, "/again"));
    let bundle = builder.push("/mounts", bind(&file, "/one")).script("cat /again/file /one").build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, "of the hostof the host");
    test.leaves_nothing()
}

fn source_within_checkpoint(test: &Test) -> Outcome {
    let tmpfs = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"});
    let builder = test.bundle()?;
    let source = builder.path("/mnt");
    let builder = builder.push("/mounts", tmpfs).push("/mounts", bind(&source, "/again"));
    let bundle =
        builder.script("echo kept >/mnt/file; touch /ready; while :; do sleep 1000; done").build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    wait_until("the file", || std::fs::exists(bundle.path("/ready")).unwrap_or(false))?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    assert_eq!(container.exec(&[], &["cat", "/again/file"]).succeeds()?.stdout, "kept\n");
    container.exec(&[], &["sh", "-c", "echo more >>/again/file"]).succeeds()?;
    assert_eq!(container.exec(&[], &["cat", "/mnt/file"]).succeeds()?.stdout, "kept\nmore\n");
    container.delete()?;
    test.leaves_nothing()
}

/// What a bind mount of a `ro,nodev,noexec` directory is, with options and without.
fn attributes(test: &Test, user_namespace: bool) -> Outcome {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    let setup = mounted(&source, "ro,nodev,noexec");
    let with_nosuid = if user_namespace { "ro nosuid nodev noexec" } else { "rw nosuid" };
    for (options, expected) in
        [(json!(["bind"]), "ro nodev noexec"), (json!(["bind", "nosuid"]), with_nosuid)]
    {
        let mount = json!({"destination": "/mnt", "type": "bind", "source": source, "options": options});
        let mut bundle = test.bundle()?.push("/mounts", mount);
        if user_namespace {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            bundle = bundle.push("/linux/namespaces", json!({"type": "user"}));
            bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        }
        let script =
            "grep ' /mnt ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(r[ow]|no(suid|dev|exec))$'";
        let container = test.container(&bundle.script(script).build()?);
        let output = container.run_foreground(&[]).in_private_mounts(&setup).succeeds()?;
        assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{options}");
    }
    Ok(())
}
