//! Bind mounts of what the host has mounted with options of its own.

use testkit::{Case, Outcome, Test, both, json, rt_only};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("given_attributes_replace_the_sources", |test| attributes(test, false)),
        rt_only("locked_attributes_stay", "runc 1.1 fails at them", |test| attributes(test, true)),
    ]
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
