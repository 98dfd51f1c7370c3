//! D-Bus, as much of it as it takes to ask systemd for something and to hear that it is done.
//!
//! The protocol is that of the D-Bus specification 0.43: a handshake in lines of text ([`Connection::open`]), then messages
//! of a header and a body whose types a signature names. One connection, one thread, one call at a time; nothing of descriptors,
//! dictionaries, floating point or being called.
//!
//! Why not a crate of somebody else's is told in docs/decisions/0002-dependencies.md.

mod connection;
mod message;
mod value;
mod wire;

pub use connection::{Address, Connection, Rule};
pub use message::{Call, Signal};
pub use value::Value;

use std::time::Duration;

/// What can go wrong between us and the other side; one line each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there, or we may not connect.
    #[error("connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// The errno's text.
        reason: String,
    },
    /// An address in a form that is not known here.
    #[error("{0:?} is not the address of a unix socket (unix:path=... or unix:abstract=...)")]
    Address(String),
    /// The other side does not believe that we are who we are.
    #[error("not let in: {0:?}")]
    Refused(String),
    /// The socket failed.
    #[error("{0}")]
    Io(String),
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// What came is no message, or not the one that was to come.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// What was to be sent has no form in this protocol.
    #[error("cannot be said over D-Bus: {0}")]
    Unsayable(&'static str),
    /// The call was answered by an error.
    #[error("{}", sys::one_line(.message))]
    Reply {
        /// The error's name (`org.freedesktop.systemd1.NoSuchUnit`).
        name: String,
        /// What it says.
        message: String,
    },
}

/// What this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the call was answered by the error of this name.
    pub fn is_reply(&self, wanted: &str) -> bool {
        matches!(self, Self::Reply { name, .. } if name == wanted)
    }
}
