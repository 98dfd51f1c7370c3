//! What is written down of a container.

use super::process::ProcessId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

/// The version of the format below. A reader refuses a later one and knows every earlier one.
pub(crate) const VERSION: u32 = 1;

/// `state.json`: what the kernel cannot tell a later command.
///
/// What the kernel can tell (whether init lives, whether the cgroup is frozen) is not here, so it cannot be wrong. What
/// is here is written *before* the thing it describes is made, so a command that finds the record of an `rt` which was
/// killed knows all there may be to undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// See [`VERSION`].
    pub version: u32,
    /// The bundle's directory; absolute.
    pub bundle: PathBuf,
    /// The root file system; absolute.
    pub rootfs: PathBuf,
    /// When the container was made: RFC 3339, UTC. A restore keeps it.
    pub created: String,
    /// The user id that made it.
    pub owner: u32,
    /// The annotations of its config.json, which `state` and `list` print.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In a container without a mount namespace, whose file tree is among the host's mounts: the number of the mount that the tree
    /// covers ([`rootfs::detach_tree`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<u64>,
    /// Whether its processes have the session keyring of who starts them (`--no-new-keyring`), and none of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_keyring: bool,
    /// Its cgroup's directories.
    pub cgroup: cgroup::Cgroup,
    /// Its group in resctrl, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<cgroup::resctrl::Group>,
    /// Its init process; none until it is made.
    pub init: Option<ProcessId>,
    /// What was under way when this was written; none when nothing was.
    pub pending: Option<Pending>,
    /// The criu that works on it; it may outlive the `rt` that has started it, and nobody else may touch the container then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criu: Option<ProcessId>,
    /// A process of it that is out of its freezer for a moment; see `checkpoint::stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astray: Option<Astray>,
    /// Where init's stdin, stdout and stderr lead, as links in /proc/PID/fd print them.
    pub stdio: [String; 3],
    /// The same of the descriptors that it was passed, from 3 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<String>,
    /// The host's network devices that it was lent; written before they are moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_devices: Option<crate::devices::Loan>,
    /// Its limits, once they are no longer those of its config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<spec::oci::LinuxResources>,
}

/// An operation that cannot be done in one step, and how to take back what was done of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Pending {
    /// create or restore: until it is done, the container is nothing; undone by removing it.
    Creation,
    /// checkpoint froze a running container; undone by thawing it.
    Freeze,
}

/// A process that is not where it is frozen with its container, and where that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Astray {
    pub process: ProcessId,
    /// The cgroup's directory.
    pub freezer: PathBuf,
}

impl Record {
    /// Whether it tells of nothing that would have to be taken back, were its `rt` dead.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_none() && self.criu.is_none() && self.astray.is_none()
    }

    /// The name of the session keyring that the processes of this container share; none where they keep their callers'.
    pub(crate) fn session_keyring(&self, id: &str) -> Option<CString> {
        (!self.keeps_keyring).then(|| session_keyring(id))
    }

    /// Reads a record; the error is the reason why it cannot be used.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let parsed = serde_json::from_slice::<Self>(bytes);
        let version = match &parsed {
            Ok(record) => Some(record.version),
            // One of a later version may not look like ours.
            Err(_) => serde_json::from_slice(bytes).ok().map(|Versioned { version }| version),
        };
        if let Some(version) = version.filter(|version| *version > VERSION) {
            return Err(format!("written by a newer rt (version {version}, this one knows {VERSION})"));
        }
        parsed.map_err(|e| sys::one_line(&e.to_string()))
    }
}

/// The name of a container's session keyring; runc's.
pub(crate) fn session_keyring(id: &str) -> CString {
    CString::new(format!("_ses.{id}")).unwrap_or_default()
}

/// What records of all versions have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[cfg(test)]
impl Record {
    /// A record with nothing behind it.
    pub(crate) fn sample() -> Self {
        Self {
            version: VERSION,
            bundle: "/bundle".into(),
            rootfs: "/bundle/rootfs".into(),
            created: "2026-01-02T03:04:05Z".into(),
            owner: 0,
            annotations: BTreeMap::new(),
            covered: None,
            keeps_keyring: false,
            cgroup: serde_json::from_str("{}").expect("an empty map"),
            resctrl: None,
            init: None,
            pending: Some(Pending::Creation),
            criu: None,
            astray: None,
            stdio: Default::default(),
            passed: Vec::new(),
            net_devices: None,
            resources: None,
        }
    }
}
