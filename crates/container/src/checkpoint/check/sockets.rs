//! The sockets that a container's processes have open.

use super::Allowed;
use super::finding::Finding;
use super::proc::{link, text};
use super::processes::Process;
use criu::Class;
use rustix::fs::{Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use sys::unix_sockets::UnixSocket;

/// The states of the kernel's tcp_states.h.
const TCP_LISTEN: u8 = 10;
const TCP_CLOSE: u8 = 7;
const TCP_NEW_SYN_RECV: u8 = 12;
const TCP_SYN_RECV: u8 = 3;
const TCP_TIME_WAIT: u8 = 6;

/// A TCP socket, as /proc/net/tcp shows it (proc_pid_net(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: u8,
    /// Of one that listens: connections that nobody has accepted.
    pub(super) waiting: u32,
    pub(super) inode: u64,
}

impl fmt::Display for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.local, self.remote)
    }
}

/// The sockets of the network namespaces that the container's processes are in, by inode.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) tcp: BTreeMap<u64, TcpSocket>,
    pub(super) unix: BTreeMap<u64, UnixSocket>,
    /// Who listens, for each unix socket that waits to be accepted.
    listeners: BTreeMap<u64, u64>,
    /// The unix sockets of the host, where no process of the container is.
    host: BTreeSet<u64>,
}

impl Sockets {
    /// Asks each namespace once.
    pub(super) fn of(processes: &[Process]) -> Self {
        let (mut found, mut seen) = (Self::default(), BTreeSet::new());
        for process in processes {
            if seen.insert(process.namespace("net")) {
                found.add(process.pid);
            }
        }
        if !seen.contains(&link("/proc/self/ns/net").as_deref()) {
            let sockets = sys::unix_sockets::list().unwrap_or_default();
            found.host = sockets.iter().map(|socket| socket.inode).collect();
        }
        found
    }

    /// Those of a table of TCP sockets.
    pub(super) fn of_text(table: &str) -> Self {
        let tcp = table.lines().filter_map(parse).map(|socket| (socket.inode, socket)).collect();
        Self { tcp, ..Self::default() }
    }

