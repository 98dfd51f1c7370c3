//! The seccomp filter of a container's processes.
//!
//! The parent compiles it, and the process that is to be confined loads it, as late as can be: every system call that is made
//! behind it, the profile has to allow. Whoever writes a profile thinks of the program, and not of a runtime that is not even in
//! the container any more. So the filter is loaded once there is nothing left to wait for, and a profile needs to
//! allow nothing but execve(2), and capset(2) where the next paragraph applies.
//!
//! Without no_new_privs only a process with CAP_SYS_ADMIN may load a filter (seccomp(2)), so such a process keeps it
//! until then, and gives it up right behind the filter ([`Surplus`]). Nobody can make use of it: the process is not dumpable.
//!
//! With a listener (SCMP_ACT_NOTIFY) the filter is loaded while the creator is still there, who hands the listener over; what is
//! waited for comes after it.

use crate::error::{Error, Result, Step};
use crate::init::confine::Surplus;
use crate::init::failure::{self, During, Failure};
use crate::launch::wire::{self, Report};
use crate::state::HookState;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::PidfdGetfdFlags;
use seccomp::{Cache, Instruction};
use serde::Serialize;
use spec::{Config, SeccompListener};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::path::Path;
use sys::process::Child;
use sys::seccomp::Flags;

/// The directory of compiled filters in the state root; no id can hold the first character.
const CACHE: &str = "@seccomp";

/// A compiled filter.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    program: Vec<Instruction>,
    flags: Flags,
    listener: Option<SeccompListener<'a>>,
}

impl<'a> Filter<'a> {
    /// The filter that a bundle asks for, if it asks for one.
    pub(crate) fn of(config: &'a Config, state_root: Option<&Path>) -> Result<Option<Self>> {
        let Some(profile) = config.seccomp()? else { return Ok(None) };
        let program = match state_root {
            Some(root) => Cache::new(&root.join(CACHE)).program(&profile)?,
            None => seccomp::compile(&profile)?,
        };
        let flags = Flags::default()
            .with(Flags::LOG, profile.flags.log)
            .with(Flags::SPEC_ALLOW, profile.flags.spec_allow)
            .with(Flags::WAIT_KILLABLE_RECV, profile.flags.wait_killable)
            .with(Flags::NEW_LISTENER, profile.listener.is_some());
        Ok(Some(Self { program, flags, listener: profile.listener }))
    }

    fn load(&self) -> failure::Result<Option<OwnedFd>> {
        sys::seccomp::load(&self.program, self.flags).map_err(|e| {
            Failure::new(format!(
                "unable to load the seccomp filter of {} instructions: {e}",
                self.program.len()
            ))
        })
    }
}

/// What is left of a process' confinement when all else is done.
#[derive(Debug)]
pub(crate) struct LastSteps<'a> {
    filter: Option<&'a Filter<'a>>,
    surplus: Option<Surplus>,
}

impl<'a> LastSteps<'a> {
    /// The filter is still to be loaded, and behind it the surplus to be given up.
    pub(crate) fn new(filter: Option<&'a Filter<'a>>, surplus: Option<Surplus>) -> Self {
        Self { filter, surplus }
    }

    /// Takes them while the parent is there, if it has a listener to hand over.
    pub(crate) fn take_with_parent(&mut self, wire: &OwnedFd) -> failure::Result<()> {
        if self.filter.is_none_or(|filter| filter.listener.is_none()) {
            return Ok(());
        }
        if let Some(listener) = self.load()? {
            // Left open, since close(2) may be what the listener is asked about: execve(2) closes it.
            wire::report(wire, &Report::Listener { fd: listener.into_raw_fd() });
            crate::init::wait_go(wire)?;
        }
        self.give_up()
    }

    /// Takes them right before the program takes over.
    pub(crate) fn take(&mut self) -> failure::Result<()> {
        self.load()?;
        self.give_up()
    }

    fn load(&mut self) -> failure::Result<Option<OwnedFd>> {
        self.filter.take().map_or(Ok(None), Filter::load)
    }

    fn give_up(&mut self) -> failure::Result<()> {
        self.surplus.take().map_or(Ok(()), |surplus| surplus.give_up().during("capset"))
    }
}

/// What a listener is told (runtime-spec, config-linux.md#containerprocessstate).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a HookState,
}

/// Waits until the process is ready to start. If its filter has a listener, that is handed over on the way, with the
/// state of the container.
pub(crate) fn expect_ready(
    wire: &OwnedFd,
    child: &Child,
    filter: Option<&Filter<'_>>,
    state: impl FnOnce() -> HookState,
) -> Result<()> {
    let Some(listener) = filter.and_then(|filter| filter.listener) else {
        return wire::expect(wire, &Report::Ready);
    };
    let fd = match wire::next_report(wire)? {
        Some(Report::Listener { fd }) => fd,
        other => {
            return Err(Error::Request(format!(
                "the init process reported {other:?} instead of its listener"
            )));
        }
    };
    let fd = rustix::process::pidfd_getfd(&child.pidfd, fd, PidfdGetfdFlags::empty())
        .step(|| "take the seccomp listener from the init process".into())?;
    hand_over(&fd, &listener, child.pid.as_raw_pid(), &state())?;
    wire::go(wire)?;
    wire::expect(wire, &Report::Ready)
}

fn hand_over(fd: &OwnedFd, listener: &SeccompListener<'_>, pid: i32, state: &HookState) -> Result<()> {
    let step = || format!("linux.seccomp.listenerPath: {}", listener.path.display());
    let message = ContainerProcessState {
        oci_version: spec::OCI_VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: listener.metadata,
        state,
    };
    let json = serde_json::to_vec(&message).step(step)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .step(step)?;
    let address = SocketAddrUnix::new(listener.path).step(step)?;
    rustix::net::connect(&socket, &address)
        .step(|| format!("{}: failed to connect with seccomp agent", step()))?;
    sys::seqpacket::send(&socket, &json, &[fd.as_fd()]).step(step)
}
