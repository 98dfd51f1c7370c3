//! Sockets with an address: internet and unix ones.

use super::text;
use crate::wire::images::{FileEntry, InetSkEntry, UnixSkEntry};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP's states, as the kernel counts them from 1 on; unix sockets use some of them.
const STATES: [&str; 12] = [
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listening",
    "closing",
    "new-syn-received",
];

const TCP: u32 = 6;

/// What is known of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// `tcp`, `udp`, `raw`, `udplite`, ...; of a unix socket `stream`, `datagram` or `seqpacket`.
    pub protocol: String,
    /// The state of TCP, or of a unix socket.
    pub state: &'static str,
    /// It lies outside what was dumped: another process' end of a connection.
    pub external: bool,
    /// Who is at which end.
    pub addresses: Addresses,
}

/// The addresses of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Of an internet socket.
    Inet {
        /// This end; None where CRIU wrote none that can be understood.
        local: Option<SocketAddr>,
        /// The other end, of one that is connected.
        remote: Option<SocketAddr>,
    },
    /// Of a unix socket.
    Unix {
        /// Its path; `@` stands for the NUL that begins an abstract name. None without a name.
        path: Option<String>,
        /// Its inode.
        inode: u32,
        /// The inode of the socket that it is connected to.
        peer: Option<u32>,
    },
}

impl Socket {
    /// In one line.
    pub fn name(&self) -> String {
        let remote = self.remote().map_or_else(String::new, |address| format!(" to {address}"));
        format!("{} {}{remote} {}", self.protocol, self.local(), self.state)
    }

    /// The address of this end; `socket:[INODE]` of a unix socket without a name.
    pub fn local(&self) -> String {
        match &self.addresses {
            Addresses::Inet { local, .. } => {
                local.map_or_else(|| "?".to_owned(), |address| address.to_string())
            }
            Addresses::Unix { path, inode, .. } => {
                path.as_deref().map_or_else(|| format!("socket:[{inode}]"), str::to_owned)
            }
        }
    }

    /// The address of the other end, likewise.
    pub fn remote(&self) -> Option<String> {
        match &self.addresses {
            Addresses::Inet { remote, .. } => remote.map(|address| address.to_string()),
            Addresses::Unix { peer, .. } => peer.map(|peer| format!("socket:[{peer}]")),
        }
    }
}

/// What an entry says, if it is one of a socket.
pub(super) fn of(entry: &FileEntry) -> Option<Socket> {
    let inet = entry.isk.as_ref().map(inet);
    inet.or_else(|| entry.usk.as_ref().map(unix))
}

fn inet(entry: &InetSkEntry) -> Socket {
    let local = address(&entry.src_addr, entry.src_port());
    let remote = address(&entry.dst_addr, entry.dst_port());
    Socket {
        protocol: protocol(entry.proto(), entry.r#type()),
        state: match (entry.proto(), entry.state()) {
            // Others than TCP have two states, which the kernel counts as two of TCP's.
            (proto, 1) if proto != TCP => "connected",
            (proto, 7) if proto != TCP => "unconnected",
            (_, number) => state(number),
        },
        external: false,
        addresses: Addresses::Inet {
            local,
            remote: remote.filter(|address| address.port() != 0 || !address.ip().is_unspecified()),
        },
    }
}

fn protocol(number: u32, kind: u32) -> String {
    match (number, kind) {
        (TCP, _) => "tcp".to_owned(),
        (17, _) => "udp".to_owned(),
        (136, _) => "udplite".to_owned(),
        (1 | 58, 2) => "ping".to_owned(),
        (_, 3) => format!("raw {number}"),
        _ => format!("protocol {number}"),
    }
}

/// CRIU writes an address as words, each as it stands in memory, that is in network order.
fn address(words: &[u32], port: u32) -> Option<SocketAddr> {
    let port = u16::try_from(port).ok()?;
    let ip = match *words {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [_, _, _, _] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn unix(entry: &UnixSkEntry) -> Socket {
    const EXTERNAL: u32 = 1;
    Socket {
        protocol: match entry.r#type() {
            1 => "stream".to_owned(),
            2 => "datagram".to_owned(),
            5 => "seqpacket".to_owned(),
            other => format!("type {other}"),
        },
        state: state(entry.state()),
        external: entry.uflags() & EXTERNAL != 0,
        addresses: Addresses::Unix {
            path: path(entry.name_dir(), entry.name()),
            inode: entry.ino(),
            peer: entry.peer.filter(|peer| *peer != 0),
        },
    }
}

fn path(directory: &[u8], name: &[u8]) -> Option<String> {
    let shown = |name: &[u8]| text(name.strip_suffix(&[0]).unwrap_or(name)).replace('\0', "@");
    match name {
        [] => None,
        [0, ..] => Some(text(name).replace('\0', "@")),
        [b'/', ..] => Some(shown(name)),
        _ if directory.is_empty() => Some(shown(name)),
        _ => Some(format!("{}/{}", text(directory).trim_end_matches('/'), shown(name))),
    }
}

fn state(number: u32) -> &'static str {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| STATES.get(index)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(entry: &FileEntry) -> String {
        of(entry).unwrap().name()
    }

    #[test]
    fn internet_addresses_are_read_in_network_order() {
        let isk = InetSkEntry {
            proto: Some(6),
            r#type: Some(1),
            state: Some(10),
            src_port: Some(80),
            dst_port: Some(0),
            src_addr: vec![u32::from_ne_bytes([127, 0, 0, 1])],
            dst_addr: vec![0],
            ..Default::default()
        };
        assert_eq!(
            name(&FileEntry { isk: Some(isk.clone()), ..Default::default() }),
            "tcp 127.0.0.1:80 listening"
        );
        let mut six = [0; 4];
        six[3] = u32::from_ne_bytes([0, 0, 0, 1]);
        let isk = InetSkEntry {
            state: Some(1),
            src_addr: six.to_vec(),
            dst_addr: six.to_vec(),
            dst_port: Some(4711),
            ..isk
        };
        let shown = name(&FileEntry { isk: Some(isk.clone()), ..Default::default() });
        assert_eq!(shown, "tcp [::1]:80 to [::1]:4711 established");
        let isk = InetSkEntry { src_addr: vec![1, 2], src_port: Some(1 << 20), state: Some(99), ..isk };
        let shown = name(&FileEntry { isk: Some(isk), ..Default::default() });
        assert_eq!(shown, "tcp ? to [::1]:4711 unknown");
    }

    #[test]
    fn unix_sockets_are_named_as_they_were_bound() {
        let unix = |name: &[u8], directory: Option<&[u8]>, peer| {
            let usk = UnixSkEntry {
                r#type: Some(1),
                state: Some(10),
                ino: Some(7),
                peer,
                name: Some(name.to_vec()),
                name_dir: directory.map(<[u8]>::to_vec),
                ..Default::default()
            };
            self::name(&FileEntry { usk: Some(usk), ..Default::default() })
        };
        assert_eq!(unix(b"/run/x.sock\0", None, Some(0)), "stream /run/x.sock listening");
        assert_eq!(unix(b"\0abs\0tract", None, None), "stream @abs@tract listening");
        assert_eq!(unix(b"x.sock", Some(b"/srv/"), None), "stream /srv/x.sock listening");
        assert_eq!(unix(b"", None, Some(9)), "stream socket:[7] to socket:[9] listening");
    }
}
