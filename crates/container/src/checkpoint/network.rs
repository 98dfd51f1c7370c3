//! A container's own network namespace: whether it holds anything that a dump would have to keep.
//!
//! CRIU writes a network namespace by running `ip` and four kinds of `iptables-save`, some 50 ms during which the container
//! stands still, and reads it back the same way. A namespace that holds what every new one does (a loopback device that is
//! up) needs none of that: it is dumped as empty (`empty_ns`), and the restore brings the loopback device up again.
//! Parameters below /proc/sys/net are set again from the bundle.

use crate::error::{Result, Step};
use rustix::fs::{Mode, OFlags};
use spec::Config;
use std::fs::read_to_string;
use std::os::fd::{AsFd, OwnedFd};
use sys::net::{Listed, count, in_namespace};

/// `CLONE_NEWNET`, the one value that CRIU's `empty_ns` takes.
pub(crate) const EMPTY: u32 = sys::process::Namespaces::NETWORK.0 as u32;

/// Whether the network namespace of process `pid` is as it was made. What cannot be read counts as something.
pub(crate) fn is_pristine(pid: i32) -> bool {
    let file = |name: &str| read_to_string(format!("/proc/{pid}/net/{name}"));
    let only_loopback = file("dev").is_ok_and(|dev| only_loopback(&dev));
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

const LOOPBACK6: &str = "00000000000000000000000000000001";

/// proc_pid_net(5), `dev`: two lines of head, then one for each device.
fn only_loopback(dev: &str) -> bool {
    dev.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
}

/// The tree of IPv4 routes names each local address as `|-- 127.0.0.1`.
fn only_loopback_addresses(trie: &str) -> bool {
    trie.lines()
        .filter_map(|line| line.trim().strip_prefix("|-- "))
        .all(|address| address.starts_with("127.") || address == "0.0.0.0")
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

/// Puts into the new network namespace of process `pid` what [`is_pristine`] took for granted.
pub(crate) fn set_up(pid: i32, config: &Config) -> Result<()> {
    let parameters = config.linux().and_then(|l| l.sysctl().clone()).unwrap_or_default();
    let namespace = open(pid)?;
    in_namespace(namespace.as_fd(), || {
        sys::net::loopback_up()?;
        // Written through the host's /proc: net parameters are those of the writer's namespace.
        parameters
            .iter()
            .filter(|(key, _)| key.starts_with("net"))
            .try_for_each(|(key, value)| crate::init::write_sysctl(key, value))
    })
    .step(|| "set up the restored network namespace".to_owned())
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
    }
}
