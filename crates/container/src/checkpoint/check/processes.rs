//! A container's processes: what each is and has.

use super::Allowed;
use super::descriptors::Descriptor;
use super::finding::{Finding, Verdict};
use super::mappings::Mapping;
use super::proc::{field, link, numbers, text};
use crate::checkpoint::stopped::Signals;
use criu::Class;
use rustix::process::{Pid, Signal};

/// More processes are not looked at.
const MOST: usize = 4096;
/// When so many have been looked at, no further process is.
const MOST_DESCRIPTORS: usize = 1 << 18;
/// More threads of one process are not looked at.
const MOST_THREADS: usize = 512;

/// The kinds of namespaces that CRIU dumps only as all processes share them.
const SHARED: [&str; 5] = ["pid", "user", "ipc", "uts", "time"];

/// What is known of a process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    /// Its namespaces (`/proc/PID/ns`), by kind, in the order of [`KINDS`].
    pub(super) namespaces: Vec<Option<String>>,
    pub(super) status: Status,
    /// The signal that has stopped it, and those that wait until it goes on.
    pub(super) stopped: Option<(Option<i32>, Signals)>,
    /// Whoever traces one of its threads.
    pub(super) tracer: Option<i32>,
    /// Its security label, if it has one.
    pub(super) label: Option<String>,
    /// The kernel keeps its limits from us.
    pub(super) is_closed: bool,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) mappings: Vec<Mapping>,
}

/// The kinds of namespaces that are noted.
pub(super) const KINDS: [&str; 7] = ["pid", "user", "ipc", "uts", "time", "net", "mnt"];

/// What is of use in `/proc/PID/status` (proc_pid_status(5)).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: char,
    /// The process that traces it; 0 for none.
    pub(super) tracer: i32,
    /// Its session, in its own pid namespace; 0 for one that is not in there.
    pub(super) session: i32,
    /// Memory that a dump writes: anonymous and shared, in RAM and swapped out; in bytes.
    pub(super) memory: u64,
}

impl Status {
    pub(super) fn parse(text: &str) -> Self {
        let number = |name| field(text, name).and_then(|value| value.split_whitespace().next()?.parse().ok());
        let kib = |name| number(name).unwrap_or(0_u64);
        Self {
            state: field(text, "State").and_then(|value| value.chars().next()).unwrap_or('?'),
            tracer: field(text, "TracerPid").and_then(|value| value.parse().ok()).unwrap_or(0),
            // One number for each nested namespace. A kernel without the line counts as one with a session.
            session: field(text, "NSsid")
                .and_then(|value| value.split_whitespace().next_back()?.parse().ok())
                .unwrap_or(-1),
            memory: (kib("RssAnon") + kib("RssShmem") + kib("VmSwap")) << 10,
        }
    }
}

impl Process {
    /// Reads everything about a process; None when it has gone.
    pub(super) fn read(pid: i32) -> Option<Self> {
        let status_text = text(&format!("/proc/{pid}/status"))?;
        let status = Status::parse(&status_text);
        let threads = numbers(&format!("/proc/{pid}/task")).into_iter().take(MOST_THREADS);
        let tracer_of = |tid| Some(Status::parse(&text(&format!("/proc/{pid}/task/{tid}/status"))?).tracer);
        let tracer = threads.filter_map(tracer_of).find(|tracer| *tracer != 0);
        let label = text(&format!("/proc/{pid}/attr/current"));
        Some(Self {
            pid,
            name: name(pid),
            namespaces: namespaces(pid),
            status,
            stopped: stop_signal(pid).map(|signal| (signal, Signals::parse(&status_text))),
            tracer,
            label: label
                .map(|label| label.trim_end_matches(['\0', '\n']).to_owned())
                .filter(|label| !label.is_empty()),
            is_closed: Pid::from_raw(pid).is_some_and(|pid| !sys::process::tells_limits(pid)),
            descriptors: Descriptor::all(pid),
            mappings: Mapping::all(pid),
        })
    }