    fn add(&mut self, pid: i32) {
        for table in ["tcp", "tcp6"] {
            let text = text(&format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            self.tcp.extend(Self::of_text(&text).tcp);
        }
        let namespace =
            rustix::fs::open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let Ok(namespace) = namespace else { return };
        match sys::net::in_namespace(namespace.as_fd(), sys::unix_sockets::list) {
            Ok(sockets) => self.add_unix(sockets),
            Err(e) => log::debug!("unix sockets of process {pid}: {e}"),
        }
    }

    fn add_unix(&mut self, list: Vec<UnixSocket>) {
        for socket in list {
            self.listeners.extend(socket.pending.iter().map(|pending| (*pending, socket.inode)));
            self.unix.insert(socket.inode, socket);
        }
    }
}

/// A line of /proc/net/tcp or tcp6.
fn parse(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let waiting = u32::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()?;
    let inode = fields.nth(4)?.parse().ok()?;
    Some(TcpSocket { local, remote, state, waiting, inode })
}

/// `0100007F:1F90`: words of four bytes in the machine's order, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (digits, port) = text.split_once(':')?;
    let word = |index: usize| u32::from_str_radix(digits.get(index * 8..index * 8 + 8)?, 16).ok();
    let ip = match digits.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Whether CRIU(4.2) dumps sockets of a protocol, by the kernel's name for it.
fn unknown_protocol(protocol: &str) -> Option<Class> {
    const KNOWN: [&str; 14] = [
        "",
        "TCP",
        "TCPv6",
        "UDP",
        "UDPv6",
        "UDP-Lite",
        "UDPLITEv6",
        "RAW",
        "RAWv6",
        "PING",
        "PINGv6",
        "NETLINK",
        "PACKET",
        "UDPLite",
    ];
    const INTERNET: [&str; 8] = ["MPTCP", "MPTCPv6", "SCTP", "SCTPv6", "DCCP", "DCCPv6", "SMC", "SMC6"];
    match protocol {
        _ if KNOWN.contains(&protocol) || protocol.starts_with("UNIX") => None,
        _ if INTERNET.contains(&protocol) => Some(Class::SocketProtocol),
        _ => Some(Class::SocketFamily),
    }
}

/// What stands in the way of the sockets of all processes. `is_criu_blind`: this criu cannot dump internet sockets here.
pub(super) fn judge(
    processes: &[Process],
    sockets: &Sockets,
    is_criu_blind: bool,
    allowed: &Allowed,
) -> Vec<Finding> {
    let descriptors =
        || processes.iter().flat_map(|process| process.descriptors.iter().map(move |one| (process, one)));
    let inside: BTreeSet<u64> = descriptors().filter_map(|(_, one)| one.socket()).collect();
    let (mut findings, mut seen) = (Vec::new(), BTreeSet::new());
    for (process, descriptor) in descriptors() {
        let Some(inode) = descriptor.socket().filter(|inode| seen.insert(*inode)) else { continue };
        let who = format!("descriptor {} of {}", descriptor.number, process.shown());
        let mut found = Vec::new();
        if let Some(class) = unknown_protocol(&descriptor.protocol) {
            found.push(Finding::fails(class, format!("{}, {who}", descriptor.protocol)));
        }
        if is_criu_blind && is_internet(&descriptor.protocol) {
            found.push(Finding::fails(Class::CriuTooOld, format!("{} socket, {who}", descriptor.protocol)));
        }
        found.extend(sockets.tcp.get(&inode).and_then(|socket| judge_tcp(socket, &who, allowed)));
        found.extend(
            sockets.unix.get(&inode).and_then(|socket| judge_unix(socket, &inside, sockets, &who, allowed)),
        );
        if sockets.host.contains(&inode) {
            found.push(Finding::fails(Class::SocketNamespace, format!("socket {inode}, {who}")));
        }
        findings.extend(found.into_iter().map(|finding| finding.of(process.pid)));
    }
    findings
}

fn is_internet(protocol: &str) -> bool {
    ["TCP", "UDP", "RAW", "PING"].iter().any(|name| protocol.starts_with(name))
}

fn judge_tcp(socket: &TcpSocket, who: &str, allowed: &Allowed) -> Option<Finding> {
    match socket.state {
        TCP_CLOSE | TCP_TIME_WAIT => None,
        TCP_LISTEN if socket.waiting > 0 => {
            let object = format!("{} for {}, {who}", socket.waiting, socket.local);
            Some(Finding::unless(allowed.tcp.skip_in_flight, Class::TcpInFlight, object))
        }
        TCP_LISTEN => None,
        TCP_SYN_RECV | TCP_NEW_SYN_RECV => {
            Some(Finding::warning(Class::TcpChanging, format!("{socket}, {who}")))
        }
        _ => {
            let is_allowed = allowed.tcp.established || allowed.tcp.close;
            Some(Finding::unless(is_allowed, Class::TcpEstablished, format!("{socket}, {who}")))
        }
    }
}

fn judge_unix(
    socket: &UnixSocket,
    inside: &BTreeSet<u64>,
    sockets: &Sockets,
    who: &str,
    allowed: &Allowed,
) -> Option<Finding> {
    // One that has not been accepted has no peer yet; who listens knows of it.
    let listener = || sockets.listeners.get(&socket.inode).copied();
    let peer = socket.peer.or_else(listener).filter(|peer| !inside.contains(peer))?;
    let other = sockets.unix.get(&peer);
    let name = other.map(|other| other.name.as_str()).filter(|name| !name.is_empty());
    let to = name.map_or_else(|| format!("inode {peer}"), |name| format!("{name} (inode {peer})"));
    let object = format!("socket {} to {to}, {who}", socket.inode);
    let is_handed = allowed.handed.contains(&format!("socket:[{}]", socket.inode));
    let is_named = is_handed || allowed.is_external(&format!("unix[{}]", socket.inode));
    let class = if other.is_none() {
        Class::UnixElsewhere
    } else if !socket.is_datagram {
        Class::UnixExternalStream
    } else if name.is_none() && allowed.ext_unix_sk {
        Class::UnixExternalUnnamed
    } else {
        Class::UnixExternal
    };
    let is_allowed = match class {
        Class::UnixElsewhere => false,
        Class::UnixExternal => is_named || allowed.ext_unix_sk,
        _ => is_named,
    };
    Some(Finding::unless(is_allowed, class, object))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::descriptors::Descriptor;
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const TCP: &str = "   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 52111 1 0\n   \
        1: 0100007F:1388 0100007F:B8D2 01 00000000:00000000 00:00000000 00000000     0        0 52112 1 0 20 4 30 10 -1\n   \
        2: 0100007F:1389 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 52113 1 0\n";
    const TCP6: &str = "   0: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000100007F:D431 08 00000000:00000000 \
        00:00000000 00000000     0        0 60001 1 0\n";

    #[test]
    fn tables_are_read_as_the_kernel_prints_them() {
        let lines: Vec<_> = [HEAD, TCP, TCP6].concat().lines().filter_map(parse).collect();
        let shown: Vec<_> = lines
            .iter()
            .map(|socket| (socket.to_string(), socket.state, socket.waiting, socket.inode))
            .collect();
        assert_eq!(
            shown,
            [
                ("127.0.0.1:5000 to 0.0.0.0:0".to_owned(), 10, 0, 52111),
                ("127.0.0.1:5000 to 127.0.0.1:47314".to_owned(), 1, 0, 52112),
                ("127.0.0.1:5001 to 0.0.0.0:0".to_owned(), 10, 2, 52113),
                ("[::1]:8080 to 127.0.0.1:54321".to_owned(), 8, 0, 60001),
            ]
        );
        assert_eq!(parse("   0: 0100007F:13 nonsense"), None);
    }

    fn holding(sockets: &[(u64, &str)]) -> Process {
        let open = |(number, (inode, protocol)): (i32, &(u64, &str))| Descriptor {
            number,
            link: format!("socket:[{inode}]"),
            protocol: (*protocol).to_owned(),
            ..Descriptor::default()
        };
        let descriptors = (3..).zip(sockets).map(open).collect();
        Process { pid: 7, name: "nc".into(), descriptors, ..Process::default() }
    }

    fn found(
        process: Process,
        sockets: &Sockets,
        is_blind: bool,
        allowed: &Allowed,
    ) -> Vec<(Verdict, Class, String)> {
        let findings = judge(&[process], sockets, is_blind, allowed);
        findings.into_iter().map(|finding| (finding.verdict, finding.class, finding.object)).collect()
    }

    #[test]
    fn connections_need_leave_and_listening_does_not() {
        let sockets = Sockets::of_text(TCP);
        let process = || {
            holding(&[
                (52111, "TCP"),
                (52112, "TCP"),
                (52113, "TCP"),
                (9, "TCP"),
                (10, "MPTCP"),
                (11, "AF_VSOCK"),
            ])
        };
        let strict = found(process(), &sockets, false, &Allowed::default());
        let established = "127.0.0.1:5000 to 127.0.0.1:47314, descriptor 4 of process 7 (nc)".to_owned();
        let waiting = "2 for 127.0.0.1:5001, descriptor 5 of process 7 (nc)".to_owned();
        assert_eq!(strict[0], (Verdict::WouldFail, Class::TcpEstablished, established));
        assert_eq!(strict[1], (Verdict::WouldFail, Class::TcpInFlight, waiting));
        assert_eq!((strict[2].1, strict[3].1, strict.len()), (Class::SocketProtocol, Class::SocketFamily, 4));
        let mut lax = Allowed::default();
        (lax.tcp.established, lax.tcp.skip_in_flight) = (true, true);
        let allowed = found(process(), &sockets, false, &lax);
        assert!(allowed[..2].iter().all(|finding| finding.0 == Verdict::Ok), "{allowed:?}");
        let blind = found(holding(&[(52111, "TCP"), (1, "UNIX")]), &sockets, true, &lax);
        assert_eq!(blind.iter().map(|finding| finding.1).collect::<Vec<_>>(), [Class::CriuTooOld]);
    }

    fn unix(inode: u64, peer: Option<u64>, is_datagram: bool, name: &str) -> UnixSocket {
        UnixSocket { inode, peer, is_datagram, name: name.to_owned(), pending: Vec::new() }
    }

    #[test]
    fn unix_sockets_may_lead_to_the_container_itself_only() {
        let list = [
            unix(1, Some(2), false, ""),
            unix(2, Some(1), false, "/own"),
            unix(3, Some(100), false, ""),
            unix(100, Some(3), false, "/host.sock"),
            unix(4, Some(101), true, ""),
            unix(101, None, true, "/dev/log"),
            unix(5, Some(102), true, ""),
            unix(102, None, true, ""),
            unix(9, Some(105), true, ""),
            unix(6, None, false, ""),
            UnixSocket { pending: vec![6], ..unix(7, None, false, "/own2") },
            unix(8, None, false, ""),
            UnixSocket { pending: vec![8], ..unix(104, None, false, "/busy.sock") },
        ];
        let mut sockets = Sockets::default();
        sockets.add_unix(list.into());
        let process = || holding(&[1, 2, 3, 4, 5, 6, 7, 8, 9].map(|inode| (inode, "UNIX")));
        let fails = |allowed: &Allowed| -> Vec<(Class, String)> {
            let all = found(process(), &sockets, false, allowed).into_iter();
            all.filter(|finding| finding.0 == Verdict::WouldFail)
                .map(|finding| (finding.1, finding.2))
                .collect()
        };
        let strict = fails(&Allowed::default());
        let stream = "socket 3 to /host.sock (inode 100), descriptor 5 of process 7 (nc)".to_owned();
        assert_eq!(strict[0], (UnixExternalStream, stream));
        assert!(strict[3].1.starts_with("socket 8 to /busy.sock (inode 104)"), "{strict:?}");
        use Class::{UnixElsewhere, UnixExternal, UnixExternalStream, UnixExternalUnnamed};
        let classes = |found: &[(Class, String)]| found.iter().map(|one| one.0).collect::<Vec<_>>();
        assert_eq!(classes(&strict[1..]), [UnixExternal, UnixExternal, UnixExternalStream, UnixElsewhere]);
        let lax = fails(&Allowed { ext_unix_sk: true, ..Allowed::default() });
        assert_eq!(
            classes(&lax),
            [UnixExternalStream, UnixExternalUnnamed, UnixExternalStream, UnixElsewhere]
        );
        let named = Allowed { external: vec!["unix[3]".into()], ..Allowed::default() };
        assert_eq!(fails(&named).len(), 4);
    }
}
