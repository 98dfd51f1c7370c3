//! The host's part in the file tree of a container with its own user namespace, opened on its behalf.
//!
//! The container's root may not look into directories that only the host's root may read, and only the host's root may make
//! an id-mapped mount. So a process with the caller's rights goes into the container's new mount namespace, opens all that
//! the plan names there (what it clones must be the copies in that namespace, which are slaves of the host's mounts), and
//! hands it to init.

use super::mappings::{MountMaps, open_user_namespace};
use super::wire::{self, Report};
use crate::error::Result;
use crate::init::failure::{self, Failure};
use rootfs::{IdMap, Plan, Sources};
use rustix::process::Signal;
use std::os::fd::{AsFd, OwnedFd};
use sys::process::{Child, Forked, Namespaces};
use sys::seqpacket::{self, MAX_FDS};

/// Opens the sources of `plan` in the mount namespace of `init`, and sends them to it; when that fails, the reason.
pub(super) fn send(wire: &OwnedFd, init: &Child, plan: &Plan, maps: &MountMaps) -> Result<()> {
    match sys::process::fork(Namespaces::default(), None)? {
        // What went wrong there is told by init, to whom it was told.
        Forked::Parent(helper) => sys::process::wait(helper.pid).map(|_| ()).map_err(Into::into),
        Forked::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let sent = open(init, plan, maps).and_then(|opened| hand_over(wire, &opened));
            if let Err(message) = sent {
                wire::report(wire, &Report::Failed { message, exit_code: 1 });
            }
            sys::process::exit_now(0)
        }
    }
}

fn open(init: &Child, plan: &Plan, maps: &MountMaps) -> std::result::Result<Vec<OwnedFd>, String> {
    let own = open_user_namespace(init).map_err(|e| e.to_string())?;
    sys::process::join(init.pidfd.as_fd(), Namespaces::MOUNT).map_err(|e| e.to_string())?;
    let find = |index, map: &IdMap| if map.uids.is_empty() { Some(own.as_fd()) } else { maps.find(index) };
    let sources = Sources::open(plan, &find).map_err(|e| e.to_string())?;
    Ok(sources.into_descriptors())
}

fn hand_over(wire: &OwnedFd, opened: &[OwnedFd]) -> std::result::Result<(), String> {
    opened.chunks(MAX_FDS).try_for_each(|some| {
        let borrowed: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        seqpacket::send(wire, b"sources", &borrowed).map_err(|e| e.to_string())
    })
}

/// Init's side: what was opened for it.
pub(crate) fn receive(wire: &OwnedFd, plan: &Plan) -> failure::Result<Sources> {
    let wanted = Sources::count(plan);
    let mut opened = Vec::with_capacity(wanted);
    while opened.len() < wanted {
        let message = seqpacket::receive(wire).map_err(|e| Failure::new(e.to_string()))?;
        // The parent has ended.
        let Some(message) = message else { sys::process::exit_now(1) };
        if message.fds.is_empty() {
            return Err(match serde_json::from_slice(&message.data) {
                Ok(Report::Failed { message, exit_code }) => Failure { message, exit_code },
                _ => Failure::new("the mount sources were not opened"),
            });
        }
        opened.extend(message.fds);
    }
    Sources::from_descriptors(plan, opened).ok_or_else(|| Failure::new("too few mount sources were opened"))
}
