//! Processes of a container that CRIU would not see: it dumps the tree below init, and what an engine `exec`s has its parent
//! outside.

use crate::error::Result;
use crate::store::Record;
use rustix::process::Pid;
use std::collections::BTreeMap;
use sys::proc::Stat;

/// The living processes of a container.
pub(super) fn living(record: &Record) -> Result<BTreeMap<i32, Stat>> {
    let mut living = BTreeMap::new();
    for pid in record.cgroup.processes()? {
        let Some(stat) = Pid::from_raw(pid).map(sys::proc::stat).transpose()?.flatten() else { continue };
        if !stat.is_dead() {
            living.insert(pid, stat);
        }
    }
    Ok(living)
}

/// Those of them that are not below its init. Called while they stand still.
pub(super) fn find(living: &BTreeMap<i32, Stat>, record: &Record) -> Vec<i32> {
    let parents = living.iter().map(|(pid, stat)| (*pid, stat.parent)).collect();
    not_below(&parents, record.init.map_or(0, |init| init.pid))
}

/// Of processes and their parents, those that are not below `init`.
pub(crate) fn not_below(parents: &BTreeMap<i32, i32>, init: i32) -> Vec<i32> {
    let is_below = |mut pid: i32| loop {
        if pid == init {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) => pid = *parent,
            None => return false,
        }
    };
    parents.keys().copied().filter(|pid| !is_below(*pid)).collect()
}

/// The refusal, which names the first one.
pub(super) fn refusal(pids: &[i32]) -> Option<String> {
    let pid = pids.first()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let more = if pids.len() > 1 { format!(" and {} more", pids.len() - 1) } else { String::new() };
    Some(format!(
        "process {pid} ({}){more} came in by exec and belongs to its caller, so the checkpoint would lose it: end it first, or \
         start it with `exec --detach` and no pid-file",
        name.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::not_below;

    #[test]
    fn only_the_tree_below_init_is_inside() {
        // 10 is init; 12 is a grandchild; 20 came in by exec and has a child.
        let parents = [(10, 1), (11, 10), (12, 11), (20, 5), (21, 20)].into();
        assert_eq!(not_below(&parents, 10), [20, 21]);
    }
}
