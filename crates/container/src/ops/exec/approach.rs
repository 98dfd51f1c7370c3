//! The way into a container, on which nothing of the host is carried along.
//!
//! Whoever holds CAP_SYS_PTRACE in a container may follow `/proc/PID/root`, `cwd` and `fd` of every process that its pid
//! namespace shows, undumpable or not (CVE-2016-9962, ptrace(2)). So a process of ours must not appear there while its root is
//! the host's, or while it holds a directory of the host. A helper, which the container cannot see, therefore goes first: it
//! joins the cgroup and all namespaces, closes what is the host's, and then forks the process itself.

use super::adoption::{self, Owner};
use super::child::ChildSide;
use crate::init;
use crate::init::failure::{During, Failure};
use rustix::process::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::process::{Child, Forked, Namespaces, Relation};

/// The helper, which is reaped when this is dropped. It lives as long where the process is not this one's child: that one's
/// parents must not end before it is ready.
#[derive(Debug)]
pub(super) struct Helper {
    socket: Option<OwnedFd>,
    pid: Pid,
}

/// Forks the process through a helper that is born in `cgroup`. None: a step has failed, and the reason is on the wire.
pub(super) fn fork(
    side: &ChildSide<'_>,
    wire: &OwnedFd,
    cgroup: Option<BorrowedFd<'_>>,
    owner: Owner,
) -> sys::Result<(Option<Child>, Helper)> {
    let (ours, theirs) = sys::seqpacket::pair()?;
    let helper = match sys::process::fork(Namespaces::default(), cgroup)? {
        Forked::Parent(helper) => helper,
        Forked::Child => run(side, wire, &theirs, owner),
    };
    drop(theirs);
    let mut helper = Helper { socket: Some(ours), pid: helper.pid };
    let message = helper.socket.as_mut().map(sys::seqpacket::receive).transpose()?.flatten();
    let Some(pidfd) = message.and_then(|m| m.fds.into_iter().next()) else { return Ok((None, helper)) };
    let pid = sys::process::pid_of(pidfd.as_fd())?;
    Ok((Some(Child { pid, pidfd }), helper))
}

fn run(side: &ChildSide<'_>, wire: &OwnedFd, socket: &OwnedFd, owner: Owner) -> ! {
    match side.approach(wire, socket).and_then(|()| hand_over(side, wire, socket, owner)) {
        Ok(()) => sys::process::exit_now(0),
        Err(failure) => init::fail(wire, failure),
    }
}

/// Forks the process and tells of it.
fn hand_over(side: &ChildSide<'_>, wire: &OwnedFd, socket: &OwnedFd, owner: Owner) -> Result<(), Failure> {
    let forked = match owner {
        Owner::Caller => become_child(side, wire, socket, Relation::Sibling).map(|child| (child.pidfd, None)),
        Owner::Init => adoption::fork(|| become_child(side, wire, socket, Relation::Child))
            .map(|(pidfd, go_between)| (pidfd, Some(go_between))),
    };
    let (pidfd, go_between) = forked.map_err(|e| Failure::new(e.to_string()))?;
    sys::seqpacket::send(socket, b"pidfd", &[pidfd.as_fd()]).during("hand over the process")?;
    if go_between.is_some() {
        let _ = sys::seqpacket::receive(socket);
    }
    Ok(())
}

/// The fork itself; returns in the parent only.
fn become_child(
    side: &ChildSide<'_>,
    wire: &OwnedFd,
    socket: &OwnedFd,
    relation: Relation,
) -> sys::Result<Child> {
    match sys::process::fork_again(relation, Namespaces::default(), None)? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => {
            // With a copy of this in the process, the other end would not notice that the helper has ended.
            sys::process::close_in_child(socket.as_fd());
            side.run(wire)
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.socket = None;
        let _ = sys::process::wait(self.pid);
    }
}
