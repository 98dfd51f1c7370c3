//! A container's own network namespace: whether it holds anything that a dump would have to keep.
//!
//! CRIU writes a network namespace by running `ip` and four kinds of `iptables-save`, some 50 ms during which the container
//! stands still, and reads it back the same way. A namespace that holds what every new one does (a loopback device that is
//! up) needs none of that: it is left out of the dump, and the restore makes a new one. Parameters below /proc/sys/net are
//! set again from the bundle.

use crate::error::{Result, Step};
use crate::hooks;
use rustix::fs::{Mode, OFlags};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Config, HookKind};
use std::fs::read_to_string;
use std::os::fd::{AsFd, OwnedFd};
use sys::net::{Listed, count, in_namespace};

/// `CLONE_NEWNET`, the one value that CRIU's `empty_ns` takes.
pub(crate) const EMPTY: u32 = sys::process::Namespaces::NETWORK.0 as u32;

/// Whether a container's network namespace can be left out of its dump: it is its own, it does not belong to a user namespace
/// that the new one could not be made in, and it is as it was made, since nobody in the container could change it and
/// nobody outside has.
pub(super) fn can_be_made_anew(config: &Config, init: i32) -> Result<bool> {
    let namespaces = config.namespaces()?;
    let is_own = namespaces.is_new(Ns::Network) && !namespaces.is_private(Ns::User);
    Ok(is_own && !may_change(config)? && is_pristine(init))
}

/// Whether the container's processes can change their network namespace: root can, where /proc/sys is writable; CAP_NET_ADMIN is
/// for that; and with CAP_SYS_ADMIN a read-only /proc/sys is not for long.
fn may_change(config: &Config) -> Result<bool> {
    const CHANGERS: [&str; 2] = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"];
    let process = config.process()?;
    let is_capable = CHANGERS.iter().any(|name| process.may_gain(name));
    let readonly = config.linux().and_then(|l| l.readonly_paths().as_ref());
    let is_protected = readonly.is_some_and(|list| list.iter().any(|path| path == "/proc/sys"));
    Ok(is_capable || !is_protected)
}

/// Whether hooks have brought devices into a container's own network namespace, and a restore runs them again, before it makes a
/// socket (docker's bridge networks). CRIU could not make such a device: its other end lies in a namespace that it does not
/// know. So nothing of the network is to be dumped, as runc never does.
pub(super) fn is_made_by_hooks(config: &Config, init: i32) -> Result<bool> {
    let is_own = config.namespaces()?.is_new(Ns::Network);
    let has_hooks = hooks::any(config, &[HookKind::Prestart, HookKind::CreateRuntime]);
    Ok(is_own
        && has_hooks
        && read_to_string(format!("/proc/{init}/net/dev")).is_ok_and(|dev| !only_loopback(&dev)))
}

/// Makes a new network namespace with what [`is_pristine`] takes for granted.
pub(crate) fn make(config: &Config) -> Result<OwnedFd> {
    let step = || "make a network namespace".to_owned();
    let namespace = sys::net::new_namespace().step(step)?;
    in_namespace(namespace.as_fd(), || prepare(config)).step(step)?;
    Ok(namespace)
}

/// Makes a new network namespace with nothing but its loopback device.
pub(crate) fn make_bare() -> Result<OwnedFd> {
    let step = || "make a network namespace".to_owned();
    let namespace = sys::net::new_namespace().step(step)?;
    in_namespace(namespace.as_fd(), sys::net::loopback_up).step(step)?;
    Ok(namespace)
}

/// Whether the network namespace of process `pid` is as it was made. What cannot be read counts as something.
fn is_pristine(pid: i32) -> bool {
    let file = |name: &str| read_to_string(format!("/proc/{pid}/net/{name}"));
    let only_loopback = open(pid)
        .is_ok_and(|ns| in_namespace(ns.as_fd(), sys::net::is_loopback_untouched).unwrap_or(false))
        && file("dev").is_ok_and(|dev| only_loopback(&dev));
    let no_routes = file("route").is_ok_and(|routes| routes.lines().count() <= 1);
    let no_addresses = file("fib_trie").is_ok_and(|trie| only_loopback_addresses(&trie));
    // A kernel without IPv6 or without the old iptables has no such file.
    let no_addresses6 =
        file("if_inet6").map_or(true, |list| list.lines().all(|line| line.starts_with(LOOPBACK6)));
    let no_tables = ["ip_tables_names", "ip6_tables_names"]
        .iter()
        .all(|name| file(name).map_or(true, |text| text.is_empty()));
    only_loopback && no_routes && no_addresses && no_addresses6 && no_tables && no_rules(pid).unwrap_or(false)
}

const LOOPBACK4: [&str; 4] = ["0.0.0.0", "127.0.0.0", "127.0.0.1", "127.255.255.255"];
const LOOPBACK6: &str = "00000000000000000000000000000001";

/// proc_pid_net(5), `dev`: two lines of head, then one for each device.
fn only_loopback(dev: &str) -> bool {
    dev.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
}

/// The tree of IPv4 routes names each local address as `|-- 127.0.0.1`.
fn only_loopback_addresses(trie: &str) -> bool {
    trie.lines()
        .filter_map(|line| line.trim().strip_prefix("|-- "))
        .all(|address| LOOPBACK4.contains(&address))
}

/// No nftables, and no routing rules but those that every namespace has: three for IPv4, two for IPv6.
fn no_rules(pid: i32) -> Result<bool> {
    let namespace = open(pid)?;
    let counts = in_namespace(namespace.as_fd(), || {
        Ok((count(Listed::NftTables)?, count(Listed::Rules4)?, count(Listed::Rules6)?))
    })?;
    Ok(counts.0 == 0 && counts.1 <= 3 && counts.2 <= 2)
}

fn open(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(|| format!("open {path}"))
}

/// Prepares the network namespace of process `pid`, which CRIU has made without looking at images (runc dumps it so).
pub(crate) fn set_up(pid: i32, config: &Config) -> Result<()> {
    let namespace = open(pid)?;
    in_namespace(namespace.as_fd(), || prepare(config))
        .step(|| "set up the restored network namespace".to_owned())
}

/// Brings the loopback device up, and sets the bundle's parameters: those of the current namespace, though they are written
/// through the host's /proc.
fn prepare(config: &Config) -> sys::Result<()> {
    sys::net::loopback_up()?;
    let parameters = config.linux().and_then(|l| l.sysctl().as_ref()).into_iter().flatten();
    parameters
        .filter(|(key, _)| key.starts_with("net"))
        .try_for_each(|(key, value)| crate::init::write_sysctl(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_used_namespace_from_a_new_one() {
        let head = "Inter-|   Receive\n face |bytes\n";
        assert!(only_loopback(&format!("{head}    lo:       0       0\n")));
        assert!(!only_loopback(&format!("{head}    lo: 0\n  eth0: 0\n")));
        assert!(only_loopback_addresses(
            "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 0.0.0.0\n        |-- 127.0.0.1\n"
        ));
        assert!(!only_loopback_addresses("     |-- 10.0.0.1\n"));
        assert!(!only_loopback_addresses("     |-- 127.9.9.9\n"));
    }
}
