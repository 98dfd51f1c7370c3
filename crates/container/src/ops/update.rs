//! `update`.

use super::status;
use crate::error::{Error, Result};
use crate::status::Status;
use crate::store::Store;
use spec::{Id, ResourceChange};

/// A request to change a container's limits.
#[derive(Clone, Debug)]
pub struct Update {
    /// The container.
    pub id: Id,
    /// What is to change.
    pub resources: ResourceChange,
    /// Which parts of the L3 cache it may fill (Intel RDT).
    pub l3_cache_schema: Option<String>,
    /// How much memory bandwidth it may use (Intel RDT).
    pub mem_bw_schema: Option<String>,
}

/// Changes the limits of a container, running or not, all that is asked for or nothing.
pub fn update(store: &Store, request: &Update) -> Result<()> {
    let (entry, mut record) = store.lock(&request.id)?;
    match status(&entry, &record)? {
        Status::Created | Status::Running | Status::Paused => {}
        status => {
            return Err(Error::Status { what: "container not running", id: request.id.to_string(), status });
        }
    }
    refuse_rdt(request)?;
    let recorded = match record.resources.take() {
        Some(resources) => resources,
        None => entry.config()?.linux().and_then(|l| l.resources().clone()).unwrap_or_default(),
    };
    let merged = request.resources.applied_to(&recorded)?;
    record.cgroup.update(&request.resources.to_write(&merged, &recorded)?)?;
    log::debug!("{}: limits changed", request.id);
    record.resources = Some(merged);
    entry.save(&record)
}

/// The words are runc's for a machine without a resctrl file system.
fn refuse_rdt(request: &Update) -> Result<()> {
    let refuse = |text: &str| Err(Error::Request(text.to_owned()));
    match (&request.l3_cache_schema, &request.mem_bw_schema) {
        (Some(_), _) => refuse("Intel RDT/CAT: l3 cache schema is not enabled"),
        (None, Some(_)) => refuse("Intel RDT/MBA: memory bandwidth schema is not enabled"),
        (None, None) => Ok(()),
    }
}
