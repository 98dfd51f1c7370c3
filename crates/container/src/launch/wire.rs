//! What a container's init process and its parent say to each other while it is being set up.
//!
//! ```text
//!   parent                                     init (the child)
//!   ------                                     ----------------
//!   cgroup: make, limit                        (where systemd makes it, only once init is there to be carried in)
//!   clone3                                     enters the cgroup by itself
//!   systemd's unit,
//!   write id maps,
//!   move net devices   -- Go -->               (only where there are any) becomes root in a user namespace
//!   open the sources   -- descriptors -->      (only for a user namespace, and as root)
//!                                              unshares, joins, mounts, devices
//!                      <-- Namespaces --       (only with hooks) everything is mounted, nothing is pivoted
//!   prestart, createRuntime hooks
//!                      -- Go -->               createContainer hooks
//!                                              pivot, terminal, credentials ...
//!                      <-- Listener --         (only with SCMP_ACT_NOTIFY) the filter holds; this is its listener
//!   takes the listener, hands it over
//!                      -- Go -->
//!                      <-- Ready --            nothing is left but to start
//!   record, pid-file
//!                      -- Go -->               (run; a created container waits on start.sock instead)
//!                      <-- end of stream --    execve closed the socket: the user's program runs
//! ```
//!
//! What init does from the listener on, its filter may deny. So all that it says is written by write(2) and read by read(2), the two
//! calls that a profile cannot do without.
//!
//! At any point init may say `Failed` instead, and ends; or the parent may end, which init sees as the end of the stream.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use sys::Context;

/// What init tells its parent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The namespaces and mounts exist; hooks may look at them.
    Namespaces,
    /// The seccomp filter holds.
    Listener {
        /// The number of its listener among the descriptors of init.
        fd: i32,
    },
    /// All is done but the start.
    Ready,
    /// A step failed.
    Failed {
        /// The step and its error in one line.
        message: String,
        /// For the command line: 126, 127 or 1.
        exit_code: i32,
    },
}

/// Sends a report. A process that cannot be heard ends: the other side would wait for it, and it for the other side.
pub(crate) fn report(socket: impl AsFd, report: &Report) {
    let sent = serde_json::to_vec(report).is_ok_and(|json| {
        loop {
            match rustix::io::write(&socket, &json) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.is_ok(),
            }
        }
    });
    if !sent {
        sys::process::exit_now(1);
    }
}

/// Lets init go on.
pub(crate) fn go(socket: impl AsFd) -> sys::Result<()> {
    match sys::seqpacket::send(socket, b"go", &[]) {
        // It has ended; its last report says why.
        Err(e) if e.is(libc_epipe()) => Ok(()),
        other => other,
    }
}

fn libc_epipe() -> i32 {
    rustix::io::Errno::PIPE.raw_os_error()
}

/// Waits until the parent says to go on; false when the parent has ended.
pub(crate) fn await_go(socket: impl AsFd) -> sys::Result<bool> {
    loop {
        match rustix::io::read(&socket, &mut [0_u8; 8]) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.call("read", || "the wire".into())? > 0),
        }
    }
}

/// The next report; None at the end of the stream.
pub(crate) fn next_report(socket: impl AsFd) -> Result<Option<Report>> {
    let Some(message) = sys::seqpacket::receive(socket)? else { return Ok(None) };
    match serde_json::from_slice(&message.data) {
        Ok(Report::Failed { message, exit_code }) => Err(Error::Init { message, exit_code }),
        Ok(report) => Ok(Some(report)),
        Err(e) => Err(Error::Request(format!("unreadable report of the init process: {e}"))),
    }
}

/// Waits for one certain report.
pub(crate) fn expect(socket: impl AsFd, wanted: &Report) -> Result<()> {
    match next_report(socket)? {
        Some(report) if report == *wanted => Ok(()),
        Some(other) => {
            Err(Error::Request(format!("the init process reported {other:?} instead of {wanted:?}")))
        }
        None => Err(Error::Init { message: "the init process ended without a word".into(), exit_code: 1 }),
    }
}
