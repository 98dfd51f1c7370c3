//! Namespaces that are another container's, and user namespaces.

use testkit::{BundleBuilder, Case, Container, Fallible, Outcome, Test, both, json, needs, rt_only};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("joined_pid_ipc_uts", joined_pid_ipc_uts),
        both("joined_missing", joined_missing),
        both("joined_of_another_kind", joined_of_another_kind),
        both("user_namespace", user_namespace),
        both("sysctls_of_its_namespaces", sysctls_of_its_namespaces),
        both("sysctls_of_the_host", sysctls_of_the_host),
        both("host_and_domain_name", host_and_domain_name),
        both("cgroup_namespace", cgroup_namespace),
        both("shared_with_the_host", shared_with_the_host),
        rt_only("user_namespace_checkpoint", "runc 1.1 cannot restore it", user_namespace_checkpoint)
            .needs(needs::criu),
    ]
}

fn namespace(container: &Container<'_>, kind: &str) -> Fallible<String> {
    Ok(std::fs::read_link(format!("/proc/{}/ns/{kind}", container.pid()?))?.display().to_string())
}

fn joined_pid_ipc_uts(test: &Test) -> Outcome {
    let first = test.run_script(SLEEPER)?;
    let path = |kind: &str| -> Fallible<String> { Ok(format!("/proc/{}/ns/{kind}", first.pid()?)) };
    let bundle = test
        .bundle()?
        .namespace("pid", &path("pid")?)
        .namespace("ipc", &path("ipc")?)
        .namespace("uts", &path("uts")?)
        .edit(|config| config["hostname"] = json!(""))
        .script("echo $$ >/pid; while :; do sleep 1000; done");
    let second = test.container(&bundle.build()?);
    second.run(&[])?;
    for kind in ["pid", "ipc", "uts"] {
        assert_eq!(namespace(&first, kind)?, namespace(&second, kind)?, "{kind}");
    }
    assert_ne!(namespace(&first, "mnt")?, namespace(&second, "mnt")?);
    testkit::wait_until("its pid", || !second.bundle.read("/pid").is_empty())?;
    assert_ne!(second.bundle.read("/pid").trim(), "1");
    let output = second.exec(&[], &["sh", "-c", "readlink /proc/self/ns/pid; hostname"]).succeeds()?;
    assert!(output.stdout.starts_with(&namespace(&first, "pid")?), "{output}");
    assert!(second.pids()?.contains(&second.pid()?) && !second.pids()?.contains(&first.pid()?));
    second.cmd("kill", &[]).arg("KILL").succeeds()?;
    second.wait_for_status("stopped")?;
    second.cmd("delete", &[]).succeeds()?;
    assert_eq!(first.status()?, "running");
    Ok(())
}

