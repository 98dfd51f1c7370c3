//! A look at all of a container that a dump would have to write down.

use super::descriptors::{self, Surroundings};
use super::finding::{Finding, Verdict};
use super::mounts;
use super::processes::{self, Process};
use super::sockets::{self, Sockets};
use super::{Allowed, mappings};
use crate::checkpoint::outsiders;
use crate::error::Result;
use crate::mountinfo::{self, Mount};
use crate::store::Record;
use criu::Class;
use criu::diagnose::Diagnosis;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Everything that was read; what it means is told by [`Look::judge`], without reading more.
#[derive(Debug)]
pub(super) struct Look {
    /// Init, unless it has gone, and those below it: what is dumped.
    processes: Vec<Process>,
    init: i32,
    /// Whether there were more than were looked at.
    is_cut: bool,
    /// The others.
    outside: Vec<i32>,
    mounts: Vec<Mount>,
    mount_ids: BTreeMap<u64, bool>,
    /// The mounts that CRIU need not make.
    external: BTreeSet<PathBuf>,
    sockets: Sockets,
    has_own_ipc: bool,
}

impl Look {
    /// Reads it all. `external` is what the dump declares so.
    pub(super) fn at(record: &Record, init: i32, external: &[String]) -> Result<Self> {
        let mut pids = record.cgroup.processes()?;
        // Where there is no cgroup, at least the first process is known.
        if !pids.contains(&init) {
            pids.push(init);
        }
        let outside = outsiders::find(&outsiders::living(record)?, record);
        pids.retain(|pid| !outside.contains(pid));
        let (processes, is_cut) = Process::read_all(&pids);
        let ipc = |pid| processes::namespaces(pid).into_iter().nth(2).flatten();
        let our_pid = i32::try_from(std::process::id()).unwrap_or_default();
        let place = |external: &String| Some(external.strip_prefix("mnt[")?.split_once("]:")?.0.into());
        Ok(Self {
            outside,
            mounts: mounts::of(init),
            mount_ids: mounts::ids(&processes),
            external: external.iter().filter_map(place).collect(),
            sockets: Sockets::of(&processes),
            has_own_ipc: ipc(our_pid) != ipc(init),
            processes,
            init,
            is_cut,
        })
    }

    /// A container of one process with a few descriptors, of whose files in /proc each says `text`.
    pub(super) fn at_text(text: &str) -> Self {
        let file = |number, link: &str| descriptors::Descriptor::of_text(number, link, text);
        let process = Process {
            pid: 1,
            status: processes::Status::parse(text),
            descriptors: (0..32).zip(text.lines()).map(|(number, link)| file(number, link)).collect(),
            mappings: mappings::parse(text),
            ..Process::default()
        };
        let mounts = mountinfo::parse(text);
        Self {
            init: 1,
            is_cut: false,
            outside: Vec::new(),
            mount_ids: mounts::covered(&mounts).into_iter().collect(),
            mounts,
            external: BTreeSet::new(),
            sockets: Sockets::of_text(text),
            has_own_ipc: false,
            processes: vec![process],
        }
    }

    /// What it means for a dump. `is_criu_blind`: this criu cannot dump internet sockets here.
    pub(super) fn judge(&self, allowed: &Allowed, is_criu_blind: bool) -> Vec<Finding> {
        let pids = self.processes.iter().map(|process| process.pid).collect();
        let around = Surroundings { mounts: &self.mount_ids, pids: &pids, allowed };
        let mut findings: Vec<Finding> =
            self.outside.iter().map(|pid| processes::outsider(*pid, allowed)).collect();
        if let Some(init) = self.processes.iter().find(|process| process.pid == self.init) {
            let of_process = |process| processes::judge(process, init, allowed);
            findings.extend(self.processes.iter().flat_map(of_process));
        }
        findings.extend(sockets::judge(&self.processes, &self.sockets, is_criu_blind, allowed));
        for process in &self.processes {
            findings
                .extend(process.descriptors.iter().flat_map(|one| descriptors::judge(one, process, &around)));
            let mapped = process.mappings.iter();
            findings
                .extend(mapped.filter_map(|one| mappings::judge(one, process, self.has_own_ipc, allowed)));
        }
        findings.extend(self.terminals());
        findings.extend(mounts::judge(&self.mounts, &self.external, allowed));
        findings.extend(self.labels());
        if self.is_cut {
            findings.push(Finding::warning(
                Class::Unsupported,
                format!("too much to look at: {} was looked at", self.summary()),
            ));
        }
        findings
    }

