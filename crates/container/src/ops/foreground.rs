//! Staying with a container until it ends: signals, terminal, orphans.

use crate::console::Relay;
use crate::error::Result;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, OwnedFd};
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

/// Passes signals and the terminal on until the child has ended; reaps whatever else ends meanwhile.
pub(crate) fn attend(child: &Child, master: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    let mut relay = master.map(Relay::start);
    let exit = loop {
        if let Some(exit) = wait_once(child, &mut relay, signals)? {
            break exit;
        }
    };
    if let Some(relay) = &relay {
        relay.drain();
    }
    Ok(exit)
}

/// Waits for the next thing to happen, and handles it; the exit, when it was the child's end.
fn wait_once(child: &Child, relay: &mut Option<Relay>, signals: &Signals) -> Result<Option<Exit>> {
    let Some(shown) = relay else {
        let _ = poll(&mut [PollFd::new(signals.fd(), PollFlags::IN)], None);
        return handle(child, None, signals);
    };
    if !shown.step(signals.fd().as_fd()) {
        // Hung up: nothing more to show, but the child may live on.
        *relay = None;
    }
    handle(child, relay.as_ref(), signals)
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
