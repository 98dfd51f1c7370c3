//! The store under any order of operations and any crash.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

fn record(pending: Option<Pending>) -> Record {
    Record { pending, ..Record::sample() }
}

#[test]
fn a_container_appears_whole_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&dir.path().join("root"));
    assert!(store.ids().unwrap().is_empty());
    let entry = store.create(&id("a"), &record(None), b"{}").unwrap();
    assert!(matches!(store.create(&id("a"), &record(None), b"{}"), Err(Error::Exists(_))));
    drop(entry);
    assert_eq!(store.ids().unwrap(), [id("a")]);
    assert_eq!(std::fs::read_dir(store.root()).unwrap().count(), 1, "no temporary directory is left");
    let (entry, found) = store.lock(&id("a")).unwrap();
    assert_eq!(found, record(None));
    entry.remove().unwrap();
    assert!(matches!(store.look(&id("a")), Err(Error::NotFound(_))));
}

#[test]
fn a_record_of_a_later_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let later = Record { version: VERSION + 1, ..record(None) };
    drop(store.create(&id("a"), &later, b"{}").unwrap());
    let error = store.look(&id("a")).unwrap_err().to_string();
    assert!(error.contains("state.json: written by a newer rt"), "{error}");
}

#[test]
fn who_only_looks_does_not_disturb_who_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let at_work = store.create(&id("a"), &record(Some(Pending::Creation)), b"{}").unwrap();
    assert_eq!(store.look(&id("a")).unwrap().1.pending, Some(Pending::Creation));
    drop(at_work);
    // Its maker is gone without finishing: so is the container.
    assert!(matches!(store.look(&id("a")), Err(Error::NotFound(_))));
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn who_looks_takes_back_what_needs_no_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let me = ProcessId::of(rustix::process::getpid()).unwrap().unwrap();
    let gone = ProcessId { start_time: me.start_time + 1, ..me };
    for (criu, is_over) in [(gone, true), (me, false)] {
        // Of a container that was paused before, so that there is nothing to thaw.
        let left = Record { criu: Some(criu), ..record(None) };
        let entry = store.create(&id("a"), &left, b"{}").unwrap();
        assert_eq!(store.look(&id("a")).unwrap().1, left, "its maker is at work");
        entry.unlock().unwrap();
        let found = store.look(&id("a")).unwrap().1;
        assert_eq!((found.is_settled(), found == left), (is_over, !is_over));
        entry.remove().unwrap();
    }
}

/// One thing that an `rt` does to the store, and where it dies.
#[derive(Clone, Debug)]
enum Op {
    Create { id: u8, dies_after: usize },
    Save { id: u8, pending: bool, dies_after: usize },
    Remove { id: u8, dies_after: usize },
    Look { id: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0u8..3;
    prop_oneof![
        (id.clone(), 0usize..6).prop_map(|(id, dies_after)| Op::Create { id, dies_after }),
        (id.clone(), any::<bool>(), 0usize..3).prop_map(|(id, pending, dies_after)| Op::Save {
            id,
            pending,
            dies_after
        }),
        (id.clone(), 0usize..4).prop_map(|(id, dies_after)| Op::Remove { id, dies_after }),
        id.prop_map(|id| Op::Look { id }),
    ]
}

/// Does to the directory what the operation does, file operation by file operation, and stops where it dies. What an
/// operation does is restated here on purpose: the test is about what a *reader* makes of each intermediate state.
fn run(store: &Store, op: &Op, serial: usize) {
    let name = |n: u8| id(["a", "b", "c"][usize::from(n)]);
    match op {
        Op::Create { id: n, dies_after } => {
            // No process has such a number (proc_sys_kernel(5), pid_max).
            let temporary = store.root().join(format!("~{}", 90_000_000 + serial));
            let path = store.root().join(name(*n));
            let json = serde_json::to_vec(&record(Some(Pending::Creation))).unwrap();
            let steps: [&dyn Fn(); 5] = [
                &|| std::fs::create_dir_all(&temporary).unwrap(),
                &|| std::fs::write(temporary.join(CONFIG), b"{}").unwrap(),
                &|| std::fs::write(temporary.join("state.json.new"), &json).unwrap(),
                &|| std::fs::rename(temporary.join("state.json.new"), temporary.join(RECORD)).unwrap(),
                &|| {
                    let _ = rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        &temporary,
                        rustix::fs::CWD,
                        &path,
                        RenameFlags::NOREPLACE,
                    );
                },
            ];
            steps.iter().take(*dies_after).for_each(|step| step());
            if *dies_after > steps.len() - 1 {
                // It lived: the real thing, on whatever the dead one left.
                match store.lock(&name(*n)) {
                    Err(Error::NotFound(_)) => drop(store.create(&name(*n), &record(None), b"{}").unwrap()),
                    other => drop(other.unwrap()),
                }
            }
        }
        Op::Save { id: n, pending, dies_after } => {
            let Ok((entry, _)) = store.lock(&name(*n)) else { return };
            let json = serde_json::to_vec(&record(pending.then_some(Pending::Creation))).unwrap();
            let new = entry.path.join("state.json.new");
            match dies_after {
                0 => std::fs::write(&new, &json[..json.len() / 2]).unwrap(),
                1 => std::fs::write(&new, &json).unwrap(),
                _ => entry.save(&record(pending.then_some(Pending::Creation))).unwrap(),
            }
        }
        Op::Remove { id: n, dies_after } => {
            let Ok((entry, _)) = store.lock(&name(*n)) else { return };
            match dies_after {
                0 => {}
                1 => entry.unlink(RECORD),
                2 => {
                    entry.unlink(RECORD);
                    entry.unlink(CONFIG);
                }
                _ => entry.remove().unwrap(),
            }
        }
        Op::Look { id: n } => drop(store.look(&name(*n))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was done and wherever it was cut off: each id either is a container that can be read and locked, or is
    /// free to be created; and once that has been found out, nothing else is left in the state root.
    #[test]
    fn the_next_command_understands_what_any_crash_left(ops in prop::collection::vec(op(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        for (serial, op) in ops.iter().enumerate() {
            run(&store, op, serial);
        }
        let mut alive = BTreeSet::new();
        for name in ["a", "b", "c"] {
            match store.lock(&id(name)) {
                Ok((_, record)) => {
                    prop_assert_eq!(record.pending, None);
                    alive.insert(id(name));
                }
                Err(Error::NotFound(_)) => {
                    drop(store.create(&id(name), &record(None), b"{}").unwrap());
                    alive.insert(id(name));
                }
                Err(e) => prop_assert!(false, "{}: {}", name, e),
            }
        }
        store.sweep();
        prop_assert_eq!(store.ids().unwrap().into_iter().collect::<BTreeSet<_>>(), alive.clone());
        prop_assert_eq!(std::fs::read_dir(store.root()).unwrap().count(), alive.len());
    }
}
