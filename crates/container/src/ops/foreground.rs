//! Staying with a container until it ends: signals, terminal, orphans.

use crate::console::Relay;
use crate::error::Result;
use crate::notify;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::process::{Child, Exit};
use sys::signal::Signals;

/// Takes this process' signals as data, and adopts the container's orphans unless told not to. To be called before the
/// container is made, so that no signal is lost.
pub(crate) fn prepare(no_subreaper: bool) -> Result<Signals> {
    if !no_subreaper {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    Ok(Signals::take_all()?)
}

/// Passes signals, the terminal and readiness on until the child has ended; reaps whatever else ends meanwhile.
pub(crate) fn attend(
    child: &Child,
    master: Option<OwnedFd>,
    mut readiness: Option<notify::Relay>,
    signals: &Signals,
) -> Result<Exit> {
    let mut relay = master.map(Relay::start);
    let exit = loop {
        wait_once(&mut relay, readiness.as_ref(), signals);
        pass_on(&mut readiness);
        if let Some(exit) = handle(child, relay.as_ref(), signals)? {
            break exit;
        }
    };
    pass_on(&mut readiness);
    if let Some(relay) = &relay {
        relay.drain();
    }
    Ok(exit)
}

/// Waits for the next thing to happen, and shows what the terminal has to show.
fn wait_once(relay: &mut Option<Relay>, readiness: Option<&notify::Relay>, signals: &Signals) {
    let others: Vec<BorrowedFd<'_>> =
        std::iter::once(signals.fd()).chain(readiness.map(notify::Relay::fd)).map(AsFd::as_fd).collect();
    let Some(shown) = relay else {
        let mut fds: Vec<_> = others.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let _ = poll(&mut fds, None);
        return;
    };
    if !shown.step(&others) {
        // Hung up: nothing more to show, but the child may live on.
        *relay = None;
    }
}

/// Tells the service manager that the container is ready, once it says so; that nobody listens is not its fault.
fn pass_on(readiness: &mut Option<notify::Relay>) {
    let Some(relay) = readiness else { return };
    match relay.pass_on() {
        Ok(false) => {}
        Ok(true) => *readiness = None,
        Err(e) => {
            log::warn!("{e}");
            *readiness = None;
        }
    }
}

/// Handles the signals that wait; the exit, when one of them was the child's end.
fn handle(child: &Child, relay: Option<&Relay>, signals: &Signals) -> Result<Option<Exit>> {
    let mut exit = None;
    while let Some(signal) = signals.next() {
        match signal {
            number::CHLD => {
                let ended = sys::process::reap_ended();
                exit = exit.or(ended.into_iter().find(|(pid, _)| *pid == child.pid).map(|(_, exit)| exit));
            }
            number::WINCH => {
                if let Some(shown) = relay {
                    shown.resize();
                }
            }
            // Our own write to a closed pipe, and Go's way of preempting itself (which Go callers may send on).
            number::PIPE | number::URG => {}
            other => {
                let _ = sys::process::signal(child.pidfd.as_fd(), other);
            }
        }
    }
    Ok(exit)
}

/// The numbers of the signals that are not passed on.
mod number {
    use rustix::process::Signal;
    pub(super) const CHLD: i32 = Signal::CHILD.as_raw();
    pub(super) const WINCH: i32 = Signal::WINCH.as_raw();
    pub(super) const PIPE: i32 = Signal::PIPE.as_raw();
    pub(super) const URG: i32 = Signal::URG.as_raw();
}
