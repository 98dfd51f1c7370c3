//! `state`, `list` and `ps`.

use super::status;
use crate::error::{Error, Result};
use crate::state::{State, UserNames};
use crate::status::Status;
use crate::store::Store;
use spec::Id;

/// A container's state.
pub fn state(store: &Store, id: &Id) -> Result<State> {
    state_of(store, id, &mut UserNames::default())
}

fn state_of(store: &Store, id: &Id, names: &mut UserNames) -> Result<State> {
    let (entry, record) = store.look(id)?;
    Ok(State::of(&entry, &record, status(&entry, &record)?, names))
}

/// The states of all containers, sorted by id. One that goes away meanwhile is left out.
pub fn list(store: &Store) -> Result<Vec<State>> {
    store.sweep();
    let mut names = UserNames::default();
    let mut states = Vec::new();
    for id in store.ids()? {
        match state_of(store, &id, &mut names) {
            Ok(state) => states.push(state),
            Err(Error::NotFound(_)) => {}
            Err(e) => log::warn!("{e}"),
        }
    }
    Ok(states)
}

/// The process ids of a container, as the host sees them.
pub fn processes(store: &Store, id: &Id) -> Result<Vec<i32>> {
    let (entry, record) = store.look(id)?;
    if status(&entry, &record)? == Status::Stopped {
        return Ok(Vec::new());
    }
    super::members::pids(&record)
}
