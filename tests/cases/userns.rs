//! User namespaces: whose the other namespaces are, and what of the host can be brought along.

use testkit::{BundleBuilder, Case, Fallible, Outcome, Test, both, json, needs, rt_only};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("joined_by_path", joined_by_path),
        both("joined_with_new_namespaces", joined_with_new_namespaces),
        rt_only("joined_with_other_mappings", "runc 1.1 does not compare them", joined_with_other_mappings),
        both("joins_namespaces_of_the_host", joins_namespaces_of_the_host),
        both("sources_of_the_hosts_root_alone", sources_of_the_hosts_root_alone),
        rt_only("missing_source", "runc says it in other words", missing_source),
        both("many_sources", many_sources),
        both("devices_are_the_hosts", devices_are_the_hosts),
        rt_only("checkpoint_is_refused_when_joined", "its errors are its own", checkpoint_is_refused)
            .needs(needs::criu),
    ]
}

/// A bundle whose user namespace maps 65536 ids from 100000 on.
pub(super) fn mapped(test: &Test) -> Fallible<BundleBuilder> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let builder = test.bundle()?.push("/linux/namespaces", json!({"type": "user"}));
    std::fs::set_permissions(builder.path("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Ok(builder.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map))
}

fn link(pid: u64, kind: &str) -> Fallible<String> {
    Ok(std::fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.display().to_string())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As the containers of a pod: all namespaces of the first but for the file tree.
fn joined_by_path(test: &Test) -> Outcome {
    let first = test.container(&mapped(test)?.script(SLEEPER).build()?);
    first.run(&[])?;
    // runc 1.1 wants to be told the mappings again; they are compared.
    let mut bundle = mapped(test)?.script(SLEEPER).edit(|config| config["hostname"] = json!(""));
    for (kind, file) in [("user", "user"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")]
    {
        bundle = bundle.namespace(kind, &format!("/proc/{}/ns/{file}", first.pid()?));
    }
    let second = test.container(&bundle.build()?);
    second.run(&[])?;
    for kind in ["user", "pid", "ipc", "uts", "net"] {
        assert_eq!(link(first.pid()?, kind)?, link(second.pid()?, kind)?, "{kind}");
    }
    let output =
        second.exec(&[], &["sh", "-c", "id -u; cat /proc/self/uid_map; ls /sys/class/net"]).succeeds()?;
    assert_eq!(words(&output.stdout), "0 0 100000 65536 lo");
    second.delete()?;
    assert_eq!(first.status()?, "running");
    first.delete()?;
    test.leaves_nothing()
}

/// What is new belongs to the user namespace that was joined: its root may set the host name.
fn joined_with_new_namespaces(test: &Test) -> Outcome {
    let first = test.container(&mapped(test)?.script(SLEEPER).build()?);
    first.run(&[])?;
    let bundle = mapped(test)?.namespace("user", &format!("/proc/{}/ns/user", first.pid()?));
    let script = "hostname; cat /proc/self/uid_map; echo $$; ip link set lo up && echo up";
    let bundle = bundle.capability("CAP_NET_ADMIN").edit(|config| config["hostname"] = json!("second"));
    let output = test.container(&bundle.script(script).build()?).run_foreground(&[]).succeeds()?;
    assert_eq!(words(&output.stdout), "second 0 100000 65536 1 up", "{output}");
    first.delete()?;
    test.leaves_nothing()
}

fn joined_with_other_mappings(test: &Test) -> Outcome {
    let first = test.container(&mapped(test)?.script(SLEEPER).build()?);
    first.run(&[])?;
    let path = format!("/proc/{}/ns/user", first.pid()?);
    let same = mapped(test)?.namespace("user", &path).script("id -u").build()?;
    assert_eq!(test.container(&same).run_foreground(&[]).succeeds()?.stdout, "0\n");
    let other =
        mapped(test)?.namespace("user", &path).set("/linux/gidMappings/0/hostID", json!(7)).build()?;
    let output = test.container(&other).cmd("run", &["--bundle", other.directory()]).fails()?;
    one_line(test, &output, &["linux.gidMappings", "non-matching mapping"])?;
    first.delete()?;
    test.leaves_nothing()
}

/// A network and an IPC namespace that the host's root has made, as engines do, for a new user namespace.
fn joins_namespaces_of_the_host(test: &Test) -> Outcome {
    let first = test.run_script(SLEEPER)?;
    let mut bundle = mapped(test)?.script("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; id -u");
    for (kind, file) in [("network", "net"), ("ipc", "ipc")] {
        bundle = bundle.namespace(kind, &format!("/proc/{}/ns/{file}", first.pid()?));
    }
    // Of these two kinds the host's have no file systems for others.
    let bundle = bundle.edit(|config| {
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(|mount| {
                mount["type"] != "mqueue" && mount["type"] != "sysfs" && mount["type"] != "cgroup"
            });
        }
    });
    let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
    let expected = format!("{} {} 0", link(first.pid()?, "net")?, link(first.pid()?, "ipc")?);
    assert_eq!(words(&output.stdout), expected);
    Ok(())
}

fn private_directory(test: &Test) -> Fallible<String> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let private = test.new_path("private");
    std::fs::create_dir_all(format!("{private}/inner"))?;
    std::fs::write(format!("{private}/inner/file"), "seen")?;
    // Not even the owner is the host's root.
    chown(&private, Some(4711), Some(4711))?;
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o700))?;
    Ok(private)
}

