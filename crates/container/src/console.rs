//! Pseudo-terminals: made inside the container, handed out over a socket, relayed in the foreground.

use crate::error::{Error, Result, Step};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Connects to a socket that the caller wants something sent to: the terminal's master (`--console-socket`), a pidfd.
pub(crate) fn connect(path: &Path, purpose: &str) -> Result<OwnedFd> {
    let step = || format!("connect to {purpose} socket {}", path.display());
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .step(step)?;
    let address = SocketAddrUnix::new(path).step(step)?;
    rustix::net::connect(&socket, &address).step(step)?;
    Ok(socket)
}

/// A new terminal.
#[derive(Debug)]
pub(crate) struct Pty {
    /// The side that the caller reads and writes.
    pub(crate) master: OwnedFd,
    /// The side that the container's process has as stdio.
    pub(crate) slave: OwnedFd,
    /// The slave's name in the container.
    pub(crate) name: String,
}

impl Pty {
    /// Opens a new terminal of the devpts that is mounted at `/dev/pts`, after the pivot.
    ///
    /// CVE-2025-52565: the image may have put anything at these paths. So the multiplexer is opened without following links
    /// and must be the device 5:2 of a devpts, and the slave is opened through the master (TIOCGPTPEER), not by its name.
    pub(crate) fn open(size: Option<(u16, u16)>) -> sys::Result<Self> {
        use sys::Context;
        const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
        let path = "/dev/pts/ptmx";
        let master = rustix::fs::open(
            path,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .call("open", || format!("{path:?}"))?;
        let genuine =
            sys::path::is_char_device(&master, 5, 2)? && sys::path::fs_magic(&master)? == DEVPTS_SUPER_MAGIC;
        if !genuine {
            return Err(sys::Error::new(
                "open",
                format!("{path:?}: not the multiplexer of a devpts"),
                rustix::io::Errno::NODEV.raw_os_error(),
            ));
        }
        rustix::pty::unlockpt(&master).call("ioctl", || "TIOCSPTLCK".into())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call("ioctl", || "TIOCGPTPEER".into())?;
        let name = rustix::pty::ptsname(&master, Vec::new()).call("ioctl", || "TIOCGPTN".into())?;
        if let Some((rows, columns)) = size {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&master, size).call("ioctl", || "TIOCSWINSZ".into())?;
        }
        Ok(Self { master, slave, name: name.to_string_lossy().into_owned() })
    }

    /// Makes the slave this session's controlling terminal and its stdio.
    pub(crate) fn become_stdio(&self) -> sys::Result<()> {
        use sys::Context;
        rustix::process::ioctl_tiocsctty(&self.slave).call("ioctl", || "TIOCSCTTY".into())?;
        rustix::stdio::dup2_stdin(&self.slave).call("dup2", || "terminal, 0".into())?;
        rustix::stdio::dup2_stdout(&self.slave).call("dup2", || "terminal, 1".into())?;
        rustix::stdio::dup2_stderr(&self.slave).call("dup2", || "terminal, 2".into())
    }

    /// Sends the master over the console socket, with the slave's name as the message, as runc does.
    pub(crate) fn send(&self, socket: impl AsFd) -> sys::Result<()> {
        sys::seqpacket::send(socket, self.name.as_bytes(), &[self.master.as_fd()])
    }
}

/// Takes a terminal's master from the other end of a console socket.
pub(crate) fn receive(socket: impl AsFd) -> Result<OwnedFd> {
    let message = sys::seqpacket::receive(socket)?;
    let fd = message.and_then(|m| m.fds.into_iter().next());
    let master = fd.ok_or_else(|| Error::Request("the init process sent no terminal".into()))?;
    end_lines_plainly(&master);
    Ok(master)
}

/// Has lines end as the program writes them where the output goes to a pipe or a file, as runc does: the carriage return that
/// a terminal adds would become part of it. A terminal keeps it, since programs there decide about it by themselves.
pub(crate) fn end_lines_plainly(master: &OwnedFd) {
    if rustix::termios::isatty(rustix::stdio::stdout()) {
        return;
    }
    if let Ok(mut modes) = rustix::termios::tcgetattr(master) {
        modes.output_modes.remove(OutputModes::ONLCR);
        let _ = rustix::termios::tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// The caller's terminal in raw mode while a container's terminal is shown on it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    saved: Option<Termios>,
    stdin_open: bool,
}

impl Relay {
    /// Starts showing `master` on this process' stdin and stdout.
    pub(crate) fn start(master: OwnedFd) -> Self {
        let saved = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
        let relay = Self { master, saved, stdin_open: true };
        relay.resize();
        relay
    }

    /// Gives the container's terminal the size of the caller's.
    pub(crate) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// Waits for something to copy, or for one of `others` to become readable, and copies what there is. False when the
    /// terminal has been hung up: its last process closed it.
    pub(crate) fn step(&mut self, others: &[BorrowedFd<'_>]) -> bool {
        let master = self.master.as_fd();
        let stdin = rustix::stdio::stdin();
        let own = std::iter::once(&master).chain(self.stdin_open.then_some(&stdin));
        let mut fds: Vec<_> = own.chain(others).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if poll(&mut fds, None).is_err() {
            return true;
        }
        let is_ready = |n: usize| !fds[n].revents().is_empty();
        let (output, input) = (is_ready(0), self.stdin_open && is_ready(1));
        if input {
            self.stdin_open = copy(stdin, master);
        }
        !output || copy(master, rustix::stdio::stdout())
    }

    /// Copies what is left of the output after the container's last process has ended.
    pub(crate) fn drain(&self) {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0);
            if !ready || !copy(self.master.as_fd(), rustix::stdio::stdout()) {
                return;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }
}

/// Copies one buffer full; false at the end of the input (for a terminal, EIO) or when nobody reads the output.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0u8; 16384];
    let n = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(n) => n,
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return true,
        Err(_) => return false,
    };
    let mut rest = &buffer[..n];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(n) => rest = &rest[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
