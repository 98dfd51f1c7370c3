//! The new process' side of an `exec`.

use crate::console::Pty;
use crate::filter::Filter;
use crate::init::failure::{During, Failure};
use crate::init::{self, Ready, lsm::Labels, scheduling};
use spec::{Config, Process};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::process::Namespaces;

/// What the new process needs.
pub(super) struct ChildSide<'a> {
    pub(super) entry: cgroup::Entry,
    pub(super) resctrl: Option<cgroup::Entry>,
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) namespaces: Namespaces,
    /// The container's root, where it has no mount namespace that this would be the root of.
    pub(super) root: Option<OwnedFd>,
    pub(super) config: &'a Config,
    /// Whether the container has its own user namespace.
    pub(super) user_namespace: bool,
    pub(super) process: &'a Process,
    pub(super) console: Option<OwnedFd>,
    pub(super) preserve_fds: u32,
    /// The name of the container's session keyring, if it has one.
    pub(super) keyring: Option<CString>,
    pub(super) filter: Option<&'a Filter<'a>>,
}

impl ChildSide<'_> {
    pub(super) fn run(&self, wire: &OwnedFd) -> ! {
        let failure = match self.prepare(wire) {
            Err(failure) => failure,
            Ok(mut ready) => match init::wait_go(wire) {
                Ok(()) => ready.become_program(|_| Ok(())),
                Err(failure) => failure,
            },
        };
        init::fail(wire, failure)
    }

    /// The helper's part: joins the container, and lets go of what is the host's but the ways back to the caller.
    pub(super) fn approach(&self, wire: &OwnedFd, helper: &OwnedFd) -> Result<(), Failure> {
        init::guard()?;
        self.enter_cgroup()?;
        self.set_oom_score_adj()?;
        if !self.namespaces.is_empty() {
            sys::process::join(self.pidfd, self.namespaces).during("join the container's namespaces")?;
        }
        if let Some(root) = &self.root {
            rootfs::enter_root(root).during("enter the container's root")?;
        }
        if self.user_namespace {
            init::become_root()?;
            init::guard()?;
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
        // In the container's /proc, since a directory of the host's must not be found here; see there why that will do.
        let labels = Labels::open(self.process)?;
        if let Some(name) = &self.keyring {
            labels.of_keys(|| sys::keyring::join(name))?;
        }
        init::make_ready(self.config, self.process, labels, self.preserve_fds, None, self.filter, wire)
    }

    /// With the processors that `execCPUAffinity` names for the time from here; else with all that the cgroup allows.
    fn enter_cgroup(&self) -> Result<(), Failure> {
        self.entry.enter().during("enter the container's cgroup")?;
        if let Some(doors) = &self.resctrl {
            doors.enter().during("enter the container's resctrl group")?;
        }
        match &self.process.exec_cpu_affinity.finally {
            Some(processors) => scheduling::bind_to(processors, "process.execCPUAffinity.final")?,
            None => scheduling::unbind(),
        }
        Ok(())
    }

    /// Through the host's /proc, before the container's namespaces are joined.
    fn set_oom_score_adj(&self) -> Result<(), Failure> {
        let Some(value) = self.process.oom_score_adj else { return Ok(()) };
        match std::fs::write("/proc/self/oom_score_adj", value.to_string()) {
            // As for init: a user namespace may not lower it, and runc lets that pass.
            Err(e) if self.user_namespace && e.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
            other => other.during("write oom_score_adj"),
        }
    }
}