    /// Terminals whose master is outside: CRIU gives back one.
    fn terminals(&self) -> Option<Finding> {
        let all = || self.processes.iter().flat_map(|process| &process.descriptors);
        let is_inside = |one: &&descriptors::Descriptor| {
            one.mount().is_some_and(|mount| self.mount_ids.contains_key(&mount))
        };
        let masters: BTreeSet<u32> = all().filter_map(descriptors::Descriptor::master_of).collect();
        let slaves: BTreeSet<u32> =
            all().filter(is_inside).filter_map(descriptors::Descriptor::terminal).collect();
        let orphans: Vec<u32> = slaves.difference(&masters).copied().collect();
        let second = orphans.get(1)?;
        Some(Finding::fails(Class::TtySecond, format!("/dev/pts/{second}, besides /dev/pts/{}", orphans[0])))
    }

    /// The security profiles, which the restoring machine must have; each once.
    fn labels(&self) -> Vec<Finding> {
        let confined = |label: &&String| label.as_str() != "unconfined";
        let labels: BTreeSet<&String> =
            self.processes.iter().filter_map(|one| one.label.as_ref()).filter(confined).collect();
        labels.into_iter().map(|label| Finding::ok(Class::Lsm, label)).collect()
    }

    /// Memory that a dump writes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.processes.iter().map(|process| process.status.memory).sum()
    }

    /// Whether it has connections that packets could disturb.
    pub(super) fn is_connected(&self) -> bool {
        self.judge(&Allowed::default(), false).iter().any(|finding| finding.class == Class::TcpEstablished)
    }

    /// How much there was to look at.
    pub(super) fn summary(&self) -> String {
        let descriptors: usize = self.processes.iter().map(|process| process.descriptors.len()).sum();
        format!("{} processes, {descriptors} descriptors, {} mounts", self.processes.len(), self.mounts.len())
    }
}

/// Says in a diagnosis what CRIU's log does not: which socket, whose descriptor, of what program.
pub(super) fn complete(diagnosis: &mut Diagnosis, findings: &[Finding]) {
    let fits =
        |finding: &&Finding| finding.verdict == Verdict::WouldFail && is_same(finding.class, diagnosis.class);
    let is_blamed = |finding: &&Finding| finding.pid.is_some() && finding.pid == diagnosis.pid;
    let all = || findings.iter().filter(fits);
    if let Some(found) = all().find(is_blamed).or_else(|| all().next()) {
        diagnosis.class = found.class;
        diagnosis.object = Some(found.object.clone());
        diagnosis.cure.clone_from(&found.cure);
    } else if let (Some(pid), Some(object)) = (diagnosis.pid, &mut diagnosis.object) {
        let bare = format!("process {pid}");
        *object = object.replace(&bare, &processes::shown(pid, &processes::name(pid)));
    }
}

/// Whether what was found may be what CRIU means, which does not look at all that a unix socket is before it gives up.
fn is_same(found: Class, told: Class) -> bool {
    const UNIX: [Class; 4] =
        [Class::UnixExternal, Class::UnixExternalStream, Class::UnixExternalUnnamed, Class::UnixElsewhere];
    // What is traced by another does not stop for CRIU, which waits for it.
    let is_waited_for = (found, told) == (Class::Traced, Class::FreezeTimeout);
    found == told || is_waited_for || (UNIX.contains(&found) && UNIX.contains(&told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(class: Class, pid: Option<i32>) -> Diagnosis {
        let object = pid.map(|pid| format!("process {pid}"));
        Diagnosis { class, object, cure: class.cure().to_owned(), pid, line: String::new() }
    }

    #[test]
    fn what_was_found_completes_what_the_log_tells() {
        let findings = [
            Finding::ok(Class::TcpEstablished, "allowed"),
            Finding::fails(Class::TcpEstablished, "first").of(7),
            Finding::fails(Class::TcpEstablished, "second").of(8),
            Finding::fails(Class::UnixExternalStream, "a stream"),
        ];
        let completed = |class, pid| {
            let mut diagnosis = diagnosis(class, pid);
            complete(&mut diagnosis, &findings);
            (diagnosis.class, diagnosis.object.unwrap_or_default())
        };
        assert_eq!(completed(Class::TcpEstablished, Some(8)), (Class::TcpEstablished, "second".into()));
        assert_eq!(completed(Class::TcpEstablished, None), (Class::TcpEstablished, "first".into()));
        assert_eq!(completed(Class::UnixExternal, Some(9)), (Class::UnixExternalStream, "a stream".into()));
        let pid = i32::try_from(std::process::id()).unwrap();
        let (class, object) = completed(Class::IoUring, Some(pid));
        assert!(class == Class::IoUring && object.starts_with(&format!("process {pid} (")), "{object}");
    }
}
