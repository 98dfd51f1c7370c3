//! `--pidfd-socket`: the caller gets a descriptor of the new process, which no other process can be mistaken for.

use crate::console;
use crate::error::{Result, Step};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::process::Child;

/// Which kind of process it is, in the word that runc sends along.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A container's init.
    Init,
    /// A process that joined a container.
    Exec,
}

/// The connection to whoever wants the descriptor; none where nobody does.
#[derive(Debug)]
pub(crate) struct PidfdSocket(Option<OwnedFd>);

impl PidfdSocket {
    /// Connects, before anything is made.
    pub(crate) fn connect(path: Option<&Path>) -> Result<Self> {
        Ok(Self(path.map(|path| console::connect(path, "pidfd")).transpose()?))
    }

    /// Sends the process' descriptor, and closes the connection.
    pub(crate) fn send(self, child: &Child, kind: Kind) -> Result<()> {
        let Some(socket) = self.0 else { return Ok(()) };
        let word = match kind {
            Kind::Init => "standard",
            Kind::Exec => "setns",
        };
        sys::seqpacket::send(socket, word.as_bytes(), &[child.pidfd.as_fd()])
            .step(|| "send the pidfd over the pidfd socket".into())
    }
}
