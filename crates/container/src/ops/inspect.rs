//! `state`, `list` and `ps`.

use super::status;
use crate::error::{Error, Result};
use crate::state::{State, UserNames};
use crate::status::Status;
use crate::store::Store;
use spec::Id;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::Builder;

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
    let ids = store.ids()?;
    let mut parts = ids.chunks(ids.len().div_ceil(threads(ids.len())).max(1));
    let first = parts.next().unwrap_or_default();
    Ok(std::thread::scope(|scope| {
        let started: Vec<_> = parts
            .map(|part| (part, Builder::new().spawn_scoped(scope, move || states_of(store, part))))
            .collect();
        let mut states = states_of(store, first);
        for (part, thread) in started {
            // Where no more threads are allowed, this one does their part, too.
            let thread = thread.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            states.extend(thread.unwrap_or_else(|_| states_of(store, part)));
        }
        states
    }))
}

/// How many threads look at so many containers. A container takes some ten system calls, most of them in /proc, and a thread's start
/// takes as long as a few containers do.
fn threads(containers: usize) -> usize {
    const SHARE: usize = 64;
    let cpus = || std::thread::available_parallelism().map_or(1, NonZero::get);
    if containers <= SHARE { 1 } else { cpus().min(containers / SHARE) }
}

fn states_of(store: &Store, ids: &[Id]) -> Vec<State> {
    let mut names = UserNames::default();
    let mut state = |id| match state_of(store, id, &mut names) {
        Ok(state) => Some(state),
        Err(Error::NotFound(_)) => None,
        Err(e) => {
            log::warn!("{e}");
            None
        }
    };
    ids.iter().filter_map(&mut state).collect()
}

/// The process ids of a container, as the host sees them.
pub fn processes(store: &Store, id: &Id) -> Result<Vec<i32>> {
    let (entry, record) = store.look(id)?;
    if status(&entry, &record)? == Status::Stopped {
        return Ok(Vec::new());
    }
    super::members::pids(&record)
}
