//! Whose child an exec'ed process is.
//!
//! A process that a runtime forks into a container has its parent outside. CRIU dumps the tree below init, so it does not see
//! such a process, and a checkpoint would lose it. An engine wants it that way: it waits for the process' end as its
//! (sub)reaper, and finds its number in the pid-file. But `exec --detach` without a pid-file leaves nobody who could wait
//! for it, so there it becomes a child of the container's init: a process in between, in the container's pid namespace,
//! forks it and ends, and the kernel gives orphans to the init of their namespace. Then it is in the tree, and is
//! checkpointed and restored with it.

use crate::init;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use sys::process::{Child, Forked, Namespaces, Relation};

/// Who waits for the end of an exec'ed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This process, or whoever reaps for it.
    Caller,
    /// The container's init.
    Init,
}

/// The process in between. It lives until this is dropped, since the one that it forked dies with its parent until it is
/// ready.
#[derive(Debug)]
pub(super) struct GoBetween {
    socket: Option<OwnedFd>,
    pid: Pid,
}

/// Forks through a process in between, which `fork`s the real one and hands over its pidfd.
pub(super) fn fork(fork: impl Fn() -> sys::Result<Child>) -> sys::Result<(OwnedFd, GoBetween)> {
    let (ours, theirs) = sys::seqpacket::pair()?;
    let between = match sys::process::fork_again(Relation::Child, Namespaces::default(), None)? {
        Forked::Parent(between) => between,
        Forked::Child => {
            drop(ours);
            run(&theirs, fork)
        }
    };
    drop(theirs);
    let message = sys::seqpacket::receive(&ours);
    let go_between = GoBetween { socket: Some(ours), pid: between.pid };
    let pidfd = message?.and_then(|m| m.fds.into_iter().next());
    let pidfd = pidfd.ok_or_else(|| {
        sys::Error::new("clone3", "in the container", rustix::io::Errno::AGAIN.raw_os_error())
    })?;
    Ok((pidfd, go_between))
}

/// The process in between: forks, hands over, and waits until it is let go.
fn run(socket: &OwnedFd, fork: impl Fn() -> sys::Result<Child>) -> ! {
    if init::guard().is_ok()
        && let Ok(child) = fork()
        && sys::seqpacket::send(socket, b"pidfd", &[child.pidfd.as_fd()]).is_ok()
    {
        let _ = sys::seqpacket::receive(socket);
    }
    sys::process::exit_now(0)
}

impl Drop for GoBetween {
    fn drop(&mut self) {
        self.socket = None;
        let _ = sys::process::wait(self.pid);
    }
}
