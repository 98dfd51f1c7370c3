//! Terminals: the console socket that receives a container's master side, and a pair for foreground runs.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{Fallible, patience, wait_until};

/// A listening socket for `--console-socket`.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: String,
}

impl ConsoleSocket {
    pub(crate) fn bind(path: String) -> Fallible<Self> {
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Receives the master side of a container's terminal.
    ///
    /// # Errors
    /// When nobody sends one in time.
    pub fn accept(&self) -> Fallible<Console> {
        Ok(Console { master: self.accept_descriptor()?.1.into(), seen: String::new() })
    }

    /// Receives any descriptor (`--pidfd-socket` sends one in the same way), with the text that came along.
    ///
    /// # Errors
    /// When nobody sends one in time.
    pub fn accept_descriptor(&self) -> Fallible<(String, OwnedFd)> {
        let mut stream = None;
        wait_until("a connection to the console socket", || {
            stream = self.listener.accept().ok();
            stream.is_some()
        })?;
        let (stream, _) = stream.ok_or("no connection")?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(patience()))?;
        receive(&stream)
    }
}

fn receive(stream: &UnixStream) -> Fallible<(String, OwnedFd)> {
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let text = String::from_utf8_lossy(&name[..got.bytes]).into_owned();
    let fd = control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or("the message on the console socket holds no descriptor")?;
    Ok((text, fd))
}

/// The master side of a terminal, as a person in front of it would use it.
#[derive(Debug)]
pub struct Console {
    master: File,
    seen: String,
}

impl Console {
    /// Types `text`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn send(&mut self, text: &str) -> Fallible<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Reads until `text` appears after what earlier calls have matched.
    ///
    /// # Errors
    /// When it does not appear in time, or the terminal is closed first.
    pub fn expect(&mut self, text: &str) -> Fallible<()> {
        let end = Instant::now() + patience();
        loop {
            if let Some(position) = self.seen.find(text) {
                self.seen.drain(..position + text.len());
                return Ok(());
            }
            if !self.read_some(end.saturating_duration_since(Instant::now()))? {
                return Err(
                    format!("{text:?} did not appear on the terminal; what did: {:?}", self.seen).into()
                );
            }
        }
    }

    /// Appends what arrives within `limit`; false at the end of time or of the terminal.
    fn read_some(&mut self, limit: Duration) -> Fallible<bool> {
        let limit = Timespec::try_from(limit)?;
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&limit))? == 0 {
            return Ok(false);
        }
        let mut bytes = [0; 4096];
        // EIO is how a master says that the other side is closed.
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        Ok(count > 0)
    }
}

/// A pipe whose reading end is read like a terminal, and its writing end for a program's standard output.
///
/// # Errors
/// When the process may open no more files.
pub fn pipe() -> Fallible<(Console, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((Console { master: OwnedFd::from(reader).into(), seen: String::new() }, writer.into()))
}

/// A new terminal: its master side, and the side that a program gets.
///
/// # Errors
/// When the machine has none left.
pub fn pseudo_terminal() -> Fallible<(Console, OwnedFd)> {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((Console { master: master.into(), seen: String::new() }, slave))
}