fn sources_of_the_hosts_root_alone(test: &Test) -> Outcome {
    let private = private_directory(test)?;
    let mount = json!({"destination": "/data", "source": format!("{private}/inner"), "options": ["bind"]});
    let bundle = mapped(test)?.push("/mounts", mount).script("cat /data/file");
    std::fs::create_dir_all(bundle.path("/data"))?;
    assert_eq!(test.container(&bundle.build()?).run_foreground(&[]).succeeds()?.stdout, "seen");
    test.leaves_nothing()
}

fn missing_source(test: &Test) -> Outcome {
    let mount = json!({"destination": "/data", "source": "/no/such/thing", "options": ["bind"]});
    let bundle = mapped(test)?.push("/mounts", mount).script("true").build()?;
    let output = test.container(&bundle).cmd("run", &["--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["/no/such/thing", "no such file"])?;
    test.leaves_nothing()
}

/// More than one message between the processes can carry.
fn many_sources(test: &Test) -> Outcome {
    let (mut bundle, source) = (mapped(test)?, test.new_path("source"));
    std::fs::create_dir(&source)?;
    for number in 0..20 {
        std::fs::write(format!("{source}/{number}"), format!("{number} "))?;
        let mount = json!({"destination": format!("/data/{number}"), "source": format!("{source}/{number}"), "options": ["bind"]});
        bundle = bundle.push("/mounts", mount);
        std::fs::create_dir_all(bundle.path("/data"))?;
        std::fs::write(bundle.path(&format!("/data/{number}")), "")?;
    }
    let output =
        test.container(&bundle.script("cat /data/7 /data/19").build()?).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, "7 19 ");
    Ok(())
}

fn devices_are_the_hosts(test: &Test) -> Outcome {
    let device = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 438});
    let bundle = mapped(test)?.push("/linux/devices", device);
    let script = "for d in null zero kmsg tty; do stat -c '%n %t:%T %u' /dev/$d; done; echo x >/dev/null && echo written";
    let output = test.container(&bundle.script(script).build()?).run_foreground(&[]).succeeds()?;
    let expected = "/dev/null 1:3 65534 /dev/zero 1:5 65534 /dev/kmsg 1:b 65534 /dev/tty 5:0 65534 written";
    assert_eq!(words(&output.stdout), expected);
    Ok(())
}

fn checkpoint_is_refused(test: &Test) -> Outcome {
    let first = test.container(&mapped(test)?.script(SLEEPER).build()?);
    first.run(&[])?;
    let path = format!("/proc/{}/ns/user", first.pid()?);
    let second = test.container(&test.bundle()?.namespace("user", &path).script(SLEEPER).build()?);
    second.run(&[])?;
    let output = second.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    one_line(test, &output, &["user namespace"])?;
    assert_eq!(second.status()?, "running");
    Ok(())
}
