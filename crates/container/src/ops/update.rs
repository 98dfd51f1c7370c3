//! `update`.

use super::status;
use crate::error::{Error, Result};
use crate::status::Status;
use crate::store::Store;
use crate::store::{Entry, Record};
use cgroup::resctrl::{Abilities, Group};
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
    let schemata = update_schemata(request, &entry, &mut record)?;
    let updated = update_cgroup(request, &entry, &mut record);
    if let (Err(_), Some(schemata), Some(group)) = (&updated, schemata, &record.resctrl) {
        group.write(&schemata)?;
    }
    updated?;
    log::debug!("{}: limits changed", request.id);
    entry.save(&record)
}

fn update_cgroup(request: &Update, entry: &Entry, record: &mut Record) -> Result<()> {
    let recorded = match &record.resources {
        Some(resources) => resources.clone(),
        None => entry.config()?.linux().and_then(|l| l.resources().clone()).unwrap_or_default(),
    };
    let merged = request.resources.applied_to(&recorded)?;
    record.cgroup.update(&request.resources.to_write(&merged, &recorded)?)?;
    record.resources = Some(merged);
    Ok(())
}

/// Changes the share of caches and memory bandwidth; returns what it was. A container that has had no group gets one.
fn update_schemata(request: &Update, entry: &Entry, record: &mut Record) -> Result<Option<String>> {
    let (caches, bandwidth) = (request.l3_cache_schema.as_deref(), request.mem_bw_schema.as_deref());
    if caches.is_none() && bandwidth.is_none() {
        return Ok(None);
    }
    require(request, Abilities::detect())?;
    if record.resctrl.is_none() {
        join_resctrl(entry, record)?;
    }
    let change = |group: &Group| group.change(caches, bandwidth);
    Ok(record.resctrl.as_ref().map(change).transpose()?)
}

/// Makes a group for a container that has none, and moves its processes there.
fn join_resctrl(entry: &Entry, record: &mut Record) -> Result<()> {
    let rdt = spec::oci::LinuxIntelRdt::default();
    let group = Group::locate(&rdt, entry.id.as_str())?;
    group.create(&rdt)?;
    record.resctrl = Some(group.clone());
    entry.save(record)?;
    Ok(group.add_all(&record.cgroup.processes()?)?)
}

/// The words are runc's.
fn require(request: &Update, abilities: Abilities) -> Result<()> {
    let refuse = |text: &str| Err(Error::Request(text.to_owned()));
    if request.l3_cache_schema.is_some() && !abilities.caches {
        return refuse("Intel RDT/CAT: l3 cache schema is not enabled");
    }
    if request.mem_bw_schema.is_some() && !abilities.bandwidth {
        return refuse("Intel RDT/MBA: memory bandwidth schema is not enabled");
    }
    Ok(())
}
