//! The process tree.

use super::error::{Damage, Result};
use super::folder::Folder;
use super::frame::Magic;
use super::memory::{self, Ledger, Memory};
use crate::wire::images::{CoreEntry, FsEntry, PstreeEntry, TaskCoreEntry, TaskKobjIdsEntry};
use std::collections::BTreeMap;

/// More than any machine runs in one container.
const MOST_PROCESSES: usize = 1 << 17;

const PSTREE: &str = "pstree.img";

/// A process of the tree, or of a pre-dump, which knows no more of it than its number and its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number, as the innermost pid namespace counts; so are the others.
    pub pid: u32,
    /// Its parent's; 0 for the first.
    pub parent: u32,
    /// How many ancestors it has here.
    pub depth: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// How many threads it has, the first included; 0 where that is not known.
    pub threads: u32,
    /// What it was doing.
    pub state: Option<State>,
    /// The name that ps shows.
    pub name: Option<String>,
    /// Where its memory lies; None where there is none, or it is not here.
    pub memory: Option<Memory>,
    /// Its program, as the number of an open file.
    pub program: Option<u32>,
    /// Its working directory, likewise.
    pub cwd: Option<u32>,
    /// Its root, likewise.
    pub root: Option<u32>,
    /// What it shares with others.
    pub(super) ids: Option<TaskKobjIdsEntry>,
}

/// What a process was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It ran, or slept.
    Alive,
    /// A signal had stopped it.
    Stopped,
    /// It had ended with this status (see wait(2)), and nobody had asked for it.
    Zombie(u32),
    /// Something newer.
    Other(u32),
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Stopped => "stopped",
            Self::Zombie(_) => "zombie",
            Self::Other(_) => "unknown",
        }
    }

    fn of(entry: &TaskCoreEntry) -> Self {
        match entry.task_state() {
            1 => Self::Alive,
            3 => Self::Stopped,
            2 | 6 => Self::Zombie(entry.exit_code()),
            other => Self::Other(other),
        }
    }
}

impl Process {
    /// The table of descriptors that it uses; processes may share one.
    pub(super) fn descriptor_table(&self) -> Option<u32> {
        self.ids.as_ref()?.files_id
    }
}

/// The processes of a dump, each behind its parent.
pub(super) fn read(folder: &Folder, ledger: &mut Ledger<'_>) -> Result<Vec<Process>> {
    let mut processes = in_order(entries(folder)?);
    for process in &mut processes {
        fill(process, folder, ledger)?;
    }
    Ok(processes)
}

/// The processes of a pre-dump.
pub(super) fn of_memory_alone(folder: &Folder, ledger: &mut Ledger<'_>) -> Result<Vec<Process>> {
    let pids = folder.numbered("pagemap-").filter_map(|pid| u32::try_from(pid).ok());
    pids.map(|pid| Ok(Process { pid, memory: ledger.process(pid, None)?, ..Process::default() })).collect()
}

fn entries(folder: &Folder) -> Result<Vec<Process>> {
    let failed = |damage| folder.error(PSTREE, damage);
    let mut image = folder.needed(PSTREE, Magic::PSTREE, || "there are processes (core-*.img)".to_owned())?;
    let mut processes = Vec::new();
    while let Some(entry) = image.next::<PstreeEntry>().map_err(failed)? {
        let pid = image.need(entry.pid, "pid").map_err(failed)?;
        if processes.len() == MOST_PROCESSES {
            return Err(failed(Damage::TooMuch(format!("more than {MOST_PROCESSES} processes"))));
        }
        processes.push(Process {
            pid,
            parent: entry.ppid(),
            group: entry.pgid(),
            session: entry.sid(),
            threads: u32::try_from(entry.threads.len()).unwrap_or(u32::MAX),
            ..Process::default()
        });
    }
    let mut pids: Vec<_> = processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    if let Some(twice) = pids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(failed(Damage::Contradiction(format!("holds process {} twice", twice[0]))));
    }
    Ok(processes)
}

/// Parents before their children, with their depth. Those whose ancestors lead to no first process, which CRIU does not write,
/// come last.
fn in_order(processes: Vec<Process>) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let known: BTreeMap<u32, usize> = processes.iter().enumerate().map(|(at, p)| (p.pid, at)).collect();
    let mut stack = Vec::new();
    for (at, process) in processes.iter().enumerate().rev() {
        if known.contains_key(&process.parent) {
            children.entry(process.parent).or_default().push(at);
        } else {
            stack.push((at, 0));
        }
    }
    let mut taken: Vec<Option<Process>> = processes.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(taken.len());
    while let Some((at, depth)) = stack.pop() {
        let Some(process) = taken[at].take() else { continue };
        let below = children.remove(&process.pid).unwrap_or_default();
        stack.extend(below.into_iter().map(|child| (child, depth + 1)));
        ordered.push(Process { depth, ..process });
    }
    ordered.extend(taken.into_iter().flatten());
    ordered
}

/// What the images of this one process say.
fn fill(process: &mut Process, folder: &Folder, ledger: &mut Ledger<'_>) -> Result<()> {
    let pid = process.pid;
    let core: CoreEntry = {
        let name = format!("core-{pid}.img");
        let needed_by = || format!("process {pid} is in {PSTREE}");
        folder.needed(&name, Magic::CORE, needed_by)?.one().map_err(|damage| folder.error(&name, damage))?
    };
    process.state = core.tc.as_ref().map(State::of);
    process.name = core.tc.map(|task| super::text(task.comm()));
    process.ids = folder.one(&format!("ids-{pid}.img"), Magic::IDS)?.or(core.ids);
    if let Some(fs) = folder.one::<FsEntry>(&format!("fs-{pid}.img"), Magic::FS)? {
        (process.cwd, process.root) = (fs.cwd_id, fs.root_id);
    }
    let mappings = memory::mappings(folder, pid)?;
    process.program = mappings.as_ref().and_then(|mappings| mappings.program);
    process.memory = ledger.process(pid, mappings.as_ref())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32) -> Process {
        Process { pid, parent, ..Process::default() }
    }

    fn order(processes: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let processes = processes.iter().map(|(pid, parent)| process(*pid, *parent)).collect();
        in_order(processes).iter().map(|process| (process.pid, process.depth)).collect()
    }

    #[test]
    fn children_come_after_their_parents_in_the_order_of_the_image() {
        assert_eq!(
            order(&[(1, 0), (9, 1), (5, 1), (7, 9), (8, 5)]),
            [(1, 0), (9, 1), (7, 2), (5, 1), (8, 2)]
        );
        assert_eq!(order(&[(8, 5), (5, 1), (1, 0)]), [(1, 0), (5, 1), (8, 2)]);
    }

    #[test]
    fn nobody_is_lost_however_the_parents_are_knotted() {
        assert_eq!(order(&[(2, 3), (3, 2), (1, 0), (4, 4)]), [(1, 0), (2, 0), (3, 0), (4, 0)]);
        let chain: Vec<_> = (1..=100_000).map(|pid| (pid, pid - 1)).collect();
        assert_eq!(order(&chain).last(), Some(&(100_000, 99_999)));
    }
}
