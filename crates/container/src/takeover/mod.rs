//! Containers of docker and podman, checkpointed and restored from outside: nobody has prepared them, and there is no state of ours.
//!
//! ```text
//!   engine      asked: inspect, info          what the engine knows          (inspect)
//!   /proc/PID   looked at: mountinfo, fd ...  what the kernel knows          (subject)
//!        \________ plan ________/             what lies outside, which root  (mounts, tree)
//!                   |
//!         dump      |      alone               hand_back
//!         CRIU: images   mount the root,       images where the engine
//!         + record       CRIU: processes       looks, then its own restore
//! ```
//!
//! Each operation has a plan that only looks; `--print` shows it, and the operation does what it says.

mod alone;
mod aufs;
mod dump;
mod engine;
mod hand_back;
mod images;
mod inspect;
mod links;
mod mount_root;
mod mounts;
mod output;
mod record;
mod subject;
mod tree;

pub use alone::{Alone, Plan as AlonePlan, Restored, restore_alone};
pub use dump::{Checkpoint, Plan as CheckpointPlan, checkpoint};
pub use engine::{Engine, Kind};
pub use hand_back::{HandBack, Plan as HandBackPlan, hand_back};
pub use inspect::Inspect;

use crate::checkpoint::held::Held;
use crate::error::{Error, Result};
use criu::{NetworkLock, Tcp};
use record::Record;
use std::path::Path;

/// The names of CRIU's logs, which are the script's.
pub const DUMP_LOG: &str = "dump.log";
/// See [`DUMP_LOG`].
pub const RESTORE_LOG: &str = "restore.log";

/// The container that is to be restored; `home` is where the images of all containers are. Of one that its engine has removed the
/// error tells what is left, and why that is not enough: podman's archive begins with its own record of the container, which none of
/// its commands prints, and its writable layer is gone.
pub fn find(engine: &Engine, home: &Path, named: &str) -> Result<Inspect> {
    let unknown = |error: Error| {
        // Another one, say of a daemon that does not run, says nothing of the container.
        if !error.to_string().to_lowercase().contains("no such") {
            return error;
        }
        let Some(images) = images::of_unknown(home, named) else { return error };
        let advice = match engine.kind() {
            Kind::Docker => "docker keeps nothing of a container that it has removed",
            Kind::Podman => {
                "podman brings back one that it has removed from its own archives only (podman container checkpoint --export)"
            }
        };
        Error::Request(format!("{error}: its images are in {}, but {advice}", images.display()))
    };
    engine.inspect(named).map_err(unknown)
}

/// What CRIU may find, of which it would else say that it cannot be dumped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowances {
    /// TCP connections.
    pub tcp: Tcp,
    /// Unix sockets that lead outside.
    pub ext_unix_sk: bool,
    /// File locks.
    pub file_locks: bool,
    /// Files that were unlinked under the name they were opened by.
    pub link_remap: bool,
}

impl Allowances {
    /// The same for CRIU. Without connections to keep there is nothing to hold packets back for.
    fn to_criu(self) -> criu::Allowances {
        criu::Allowances {
            tcp: self.tcp,
            network_lock: (!self.tcp.established).then_some(NetworkLock::Skip),
            ext_unix_sk: self.ext_unix_sk,
            file_locks: self.file_locks,
            link_remap: self.link_remap,
            orphan_pts_master: true,
            evasive_devices: true,
            ..Default::default()
        }
    }

    /// podman's words for them.
    fn words(&self) -> Vec<&'static str> {
        let all = [(self.tcp.established, "--tcp-established"), (self.file_locks, "--file-locks")];
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect()
    }
}

/// Looks whether there is a checkpoint of a container that does not run.
fn check_images(images: &Path, container: &Inspect) -> Result<Record> {
    Held::open(images, None)?;
    let record = images::Place::new(images).record()?;
    let running = if container.state.running { Some(container.state.pid) } else { record.living()? };
    match running {
        None => Ok(record),
        Some(pid) => {
            let id = subject::short(&container.id);
            Err(Error::Request(format!("container {id} runs already, as process {pid}")))
        }
    }
}

/// The errors in CRIU's log of a failed operation, for who wants to see more than the first.
pub fn criu_errors(error: &Error) -> Vec<String> {
    let (Error::Criu(error) | Error::CriuProgram { error, .. }) = error else { return Vec::new() };
    let lines = match error {
        criu::Error::Failed(failure) => &failure.log.lines,
        criu::Error::Died(death) => &death.words.lines,
        _ => return Vec::new(),
    };
    lines.iter().map(|line| sys::one_line(&line.to_string())).collect()
}