    /// Reads them all, as long as they are not too many; and whether there were more.
    pub(super) fn read_all(pids: &[i32]) -> (Vec<Self>, bool) {
        let (mut found, mut descriptors) = (Vec::new(), 0);
        for (index, pid) in pids.iter().enumerate() {
            if index == MOST || descriptors > MOST_DESCRIPTORS {
                return (found, true);
            }
            let Some(process) = Self::read(*pid) else { continue };
            descriptors += process.descriptors.len();
            found.push(process);
        }
        (found, false)
    }

    /// `process 7 (sh)`.
    pub(super) fn shown(&self) -> String {
        shown(self.pid, &self.name)
    }

    /// Which namespace of a kind it is in.
    pub(super) fn namespace(&self, kind: &str) -> Option<&str> {
        let index = KINDS.iter().position(|known| *known == kind)?;
        self.namespaces.get(index)?.as_deref()
    }

    fn is_zombie(&self) -> bool {
        matches!(self.status.state, 'Z' | 'X')
    }
}

/// `process 7 (sh)`.
pub(super) fn shown(pid: i32, name: &str) -> String {
    if name.is_empty() { format!("process {pid}") } else { format!("process {pid} ({name})") }
}

/// What a process calls itself; nothing when it has gone.
pub(super) fn name(pid: i32) -> String {
    text(&format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

pub(super) fn namespaces(pid: i32) -> Vec<Option<String>> {
    KINDS.iter().map(|kind| link(&format!("/proc/{pid}/ns/{kind}"))).collect()
}

/// A process that is not below init: it is not dumped, and ends with the container unless that stays.
pub(super) fn outsider(pid: i32, allowed: &Allowed) -> Finding {
    let who = shown(pid, &name(pid));
    let found = if allowed.leave_running { Finding::warning } else { Finding::fails };
    found(Class::ExecProcess, who).of(pid)
}

/// What stands in the way of a process by itself, besides what it has open. `init` is the first one of the container.
pub(super) fn judge(process: &Process, init: &Process, allowed: &Allowed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let who = process.shown();
    if let Some(tracer) = process.tracer {
        let by = shown(tracer, &name(tracer));
        findings.push(Finding::fails(Class::Traced, format!("{who}, by {by}")));
    }
    if process.is_closed {
        findings.push(Finding::fails(Class::CriuRights, format!("limits of {who}")));
    }
    findings.extend(stopped(process));
    if process.status.session == 0 && !process.is_zombie() {
        findings.push(Finding::unless(allowed.shell_job, Class::Session, &who));
    }
    for kind in SHARED {
        let differ =
            matches!((process.namespace(kind), init.namespace(kind)), (Some(own), Some(of)) if own != of);
        if differ && !process.is_zombie() {
            findings.push(Finding::fails(Class::NamespaceNested, format!("{kind} namespace of {who}")));
        }
    }
    findings.into_iter().map(|finding| finding.of(process.pid)).collect()
}

/// A process that a signal has stopped, which it is after a restore, too.
fn stopped(process: &Process) -> Option<Finding> {
    let (by, signals) = process.stopped?;
    let known = by.and_then(Signal::from_named_raw);
    let (verdict, what) = match (signals.are_deadly(), signals.are_knotted()) {
        // CRIU(4.2) knows two signals that stop a process.
        _ if matches!(known, Some(Signal::TTIN | Signal::TTOU)) => {
            (Verdict::WouldFail, "is stopped by SIGTTIN or SIGTTOU, which CRIU does not know")
        }
        (true, true) => (Verdict::WouldFail, "is stopped twice, and a signal waits that would end it before"),
        // CRIU(4.2) restores it with the signal, and stops it afterwards.
        (true, false) => (Verdict::Warning, "is stopped, and a signal waits that will end it at a restore"),
        (false, _) if known.is_none() => (
            Verdict::Warning,
            "is stopped, perhaps by its terminal (SIGTTIN, SIGTTOU), which CRIU does not know",
        ),
        (false, _) => (Verdict::Ok, "is stopped by a signal, and will stay so"),
    };
    let finding = Finding::ok(Class::ProcessState, format!("{} {what}", process.shown()));
    Some(Finding { verdict, ..finding }.cured_by("let it go on (SIGCONT) first"))
}

/// Whether a signal has stopped a process, and which, if that is known.
fn stop_signal(pid: i32) -> Option<Option<i32>> {
    let stat = sys::proc::stat(Pid::from_raw(pid)?).ok()??;
    stat.is_stopped().then(|| stat.stop_signal())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsh\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t12\nNgid:\t0\nPid:\t12\nPPid:\t1\nTracerPid:\t0\n\
        NSpid:\t4711\t12\nNSpgid:\t4711\t1\nNSsid:\t4700\t1\nVmPeak:\t    4512 kB\nRssAnon:\t     112 kB\nRssFile:\t    1024 kB\n\
        RssShmem:\t       8 kB\nVmSwap:\t       4 kB\n";

    #[test]
    fn what_is_of_use_is_found_in_a_status() {
        let nothing = Status { state: '?', tracer: 0, session: -1, memory: 0 };
        assert_eq!(Status::parse(STATUS), Status { state: 'S', session: 1, memory: 124 << 10, ..nothing });
        assert_eq!(Status::parse(""), nothing);
    }

    fn process(pid: i32, pid_namespace: &str) -> Process {
        let mut namespaces = vec![None; KINDS.len()];
        namespaces[0] = Some(pid_namespace.to_owned());
        Process { pid, name: "sh".into(), namespaces, status: Status::parse(STATUS), ..Process::default() }
    }

    fn classes(process: &Process, allowed: &Allowed) -> Vec<(bool, Class)> {
        let findings = judge(process, &process_one(), allowed);
        findings.iter().map(|finding| (finding.verdict == Verdict::Ok, finding.class)).collect()
    }

    fn process_one() -> Process {
        process(7, "pid:[1]")
    }

    #[test]
    fn each_thing_in_the_way_is_told() {
        let (strict, lax) = (Allowed::default(), Allowed { shell_job: true, ..Allowed::default() });
        assert_eq!(classes(&process_one(), &strict), []);
        let mut odd = process(9, "pid:[2]");
        odd.tracer = Some(i32::MAX);
        odd.is_closed = true;
        odd.status.session = 0;
        use Class::{CriuRights, NamespaceNested, Session, Traced};
        let with =
            |session| [(false, Traced), (false, CriuRights), (session, Session), (false, NamespaceNested)];
        assert_eq!(classes(&odd, &strict), with(false));
        assert_eq!(classes(&odd, &lax), with(true));
        odd.is_closed = false;
        odd.status.state = 'Z';
        assert_eq!(classes(&odd, &strict), [(false, Traced)]);
    }

    #[test]
    fn a_stopped_process_is_told_of() {
        let verdict = |signal: Signal, pending| {
            let mut stopped = process_one();
            let signals = Signals::parse(&format!("ShdPnd:\t{pending:016x}\n"));
            stopped.stopped = Some((Some(signal.as_raw()), signals));
            judge(&stopped, &process_one(), &Allowed::default()).first().map(|found| found.verdict)
        };
        use Verdict::{Ok, Warning, WouldFail};
        assert_eq!(verdict(Signal::STOP, 0), Some(Ok));
        // SIGCHLD, SIGTERM, and SIGTERM with SIGSTOP.
        assert_eq!(verdict(Signal::STOP, 1 << 16), Some(Ok));
        assert_eq!(verdict(Signal::TSTP, 1 << 14), Some(Warning));
        assert_eq!(verdict(Signal::STOP, 1 << 14 | 1 << 18), Some(WouldFail));
        assert_eq!(verdict(Signal::TTIN, 0), Some(WouldFail));
        assert_eq!(verdict(Signal::TTOU, 0), Some(WouldFail));
    }
}
