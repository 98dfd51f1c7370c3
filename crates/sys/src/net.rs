//! Network namespaces: their loopback device, and what is in them.

use crate::error::{Context, Result, check};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::thread::LinkNameSpaceType;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Brings the loopback device of the current network namespace up (netdevice(7), SIOCSIFFLAGS).
pub fn loopback_up() -> Result<()> {
    let mut request = about_loopback();
    // A new device has no flag that would have to be kept.
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    ask(libc::SIOCSIFFLAGS, &mut request, "SIOCSIFFLAGS")
}

/// Whether the loopback device of the current network namespace is as [`loopback_up`] left it: up, with the kernel's MTU.
pub fn is_loopback_untouched() -> Result<bool> {
    const MTU: libc::c_int = 65536;
    let (mut flags, mut mtu) = (about_loopback(), about_loopback());
    ask(libc::SIOCGIFFLAGS, &mut flags, "SIOCGIFFLAGS")?;
    ask(libc::SIOCGIFMTU, &mut mtu, "SIOCGIFMTU")?;
    // SAFETY: each call has filled the member that is read, and all members are plain numbers.
    let (flags, mtu) = unsafe { (flags.ifr_ifru.ifru_flags, mtu.ifr_ifru.ifru_mtu) };
    let wanted = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as libc::c_short;
    Ok(flags == wanted && mtu == MTU)
}

fn about_loopback() -> libc::ifreq {
    // SAFETY: ifreq is plain data, and zero is valid for all of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request
}

fn ask(what: libc::Ioctl, request: &mut libc::ifreq, name: &str) -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket", || "AF_INET, SOCK_DGRAM".into())?;
    // SAFETY: these calls read and write one ifreq, which lives until they return.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut *request) };
    check(ret.into(), "ioctl", || format!("{name}, \"lo\"")).map(drop)
}

/// Makes a network namespace that nobody is in; it lives as long as the descriptor.
pub fn new_namespace() -> Result<OwnedFd> {
    let open = || {
        rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call("open", || "\"/proc/thread-self/ns/net\"".into())
    };
    let own = open()?;
    crate::process::unshare(crate::process::Namespaces::NETWORK)?;
    let made = open();
    enter(own.as_fd())?;
    made
}

/// Runs `work` in another network namespace, given by descriptor, and comes back.
///
/// Only this thread moves. Not coming back is not an error that anyone could go on after, so it is reported as the result.
pub fn in_namespace<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || "\"/proc/thread-self/ns/net\"".into())?;
    enter(namespace)?;
    let done = work();
    enter(own.as_fd())?;
    done
}

fn enter(namespace: BorrowedFd<'_>) -> Result<()> {
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
        .call("setns", || format!("network namespace {}", namespace.as_raw_fd()))
}

/// What can be counted of the current network namespace by asking the kernel for a list (netlink(7), NLM_F_DUMP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// nftables' tables.
    NftTables,
    /// Routing rules of IPv4 (`ip rule`).
    Rules4,
    /// Routing rules of IPv6.
    Rules6,
}

/// How many there are; none too where the kernel does not know the thing.
pub fn count(what: Listed) -> Result<usize> {
    // linux/netfilter/nfnetlink.h: the subsystem is the high byte of the type; linux/rtnetlink.h.
    // Protocol 0, which is no value here, is NETLINK_ROUTE.
    const NFT_TABLES: u16 = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    let (protocol, kind, family, size) = match what {
        Listed::NftTables => (Some(netlink::NETFILTER), NFT_TABLES, libc::AF_UNSPEC, NFGENMSG),
        Listed::Rules4 => (None, libc::RTM_GETRULE, libc::AF_INET, FIB_RULE_HDR),
        Listed::Rules6 => (None, libc::RTM_GETRULE, libc::AF_INET6, FIB_RULE_HDR),
    };
    let mut request = vec![0; size];
    request[0] = family as u8;
    let mut total = 0;
    list_all(protocol, kind, &request, &mut |_| total += 1)?;
    Ok(total)
}

/// Asks the kernel for a list, and hands each entry to `each`, without the head of its message. A protocol that the kernel does not
/// have lists nothing.
pub(crate) fn list_all(
    protocol: Option<rustix::net::Protocol>,
    kind: u16,
    request: &[u8],
    each: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let step = || format!("netlink, {kind}");
    let socket = match rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    ) {
        Err(rustix::io::Errno::PROTONOSUPPORT) => return Ok(()),
        other => other.call("socket", step)?,
    };
    rustix::net::send(&socket, &dump_request(kind, request), SendFlags::empty()).call("send", step)?;
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let (_, size) =
            rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()).call("recv", step)?;
        if messages(&buffer[..size.min(buffer.len())], each) || size == 0 {
            return Ok(());
        }
    }
}

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = 1;

/// The sizes of what follows the struct nlmsghdr. The kernel's log tells of each request that is longer.
const NFGENMSG: usize = 4;
const FIB_RULE_HDR: usize = 12;

const NLMSGHDR: usize = 16;

/// A struct nlmsghdr with what is asked for behind it.
fn dump_request(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut request = vec![0u8; NLMSGHDR];
    let length = (NLMSGHDR + body.len()) as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request.extend_from_slice(body);
    request
}

/// Hands over the entries that one datagram holds; whether it is the last: with NLMSG_DONE, or an error.
fn messages(mut rest: &[u8], each: &mut dyn FnMut(&[u8])) -> bool {
    while let Some((length, kind)) = header(rest) {
        if kind == libc::NLMSG_DONE || kind == libc::NLMSG_ERROR {
            return true;
        }
        each(rest.get(NLMSGHDR..length).unwrap_or_default());
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn header(message: &[u8]) -> Option<(usize, i32)> {
    let length = u32::from_ne_bytes(message.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    (length >= NLMSGHDR).then_some((length, kind.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_its_three_rules() {
        assert!(count(Listed::Rules4).unwrap() >= 3);
        count(Listed::NftTables).unwrap();
    }

    #[test]
    fn a_cut_datagram_ends_the_count() {
        let seen = |datagram: &[u8]| {
            let mut sizes = Vec::new();
            let finished = messages(datagram, &mut |entry| sizes.push(entry.len()));
            (sizes, finished)
        };
        assert_eq!(seen(&[]), (vec![], false));
        assert_eq!(seen(&dump_request(26, &[0; 12])), (vec![12], false));
        let mut done = dump_request(3, &[0; 12]);
        done.truncate(20);
        assert_eq!(seen(&done), (vec![], true));
        assert_eq!(seen(&[1, 0, 0, 0, 0, 0]), (vec![], false));
        let mut cut = dump_request(26, &[0; 12]);
        cut.truncate(20);
        assert_eq!(seen(&cut), (vec![0], false));
    }
}
