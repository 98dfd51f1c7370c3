//! A container's state, as `state` prints it and hooks read it (runtime-spec, runtime.md#state).

use crate::Status;
use crate::store::{Entry, Record};
use serde::Serialize;
use spec::{Config, Id};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `state` and `list --format json` print: the spec's state with runc's additions, in runc's order.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the runtime-spec that this follows.
    pub oci_version: &'static str,
    /// The container's id.
    pub id: String,
    /// Init's process id in the host's pid namespace; 0 when stopped.
    pub pid: i32,
    /// The status word.
    pub status: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root file system.
    pub rootfs: PathBuf,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// The annotations of config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who made it; the number where there is no name.
    pub owner: String,
}

impl State {
    pub(crate) fn of(entry: &Entry, record: &Record, status: Status, names: &mut UserNames) -> Self {
        Self {
            oci_version: spec::OCI_VERSION,
            id: entry.id.to_string(),
            pid: record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid),
            status: status.to_string(),
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: names.of(record.owner).to_owned(),
        }
    }
}

/// The annotations of a config.json.
pub(crate) fn annotations(config: &Config) -> BTreeMap<String, String> {
    config.oci.annotations().clone().unwrap_or_default().into_iter().collect()
}

/// The names of users, each looked up once.
#[derive(Debug, Default)]
pub(crate) struct UserNames(BTreeMap<u32, String>);

impl UserNames {
    fn of(&mut self, uid: u32) -> &str {
        self.0.entry(uid).or_insert_with(|| user_name(uid))
    }
}

fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// The state that hooks read: it exists before the container's record does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState {
    oci_version: &'static str,
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "is_none")]
    pid: i32,
    bundle: PathBuf,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// Whether a pid says that there is no process; the specification has it only where there is one.
fn is_none(pid: &i32) -> bool {
    *pid == 0
}

impl HookState {
    pub(crate) fn new(id: &Id, bundle: &Path, config: &Config) -> Self {
        Self {
            oci_version: spec::OCI_VERSION,
            id: id.to_string(),
            status: "creating",
            pid: 0,
            bundle: bundle.to_owned(),
            annotations: annotations(config),
        }
    }

    /// The same container a moment later, or seen from another pid namespace. `pid` is init's id as the reader sees it; 0 when
    /// there is none any more.
    pub(crate) fn at(&self, status: &'static str, pid: i32) -> Self {
        Self { status, pid, ..self.clone() }
    }

    /// The JSON for a hook.
    pub(crate) fn json(&self, status: &'static str, pid: i32) -> Vec<u8> {
        serde_json::to_vec(&self.at(status, pid)).unwrap_or_default()
    }
}
