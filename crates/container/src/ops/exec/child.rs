//! The new process' side of an `exec`.

use crate::console::Pty;
use crate::init::failure::{During, Failure};
use crate::init::{self, confine, program::Program};
use crate::launch::wire::{self, Report};
use rustix::process::Signal;
use spec::Process;
use std::os::fd::{BorrowedFd, OwnedFd};
use sys::process::Namespaces;

/// What the new process needs.
pub(super) struct ChildSide<'a> {
    pub(super) entry: cgroup::Entry,
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) namespaces: Namespaces,
    pub(super) process: &'a Process,
    pub(super) console: Option<OwnedFd>,
    pub(super) preserve_fds: u32,
}

impl ChildSide<'_> {
    pub(super) fn run(&self, wire: &OwnedFd) -> ! {
        let failure = match self.prepare() {
            Err(failure) => failure,
            Ok(program) => {
                wire::report(wire, &Report::Ready);
                match init::wait_go(wire) {
                    Ok(()) => program.exec(),
                    Err(failure) => failure,
                }
            }
        };
        init::fail(wire, failure)
    }

    fn prepare(&self) -> Result<Program, Failure> {
        init::guard()?;
        self.entry.enter().during("enter the container's cgroup")?;
        set_oom_score_adj(self.process)?;
        sys::process::join(self.pidfd, self.namespaces).during("join the container's namespaces")?;
        if self.namespaces.contains(Namespaces::USER) {
            init::become_root()?;
        }
        if let Some(socket) = &self.console {
            let pty = Pty::open(self.process.console_size).during("allocate a terminal")?;
            pty.send(socket).during("send the terminal over the console socket")?;
            pty.become_stdio().during("make the terminal this session's")?;
        } else {
            rootfs::reopen_null().during("reopen /dev/null")?;
        }
        confine::rlimits(&self.process.rlimits)?;
        init::take_on(self.process, self.preserve_fds)?;
        let program = Program::find(self.process)?;
        rustix::process::set_parent_process_death_signal(None::<Signal>).during("prctl(PR_SET_PDEATHSIG)")?;
        Ok(program)
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
