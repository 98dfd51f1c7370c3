//! Readiness for systemd: what a container says to `$NOTIFY_SOCKET` (sd_notify(3)) reaches the one that `rt` was started with.
//!
//! The container cannot be given the host's socket itself: systemd would take its messages for those of a stranger. So it gets
//! one in a directory of its own, at /run/notify; `rt` listens there, and passes READY=1 on in its own name, with
//! the container's init as MAINPID. The directory belongs to the container from its creation on, whoever starts it later;
//! the socket only to the `rt` that starts it.

use crate::error::{Result, Step};
use crate::store::Entry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spec::oci::{Mount, MountBuilder};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::process::Child;

const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
const IN_CONTAINER: &str = "/run/notify";
/// How long systemd may take to acknowledge, in seconds.
const BARRIER_TIMEOUT: i64 = 30;

/// Whether the container has a directory for the socket.
pub(crate) fn has_directory(entry: &Entry) -> bool {
    entry.has(DIRECTORY)
}

/// Makes the directory that the container sees at /run/notify.
pub(crate) fn make_directory(entry: &Entry) -> Result<()> {
    let path = entry.short_path(DIRECTORY);
    let step = || format!("create {}", entry.path.join(DIRECTORY).display());
    rustix::fs::mkdir(&path, Mode::from(0o755)).step(step)
}

/// The mount of that directory, if there is one.
pub(crate) fn mount(entry: &Entry) -> Option<Mount> {
    if !has_directory(entry) {
        return None;
    }
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(String::from);
    let mount = MountBuilder::default()
        .destination(IN_CONTAINER)
        .source(entry.path.join(DIRECTORY))
        .typ("bind")
        .options(options);
    mount.build().ok()
}

/// The variable that tells the program where to write.
pub(crate) fn variable() -> String {
    format!("NOTIFY_SOCKET={IN_CONTAINER}/{SOCKET}")
}

/// The container's socket, and the way to the host's.
#[derive(Debug)]
pub(crate) struct Relay {
    inside: OwnedFd,
    host: PathBuf,
}

impl Relay {
    /// Listens for the container; None unless there is a socket to pass messages on to, and the container has the directory.
    pub(crate) fn listen(entry: &Entry, host: Option<&Path>) -> Result<Option<Self>> {
        let name = format!("{DIRECTORY}/{SOCKET}");
        let Some(host) = host.filter(|_| has_directory(entry)) else { return Ok(None) };
        let step = || format!("listen on {}", entry.path.join(&name).display());
        let inside = datagram_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).step(step)?;
        let path = entry.short_path(&name);
        rustix::net::bind(&inside, &SocketAddrUnix::new(&path).step(step)?).step(step)?;
        // The program may be anyone.
        rustix::fs::chmodat(rustix::fs::CWD, &path, Mode::from(0o777), AtFlags::empty()).step(step)?;
        Ok(Some(Self { inside, host: host.to_owned() }))
    }

    /// Readable when the container has said something.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.inside
    }

    /// Reads a message if one waits, and passes on that the container is ready if it says so; true then. While `rt` stays it is the
    /// service's main process itself, so nothing is said of another.
    pub(crate) fn pass_on(&self) -> Result<bool> {
        let Some(ready) = self.read_ready() else { return Ok(false) };
        self.connect()?.say(&ready)?;
        Ok(true)
    }

    /// Waits until the container is ready or has ended; tells the host of the former, and who the main process is now.
    pub(crate) fn wait(self, init: &Child) -> Result<()> {
        let ready = loop {
            let mut fds = [PollFd::new(&self.inside, PollFlags::IN), PollFd::new(&init.pidfd, PollFlags::IN)];
            let _ = poll(&mut fds, None);
            let (message, end) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            match message.then(|| self.read_ready()).flatten() {
                Some(ready) => break ready,
                None if end && !message => return Ok(()),
                None => {}
            }
        };
        let host = self.connect()?;
        host.say(&ready)?;
        host.say(&format!("MAINPID={}\n", init.pid))?;
        host.barrier()
    }

    /// The word, if a message waits and it says that.
    fn read_ready(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let n = rustix::io::read(&self.inside, &mut buffer).ok()?;
        ready_line(&buffer[..n])
    }

    fn connect(&self) -> Result<Host> {
        let step = || format!("connect to $NOTIFY_SOCKET {}", self.host.display());
        let socket = datagram_socket(SocketFlags::CLOEXEC).step(step)?;
        let path = self.host.as_os_str().as_bytes();
        let address = match path.strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(path),
        };
        rustix::net::connect(&socket, &address.step(step)?).step(step)?;
        Ok(Host { socket })
    }
}

/// The one line that matters in a message: its name and value.
fn ready_line(message: &[u8]) -> Option<String> {
    let line = message.split(|b| *b == b'\n').find(|line| line.starts_with(b"READY="))?;
    Some(format!("{}\n", String::from_utf8_lossy(line)))
}

fn datagram_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

/// A connection to the service manager.
struct Host {
    socket: OwnedFd,
}

impl Host {
    fn say(&self, text: &str) -> Result<()> {
        Ok(sys::seqpacket::send(&self.socket, text.as_bytes(), &[])?)
    }

    /// Waits until all that was said has been acted on (sd_notify_barrier(3)): the manager closes the pipe that it is sent. One
    /// that does not know of this keeps it open, which is no error.
    fn barrier(&self) -> Result<()> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (ours, theirs) = rustix::pipe::pipe_with(flags).step(|| "pipe".into())?;
        sys::seqpacket::send(&self.socket, b"BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        let limit = Timespec { tv_sec: BARRIER_TIMEOUT, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&limit)) == Ok(0) {
            log::warn!("$NOTIFY_SOCKET: no answer within {BARRIER_TIMEOUT} s");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readiness_is_passed_on() {
        assert_eq!(ready_line(b"STATUS=up\nREADY=1\nMAINPID=1").as_deref(), Some("READY=1\n"));
        assert_eq!(ready_line(b"READY=1").as_deref(), Some("READY=1\n"));
        assert_eq!(ready_line(b"MAINPID=1\nXREADY=1"), None);
    }
}
