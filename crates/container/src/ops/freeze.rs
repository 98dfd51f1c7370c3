//! `pause` and `resume`.

use super::status;
use crate::error::{Error, Result};
use crate::status::Status;
use crate::store::Store;
use spec::Id;

/// Freezes a container's processes.
pub fn pause(store: &Store, id: &Id) -> Result<()> {
    let (entry, record) = store.lock(id)?;
    match status(&entry, &record)? {
        Status::Running | Status::Created => {
            record.cgroup.freeze()?;
            log::debug!("{id}: frozen");
            Ok(())
        }
        status => Err(Error::Status { what: "container not running", id: id.to_string(), status }),
    }
}

/// Thaws a container's processes.
pub fn resume(store: &Store, id: &Id) -> Result<()> {
    let (entry, record) = store.lock(id)?;
    match status(&entry, &record)? {
        Status::Paused => {
            record.cgroup.thaw()?;
            log::debug!("{id}: thawed");
            Ok(())
        }
        status => Err(Error::Status { what: "container not paused", id: id.to_string(), status }),
    }
}
