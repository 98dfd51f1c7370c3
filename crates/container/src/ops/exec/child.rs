//! The new process' side of an `exec`.

use crate::console::Pty;
use crate::filter::Filter;
use crate::init::failure::{During, Failure};
use crate::init::{self, Ready, confine};
use spec::Process;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::process::Namespaces;

/// What the new process needs.
pub(super) struct ChildSide<'a> {
    pub(super) entry: cgroup::Entry,
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) namespaces: Namespaces,
    pub(super) process: &'a Process,
    pub(super) console: Option<OwnedFd>,
    pub(super) preserve_fds: u32,
    pub(super) filter: Option<&'a Filter<'a>>,
}

impl ChildSide<'_> {
    pub(super) fn run(&self, wire: &OwnedFd) -> ! {
        let failure = match self.prepare(wire) {
            Err(failure) => failure,
            Ok(mut ready) => match init::wait_go(wire) {
                Ok(()) => ready.become_program(|| Ok(())),
                Err(failure) => failure,
            },
        };
        init::fail(wire, failure)
    }

    /// The helper's part: joins the container, and lets go of what is the host's but the ways back to the caller.
    pub(super) fn approach(&self, wire: &OwnedFd, helper: &OwnedFd) -> Result<(), Failure> {
        init::guard()?;
        self.entry.enter().during("enter the container's cgroup")?;
        set_oom_score_adj(self.process)?;
        sys::process::join(self.pidfd, self.namespaces).during("join the container's namespaces")?;
        if self.namespaces.contains(Namespaces::USER) {
            init::become_root()?;
        }
        let keep = [Some(wire), Some(helper), self.console.as_ref()];
        let keep: Vec<_> = keep.into_iter().flatten().map(AsFd::as_fd).collect();
        sys::process::close_others_in_child(&keep, self.preserve_fds);
        Ok(())
    }

    fn prepare(&self, wire: &OwnedFd) -> Result<Ready<'_>, Failure> {
        init::guard()?;
        if let Some(socket) = &self.console {
            let pty = Pty::open(self.process.console_size).during("allocate a terminal")?;
            pty.send(socket).during("send the terminal over the console socket")?;
            pty.become_stdio().during("make the terminal this session's")?;
        } else {
            rootfs::reopen_null().during("reopen /dev/null")?;
        }
        confine::rlimits(&self.process.rlimits)?;
        init::make_ready(self.process, self.preserve_fds, self.filter, wire)
    }
}

/// Through the host's /proc, before the container's namespaces are joined.
fn set_oom_score_adj(process: &Process) -> Result<(), Failure> {
    match process.oom_score_adj {
        None => Ok(()),
        Some(value) => {
            std::fs::write("/proc/self/oom_score_adj", value.to_string()).during("write oom_score_adj")
        }
    }
}
