//! Network namespaces across checkpoints: what they held must be there again.

use testkit::{Case, Cmd, Container, Fallible, NetworkNamespace, Outcome, Test, both, json, needs, rt_only};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, same};

const LOST: &str = "runc restores an empty network namespace";

pub(crate) fn cases() -> Vec<Case> {
    let changed: [Case; 6] = [
        rt_only("loopback_address", LOST, |test| kept(test, "ip addr add 127.9.9.9/32 dev lo", "ip addr")),
        rt_only("foreign_address", LOST, |test| kept(test, "ip addr add 10.9.9.9/32 dev lo", "ip addr")),
        rt_only("address_of_ipv6", LOST, |test| kept(test, "ip addr add fd00::9/128 dev lo", "ip addr")),
        rt_only("route", LOST, |test| kept(test, "ip route add 10.8.0.0/16 dev lo", "ip route")),
        rt_only("larger_mtu", LOST, |test| kept(test, "ip link set lo mtu 9000", "ip addr")),
        rt_only("loopback_down", LOST, |test| {
            kept(test, "ip link set lo down", "ip addr | sed 's/qdisc [a-z]* //'")
        }),
    ];
    let filter = rt_only("packet_filter", LOST, |test| {
        kept(test, "iptables -A INPUT -s 10.7.7.7 -j DROP", "iptables-save | grep 10.7")
    });
    let rule =
        rt_only("routing_rule", LOST, |test| kept(test, "ip rule add from 10.7.7.7 table 7", "ip rule"));
    let rest = [
        filter.needs(needs::iptables),
        rule,
        rt_only("sysctl_changed_inside", LOST, |test| {
            kept_parameter(
                test,
                "sysctl -qw net.ipv4.conf.lo.log_martians=1",
                "cat /proc/sys/net/ipv4/conf/lo/log_martians",
            )
        }),
        rt_only("untouched", LOST, untouched),
        both("devices_of_a_hook", devices_of_a_hook),
        both("given_same", |test| given(test, false)),
        both("given_another", |test| given(test, true)),
    ];
    changed.into_iter().chain(rest).map(|case| case.needs(needs::criu).needs(needs::iproute2)).collect()
}

/// Runs a shell command of the host in the container's network namespace.
fn inside(container: &Container<'_>, command: &str) -> Fallible<String> {
    let pid = container.pid()?.to_string();
    Ok(Cmd::new("nsenter").args(["-t", &pid, "-n", "sh", "-c", command]).succeeds()?.stdout)
}

/// What `change` has changed is still so after a restore, in the words of `show`.
fn kept(test: &Test, change: &str, show: &str) -> Outcome {
    kept_in(&test.run_script(SLEEPER)?, change, show)
}

/// Kernel parameters are kept for a container that may change them. For any other, what the *host* changed in its namespace
/// after the start is not: looking would mean to read hundreds of files at each checkpoint.
fn kept_parameter(test: &Test, change: &str, show: &str) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).capability("CAP_NET_ADMIN").build()?);
    container.run(&[])?;
    kept_in(&container, change, show)
}

fn kept_in(container: &Container<'_>, change: &str, show: &str) -> Outcome {
    let test = container.test;
    let new = inside(container, &format!("{show} || true"))?;
    inside(container, change)?;
    let before = inside(container, show)?;
    assert_ne!(new, before, "the change cannot be seen");
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    same(&format!("`{show}` before (first) and after the restore"), &before, &inside(container, show)?)
}

fn untouched(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(COUNTER).edit(|config| {
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 7"});
    });
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    let show =
        "ip addr; ip route show table all; ip rule; cd /proc/sys/net/ipv4; cat ip_forward ping_group_range";
    let before = inside(&container, show)?;
    assert!(before.contains("UP") && before.contains("0\t7"), "{before}");
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    same("the network before (first) and after the restore", &before, &inside(&container, show)?)?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

/// As docker connects a container to its bridge: a hook brings in a device whose other end stays outside, and does so again at
/// the restore.
fn devices_of_a_hook(test: &Test) -> Outcome {
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') && ip link add rtv$pid type veth peer name eth0 netns $pid && \
                  nsenter -t $pid -n ip addr add 10.99.0.2/24 dev eth0";
    let path = std::env::var("PATH").unwrap_or_default();
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": [format!("PATH={path}:/usr/sbin:/sbin")]});
    let bundle = test.bundle()?.script(COUNTER).edit(|config| config["hooks"] = json!({"prestart": [hook]}));
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let address = |container| inside(container, "ip -4 -o addr show eth0 | grep -o '10.99.0.2/24'");
    let before = address(&container)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    assert_eq!(before, address(&container)?);
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

/// A container in a namespace that somebody else has made comes back in that one, or in the one that the bundle then
/// names.
fn given(test: &Test, move_on: bool) -> Outcome {
    let first = NetworkNamespace::create(&test.new_id())?;
    let second = NetworkNamespace::create(&test.new_id())?;
    let bundle = test.bundle()?.script(COUNTER).namespace("network", &first.path()).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    counts_on(&bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let target = if move_on { &second } else { &first };
    let config = std::fs::read_to_string(bundle.config())?.replace(&first.path(), &target.path());
    std::fs::write(bundle.config(), config)?;
    container.restore(&images, &[])?;
    counts_on(&bundle, "/log", 3)?;
    assert_eq!(number(&format!("/proc/{}/ns/net", container.pid()?))?, number(&target.path())?);
    container.delete()
}

/// What tells one namespace from another.
fn number(path: &str) -> Fallible<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(path)?.ino())
}
