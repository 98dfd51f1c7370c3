//! The unix sockets of a network namespace, and which is connected to which: more than /proc/net/unix tells (sock_diag(7)).

use crate::error::Result;
use crate::net::list_all;
use rustix::net::netlink;

/// A unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its inode, by which a descriptor's link names it: `socket:[7]`.
    pub inode: u64,
    /// The inode of the one it is connected to.
    pub peer: Option<u64>,
    /// Whether it is a datagram socket.
    pub is_datagram: bool,
    /// What it is bound to: a path, or an abstract name behind an `@`; empty for neither.
    pub name: String,
    /// Of one that listens: the inodes of those that wait to be accepted.
    pub pending: Vec<u64>,
}

/// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/unix_diag.h: struct unix_diag_req, struct unix_diag_msg, what to show, and its attributes.
const REQUEST: usize = 24;
const MESSAGE: usize = 16;
const SHOW_NAME_PEER_PENDING: u32 = 1 | 4 | 8;
const NAME: u16 = 0;
const PEER: u16 = 2;
const PENDING: u16 = 3;

/// All of the current network namespace; none where the kernel cannot tell (CONFIG_UNIX_DIAG).
pub fn list() -> Result<Vec<UnixSocket>> {
    let mut request = [0_u8; REQUEST];
    request[0] = libc::AF_UNIX as u8;
    // All states.
    request[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request[12..16].copy_from_slice(&SHOW_NAME_PEER_PENDING.to_ne_bytes());
    let mut sockets = Vec::new();
    list_all(Some(netlink::SOCK_DIAG), SOCK_DIAG_BY_FAMILY, &request, &mut |message| {
        sockets.extend(parse(message));
    })?;
    Ok(sockets)
}

/// One socket, without the head of its message.
fn parse(message: &[u8]) -> Option<UnixSocket> {
    let mut socket = UnixSocket {
        inode: number(message.get(4..8)?)?,
        is_datagram: i32::from(*message.get(1)?) == libc::SOCK_DGRAM,
        ..UnixSocket::default()
    };
    let mut rest = message.get(MESSAGE..)?;
    // struct nlattr: a length that counts itself, and a type.
    while let Some(head) = rest.get(..4) {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(value) = rest.get(4..length) else { break };
        match u16::from_ne_bytes([head[2], head[3]]) {
            NAME => socket.name = name(value),
            PEER => socket.peer = number(value).filter(|peer| *peer != 0),
            PENDING => socket.pending = value.chunks_exact(4).filter_map(number).collect(),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?).into())
}

/// An abstract name begins with a NUL (unix(7)); a path may end with one.
fn name(bytes: &[u8]) -> String {
    match bytes.strip_prefix(&[0]) {
        Some(rest) => format!("@{}", String::from_utf8_lossy(rest)),
        None => String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    fn inode(socket: &impl AsRawFd) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        link.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    #[test]
    fn pairs_know_each_other_and_listeners_who_waits() {
        let (one, other) = UnixStream::pair().unwrap();
        let datagram = UnixDatagram::unbound().unwrap();
        let path = std::env::temp_dir().join(format!("rt-unix-sockets-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let all = list().unwrap();
        let find = |socket: u64| all.iter().find(|listed| listed.inode == socket).unwrap();
        assert_eq!(find(inode(&one)).peer, Some(inode(&other)));
        assert_eq!(find(inode(&other)).peer, Some(inode(&one)));
        assert!(find(inode(&datagram)).is_datagram && find(inode(&datagram)).peer.is_none());
        assert_eq!(find(inode(&listener)).name, path.display().to_string());
        assert_eq!(find(inode(&listener)).pending.len(), 1);
    }

    #[test]
    fn a_cut_message_is_no_socket_and_a_cut_attribute_is_left_out() {
        assert_eq!(parse(&[1; 15]), None);
        let mut message = vec![0; 16];
        message.extend([200, 0, 2, 0, 7]);
        assert_eq!(parse(&message), Some(UnixSocket::default()));
        assert_eq!(name(b"\0abc"), "@abc");
    }
}