fn joined_missing(test: &Test) -> Outcome {
    let path = test.new_path("nothing");
    let bundle = test.bundle()?.namespace("ipc", &path).script(SLEEPER).build()?;
    let output = test.container(&bundle).cmd("run", &["--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &[&path, "no such file"])?;
    test.leaves_nothing()
}

fn joined_of_another_kind(test: &Test) -> Outcome {
    let bundle = test.bundle()?.namespace("ipc", "/proc/self/ns/uts").script("true").build()?;
    let output = test.container(&bundle).cmd("run", &["--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["/proc/self/ns/uts"])?;
    test.leaves_nothing()
}

fn sysctls_of_its_namespaces(test: &Test) -> Outcome {
    let list = json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "77", "fs.mqueue.msg_max": "9"});
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max";
    let bundle = test.bundle()?.set("/linux/sysctl", list).script(script).build()?;
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "1\n77\n9\n");
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/shmmni")?.trim(), "77");
    Ok(())
}

fn sysctls_of_the_host(test: &Test) -> Outcome {
    let set =
        |bundle: BundleBuilder, key: &str| bundle.set("/linux/sysctl", json!({key: "1"})).script("true");
    for (bundle, key) in [
        (test.bundle()?.without_namespace("network"), "net.ipv4.ip_forward"),
        (test.bundle()?.without_namespace("ipc"), "kernel.shmmni"),
        (test.bundle()?.namespace("network", "/proc/self/ns/net"), "net.ipv4.ip_forward"),
        (test.bundle()?, "kernel.panic"),
        (test.bundle()?, "kernel.hostname"),
    ] {
        let bundle = set(bundle, key).build()?;
        let output = test.container(&bundle).run_foreground(&[]).fails()?;
        one_line(test, &output, &[key])?;
    }
    test.leaves_nothing()
}

fn host_and_domain_name(test: &Test) -> Outcome {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let bundle = test.bundle()?.edit(|config| config["hostname"] = json!("inner"));
    let bundle = if test.is_rt() { bundle.set("/domainname", json!("example.org")) } else { bundle };
    let bundle = bundle.script("hostname; cat /proc/sys/kernel/domainname").build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert!(output.stdout.starts_with("inner\n"), "{output}");
    // runc 1.1 does not know domain names.
    assert!(!test.is_rt() || output.stdout == "inner\nexample.org\n", "{output}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname")?, before);
    let shared =
        test.bundle()?.without_namespace("uts").edit(|config| config["hostname"] = json!("outer")).build()?;
    let output = test.container(&shared).run_foreground(&[]).fails()?;
    one_line(test, &output, &["hostname", "UTS namespace"])
}

/// In its own cgroup namespace a container is in the root of each hierarchy.
fn cgroup_namespace(test: &Test) -> Outcome {
    let script = "cut -d: -f3 /proc/self/cgroup";
    // On v2, `spec` has written it already.
    let bundle = test.bundle()?.without_namespace("cgroup");
    let bundle = bundle.push("/linux/namespaces", json!({"type": "cgroup"})).script(script).build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert!(output.stdout.lines().all(|path| path == "/"), "{output}");
    Ok(())
}

fn shared_with_the_host(test: &Test) -> Outcome {
    let kinds = [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let bundle = kinds.iter().try_fold(test.bundle()?, |bundle, (kind, _)| -> Fallible<_> {
        Ok(bundle.without_namespace(kind).edit(|config| config["hostname"] = json!("")))
    })?;
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    for (_, file) in kinds {
        let own = std::fs::read_link(format!("/proc/self/ns/{file}"))?.display().to_string();
        assert_eq!(namespace(&container, file)?, own);
    }
    container.delete()?;
    test.leaves_nothing()
}

pub(super) fn mapped(test: &Test) -> Fallible<BundleBuilder> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let builder = test.bundle()?.push("/linux/namespaces", json!({"type": "user"}));
    std::fs::set_permissions(builder.path("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Ok(builder.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map))
}

fn user_namespace(test: &Test) -> Outcome {
    let container = test.container(&mapped(test)?.script(SLEEPER).build()?);
    container.run(&[])?;
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let output = container.exec(&[], &["cat", "/proc/self/uid_map", "/proc/self/gid_map"]).succeeds()?;
    assert_eq!(words(&output.stdout), "0 100000 65536 0 100000 65536");
    let output = container
        .exec(&[], &["sh", "-c", "id -u; echo x >/tmp/mine; stat -c %u /tmp/mine /bin"])
        .succeeds()?;
    assert_eq!(words(&output.stdout), "0 0 65534");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(container.bundle.path("/tmp/mine"))?);
    assert_eq!(owner, 100_000);
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    assert!(status.lines().any(|line| line.starts_with("Uid:\t100000\t")), "{status}");
    container.delete()?;
    test.leaves_nothing()
}

fn user_namespace_checkpoint(test: &Test) -> Outcome {
    let container = test.container(&mapped(test)?.script(&COUNTER.replace("/log", "/tmp/log")).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/tmp/log", 3)?;
    for _ in 0..2 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/tmp/log", 3)?;
        let map = container.exec(&[], &["cat", "/proc/self/uid_map"]).succeeds()?.stdout;
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    }
    is_unbroken(&container.bundle, "/tmp/log")
}
