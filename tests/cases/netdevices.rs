//! The host's network devices in a container (`linux.netDevices`). The "host" is a network namespace of the case's own.

use testkit::{
    BundleBuilder, Case, Cmd, Container, Fallible, NetworkNamespace, Outcome, Test, json, needs, rt_only,
};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    let since = "runc knows netDevices since 1.4";
    let mut cases = vec![
        rt_only("moved_in_and_back", since, moved_in_and_back),
        rt_only("back_from_a_joined_namespace", since, back_from_a_joined_namespace),
        rt_only("back_when_the_start_fails", since, back_when_the_start_fails),
        rt_only("there_before_sysctls_and_hooks", since, there_before_sysctls_and_hooks),
        rt_only("missing", since, missing),
        rt_only("refused", since, refused),
        rt_only("checkpoint_is_refused", since, checkpoint_is_refused),
    ];
    if let Some(last) = cases.pop() {
        cases.push(last.needs(needs::criu));
    }
    cases.into_iter().map(|case| case.needs(needs::iproute2)).collect()
}

/// A host with a device `dev0` that has an address, and its peer `peer0`.
struct Host(NetworkNamespace);

impl Host {
    fn new(test: &Test) -> Fallible<Self> {
        let host = Self(NetworkNamespace::create(&test.new_id())?);
        host.ip("link add dev0 type veth peer name peer0")?;
        host.ip("addr add 192.0.2.1/24 dev dev0")?;
        host.ip("addr add 2001:db8::1/64 dev dev0 nodad")?;
        host.ip("link set dev0 up")?;
        Ok(host)
    }

    fn ip(&self, words: &str) -> Fallible<String> {
        let command = Cmd::new("ip").args(words.split(' ')).in_network(&self.0.path());
        Ok(command.succeeds()?.stdout)
    }

    fn has(&self, words: &[&str]) -> Fallible<()> {
        let text = self.ip("-o addr show dev dev0")? + &self.ip("-o link show dev dev0")?;
        match words.iter().find(|word| !text.contains(**word)) {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is not in:\n{text}").into()),
        }
    }

    fn run(&self, container: &Container<'_>) -> Fallible<()> {
        container.quiet("run", &["--detach"]).in_network(&self.0.path()).succeeds().map(drop)
    }

    fn delete(&self, container: &Container<'_>) -> Fallible<()> {
        container.cmd("delete", &["--force"]).in_network(&self.0.path()).succeeds().map(drop)
    }
}

const KEPT: [&str; 3] = ["192.0.2.1/24", "2001:db8::1/64", ",UP"];

fn with_device(test: &Test, script: &str) -> Fallible<BundleBuilder> {
    Ok(test.bundle()?.set("/linux/netDevices", json!({"dev0": {"name": "eth7"}})).script(script))
}

fn moved_in_and_back(test: &Test) -> Outcome {
    let host = Host::new(test)?;
    let container = test.container(&with_device(test, SLEEPER)?.build()?);
    host.run(&container)?;
    let output = container.exec(&[], &["ip", "addr", "show", "dev", "eth7"]).succeeds()?;
    for word in KEPT {
        assert!(output.stdout.contains(word), "{word}: {output}");
    }
    assert!(!host.ip("-o link")?.contains("dev0"));
    // The peer is still there, so it is the same device.
    assert!(host.ip("-o link")?.contains("peer0"));
    host.delete(&container)?;
    host.has(&KEPT)
}

fn back_from_a_joined_namespace(test: &Test) -> Outcome {
    let (host, other) = (Host::new(test)?, NetworkNamespace::create(&test.new_id())?);
    let bundle = with_device(test, SLEEPER)?.namespace("network", &other.path()).build()?;
    let container = test.container(&bundle);
    host.run(&container)?;
    container.exec(&[], &["ip", "addr", "show", "dev", "eth7"]).succeeds()?;
    host.delete(&container)?;
    host.has(&KEPT)
}

fn back_when_the_start_fails(test: &Test) -> Outcome {
    let host = Host::new(test)?;
    let container = test.container(&with_device(test, "true")?.args(&["/no/such/program"]).build()?);
    let output = container.run_foreground(&[]).in_network(&host.0.path()).fails()?;
    one_line(test, &output, &["/no/such/program"])?;
    host.has(&KEPT)?;
    // The second device is not there: the first one returns.
    let devices = json!({"dev0": {}, "no-such-dev": {}});
    let container = test.container(&with_device(test, "true")?.set("/linux/netDevices", devices).build()?);
    let output = container.run_foreground(&[]).in_network(&host.0.path()).fails()?;
    one_line(test, &output, &["linux.netDevices[\"no-such-dev\"]", "no such device"])?;
    host.has(&KEPT)
}

fn there_before_sysctls_and_hooks(test: &Test) -> Outcome {
    let host = Host::new(test)?;
    let seen = test.new_path("seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip -o link show dev eth7 >{seen}"
    );
    let bundle = with_device(test, "cat /proc/sys/net/ipv4/conf/eth7/forwarding")?
        .set("/linux/sysctl", json!({"net.ipv4.conf.eth7.forwarding": "1"}))
        .push("/hooks/prestart", json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}));
    let container = test.container(&bundle.build()?);
    let output = container.run_foreground(&[]).in_network(&host.0.path()).succeeds()?;
    assert_eq!(output.stdout, "1\n");
    assert!(std::fs::read_to_string(&seen)?.contains("eth7"));
    host.has(&KEPT)
}

fn missing(test: &Test) -> Outcome {
    let bundle = with_device(test, "true")?.set("/linux/netDevices", json!({"no-such-dev": {}})).build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["linux.netDevices", "no-such-dev", "no such device"])?;
    test.leaves_nothing()
}

fn refused(test: &Test) -> Outcome {
    let shared = |bundle: BundleBuilder| {
        bundle.edit(|config| {
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.retain(|namespace| namespace["type"] != "network");
            }
        })
    };
    let path = "/proc/self/ns/net";
    for (bundle, reason) in [
        (shared(with_device(test, "true")?), "without a NET namespace"),
        (with_device(test, "true")?.namespace("network", path), "host network namespace"),
        (
            with_device(test, "true")?.set("/linux/netDevices", json!({"dev0": {"name": "a/b"}})),
            "invalid network device name",
        ),
        (
            with_device(test, "true")?
                .set("/linux/netDevices", json!({"a": {"name": "x"}, "b": {"name": "x"}})),
            "same name",
        ),
    ] {
        let output = test.container(&bundle.build()?).run_foreground(&[]).fails()?;
        one_line(test, &output, &["linux.netDevices", reason])?;
    }
    test.leaves_nothing()
}

fn checkpoint_is_refused(test: &Test) -> Outcome {
    let host = Host::new(test)?;
    let container = test.container(&with_device(test, SLEEPER)?.build()?);
    host.run(&container)?;
    let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    one_line(test, &output, &["linux.netDevices", "dev0"])?;
    assert_eq!(container.status()?, "running");
    host.delete(&container)?;
    host.has(&KEPT)
}
