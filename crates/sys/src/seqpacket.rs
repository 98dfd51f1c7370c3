//! Message sockets between related processes: one datagram is one message, and descriptors may ride along.
//!
//! `SOCK_SEQPACKET` keeps message borders and, unlike `SOCK_DGRAM`, tells when the peer has gone (unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair, sockopt,
};

use crate::{Context, Error, Result};

/// The most descriptors that one message may carry, in either direction.
pub const MAX_FDS: usize = 8;

/// One received message.
#[derive(Debug)]
pub struct Message {
    /// The whole datagram, whatever its size.
    pub data: Vec<u8>,
    /// The descriptors that came with it, each close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Two connected ends, both close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call("socketpair", || "AF_UNIX, SOCK_SEQPACKET".to_owned())
}

/// What ended a [`wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is a message, or the end of all messages.
    Message,
    /// The peer's process has ended, and has left no message.
    PeerEnded,
    /// Nothing happened in the time given.
    Time,
}

/// Waits for a message, for the end of the process behind `pidfd`, which may have left its end of the socket to a child of its
/// own, or until `limit` is over.
pub fn wait(socket: impl AsFd, pidfd: impl AsFd, limit: Option<Duration>) -> Result<Waited> {
    let (socket, pidfd) = (socket.as_fd(), pidfd.as_fd());
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut watched = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
    let count = retry(|| poll(&mut watched, limit.as_ref())).call("poll", || args(socket, "a pidfd"))?;
    Ok(match count {
        0 => Waited::Time,
        _ if !watched[0].revents().is_empty() => Waited::Message,
        // It may have sent something between the two looks, but no more after its end.
        _ => match retry(|| poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&Timespec::default()))) {
            Ok(0) => Waited::PeerEnded,
            _ => Waited::Message,
        },
    })
}

/// Waits for the next message; `None` when the peer has closed its end.
///
/// The size is asked for first (`MSG_PEEK | MSG_TRUNC`), so no message is ever cut. An empty message cannot be told
/// from the end of the stream and counts as the end.
pub fn receive(socket: impl AsFd) -> Result<Option<Message>> {
    let socket = socket.as_fd();
    let peek = RecvFlags::PEEK | RecvFlags::TRUNC;
    let size = retry(|| recv(socket, &mut [0_u8; 0], peek)).call("recv", || args(socket, "MSG_PEEK"))?.1;
    if size == 0 {
        return Ok(None);
    }
    let mut data = vec![0; size];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        retry(|| recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC))
            .call("recvmsg", || args(socket, "MSG_CMSG_CLOEXEC"))?;
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Error::new("recvmsg", args(socket, "descriptors cut off"), libc::EMSGSIZE));
    }
    data.truncate(got.bytes);
    Ok(Some(Message { data, fds }))
}

/// Sends one message with descriptors (at most [`MAX_FDS`]); a peer that has gone gives `EPIPE`, never a signal.
///
/// A message larger than the socket's send buffer (208 KiB by default) enlarges that buffer and is sent again.
pub fn send(socket: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let socket = socket.as_fd();
    let once = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if fds.len() > MAX_FDS || !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::TOOMANYREFS);
        }
        sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)
    };
    let mut sent = retry(once);
    if sent == Err(Errno::MSGSIZE) && grow(socket, data.len()) {
        sent = retry(once);
    }
    sent.call("sendmsg", || args(socket, &format!("{} bytes", data.len()))).map(drop)
}

/// Makes room for a message of `size` bytes; the limit `net.core.wmem_max` holds for those without CAP_NET_ADMIN.
fn grow(socket: BorrowedFd<'_>, size: usize) -> bool {
    sockopt::set_socket_send_buffer_size_force(socket, size)
        .or_else(|_| sockopt::set_socket_send_buffer_size(socket, size))
        .is_ok()
}

/// Calls again when a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn args(socket: BorrowedFd<'_>, what: &str) -> String {
    format!("socket {}, {what}", socket.as_raw_fd())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn messages_keep_their_borders_and_sizes() {
        let (a, b) = pair().unwrap();
        send(&a, b"one", &[]).unwrap();
        send(&a, &[7; 100_000], &[]).unwrap();
        assert_eq!(receive(&b).unwrap().unwrap().data, b"one");
        assert_eq!(receive(&b).unwrap().unwrap().data, [7; 100_000]);
        drop(a);
        assert!(receive(&b).unwrap().is_none());
        assert!(send(&b, b"x", &[]).unwrap_err().is(libc::EPIPE));
    }

    #[test]
    fn a_message_of_a_mebibyte_passes() {
        let (a, b) = pair().unwrap();
        match send(&a, &vec![1; 1 << 20], &[]) {
            Ok(()) => assert_eq!(receive(&b).unwrap().unwrap().data.len(), 1 << 20),
            Err(error) => eprintln!("SKIP large messages need CAP_NET_ADMIN: {error}"),
        }
    }

    #[test]
    fn descriptors_arrive_close_on_exec() {
        let (a, b) = pair().unwrap();
        let mut file =
            File::from(rustix::fs::memfd_create("seqpacket-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"hello").unwrap();
        send(&a, b"x", &[file.as_fd()]).unwrap();
        let message = receive(&b).unwrap().unwrap();
        let mut copy = File::from(message.fds.into_iter().next().unwrap());
        assert!(rustix::io::fcntl_getfd(&copy).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut text = String::new();
        copy.rewind().unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn too_many_descriptors_are_refused_on_both_sides() {
        let (a, b) = pair().unwrap();
        let many = [a.as_fd(); MAX_FDS + 1];
        assert!(send(&a, b"x", &many).unwrap_err().is(libc::ETOOMANYREFS));
        send(&a, b"x", &many[..MAX_FDS]).unwrap();
        assert_eq!(receive(&b).unwrap().unwrap().fds.len(), MAX_FDS);
    }
}
