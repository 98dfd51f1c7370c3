//! Bind mounts of what the host has mounted with options of its own.

use testkit::{Case, Outcome, Test, Value, both, json, needs, rt_only, wait_until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("given_attributes_replace_the_sources", |test| attributes(test, false)),
        rt_only("locked_attributes_stay", "runc 1.1 fails at them", |test| attributes(test, true)),
        both("source_is_mounted_in_the_container", source_within),
        rt_only(
            "source_is_mounted_in_the_container_checkpoint",
            "runc 1.1 restores an empty directory",
            source_within_checkpoint,
        )
        .needs(needs::criu),
    ]
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
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
    let setup = format!(
        "mount -t tmpfs tmpfs {source} && mount -o remount,bind,ro,nodev,noexec {source} && chmod 755 {source}/.."
    );
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
