//! A process in between: it enters namespaces that this process could not leave again, forks the wanted one there, and ends.
//!
//! Nobody comes back from a user namespace, and an unprivileged user can enter a pid namespace only from inside the user
//! namespace that owns it. What the process in between forks is a child of ours all the same (CLONE_PARENT).

use crate::error::{Error, Result};
use rustix::process::Signal;
use std::os::fd::{AsFd, BorrowedFd};
use sys::process::{Child, Forked, Namespaces, Relation};

/// Forks into `new` namespaces (see [`sys::process::fork`]) after `enter`, whose error text becomes ours.
pub(crate) fn fork(
    enter: impl FnOnce() -> std::result::Result<(), String>,
    new: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Forked> {
    let (ours, theirs) = sys::seqpacket::pair()?;
    let between = match sys::process::fork(Namespaces::default(), None)? {
        Forked::Parent(between) => between,
        Forked::Child => {
            drop(ours);
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let fork = || sys::process::fork_again(Relation::Sibling, new, cgroup);
            let forked = enter().and_then(|()| fork().map_err(|e| e.to_string()));
            let _ = match forked {
                Ok(Forked::Child) => return Ok(Forked::Child),
                Ok(Forked::Parent(child)) => sys::seqpacket::send(&theirs, b"pidfd", &[child.pidfd.as_fd()]),
                Err(text) => sys::seqpacket::send(&theirs, text.as_bytes(), &[]),
            };
            sys::process::exit_now(0)
        }
    };
    drop(theirs);
    let answer = sys::seqpacket::receive(&ours);
    sys::process::wait(between.pid)?;
    let failed = |message: String| Err(Error::Init { message, exit_code: 1 });
    let Some(answer) = answer? else {
        return failed("the process that was to enter its namespaces ended without a word".into());
    };
    match answer.fds.into_iter().next() {
        Some(pidfd) => Ok(Forked::Parent(Child { pid: sys::process::pid_of(pidfd.as_fd())?, pidfd })),
        None => failed(String::from_utf8_lossy(&answer.data).into_owned()),
    }
}
