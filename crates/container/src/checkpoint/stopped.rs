//! Processes that a signal has stopped (SIGSTOP, ^Z): what CRIU needs with them.
//!
//! KERNEL(v1): PTRACE_SEIZE (ptrace(2)) of a stopped thread returns when the thread has become a traced one, which it cannot while its
//! cgroup is frozen: CRIU, which seizes all threads of a frozen cgroup before it thaws it, would wait for good, and the container
//! stand still. So whoever waits for CRIU looks now and then whether CRIU waits for such a thread, and has its process in a cgroup that
//! is not frozen until CRIU has the thread. It runs nothing of its own there: it is stopped all the time, no signal is sent to it, and
//! what pends for it stays so. cgroup2's freezer knows no such trouble.
//!
//! CRIU(4.2): a process that it lets go on as a stopped one is left with a second SIGSTOP pending, and the next dump, which lets it take
//! that one, fails when another signal comes first. [`settle`] takes the second one away before.

use crate::error::Result;
use crate::store::{Astray, Entry, ProcessId, Record};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use sys::proc::Stat;

/// Between two looks where there are stopped processes, since CRIU waits for each thread of theirs.
const OFTEN: Duration = Duration::from_micros(500);
/// And otherwise: not all are known, and one may have been stopping when it was looked for.
const RARELY: Duration = Duration::from_millis(25);
/// How long a process may take to stop, or to become a traced one.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often CRIU is to be looked at while it seizes a container's processes; `None`: it needs no help.
pub(super) fn interval<'a>(record: &Record, mut living: impl Iterator<Item = &'a Stat>) -> Option<Duration> {
    record.cgroup.path("freezer")?;
    Some(if living.any(Stat::is_stopped) { OFTEN } else { RARELY })
}

/// The signals that wait for a process, and what they would do to it, each as a bit (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// Those that it does not block.
    pending: u64,
    /// Those of them that would end it.
    deadly: u64,
}

impl Signals {
    /// What the text of such a file says.
    pub(super) fn parse(status: &str) -> Self {
        let set = |name| {
            let value = |line: &str| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok();
            status.lines().find_map(value).unwrap_or(0)
        };
        let pending = (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:");
        let harmless = [Signal::CHILD, Signal::URG, Signal::WINCH, Signal::CONT].into_iter().chain(STOPPING);
        let deadly = harmless.fold(pending, |deadly, signal| deadly & !bit(signal));
        Self { pending, deadly: deadly & !set("SigIgn:") & !set("SigCgt:") }
    }

    fn of(pid: i32) -> Self {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
    }

    /// Whether the process would end of them if it went on.
    pub(super) fn are_deadly(self) -> bool {
        self.deadly != 0
    }

    /// Whether there is one that stops it once more, and one that comes before: the kernel delivers the lowest number first.
    pub(super) fn are_knotted(self) -> bool {
        let stopping = STOPPING.into_iter().fold(0, |all, signal| all | bit(signal));
        self.pending & stopping != 0 && self.pending & (bit(Signal::STOP) - 1) != 0
    }
}

/// The signals that stop a process.
const STOPPING: [Signal; 4] = [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU];

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Takes away the second stop of processes whose signals are knotted, while the container is frozen. SIGCONT does that, and with the
/// SIGSTOP that follows it none of them comes to run: let out, it takes the signals that wait and stops.
pub(super) fn settle(living: &BTreeMap<i32, Stat>, entry: &Entry, record: &mut Record) -> Result<()> {
    for (pid, stat) in living.iter().filter(|(_, stat)| stat.is_stopped()) {
        let signals = Signals::of(*pid);
        let Some(pid) = Pid::from_raw(*pid).filter(|_| signals.are_knotted() && !signals.are_deadly()) else {
            continue;
        };
        sys::process::kill(pid, Signal::CONT.as_raw())?;
        sys::process::kill(pid, stat.stop_signal().unwrap_or(Signal::STOP.as_raw()))?;
        let has_stopped = || {
            sys::proc::stat(pid).map_or(true, |now| now.is_none_or(|now| now.is_stopped() || now.is_dead()))
        };
        let_out(pid, entry, record, has_stopped)?;
    }
    Ok(())
}

/// What is to be done when `seizing`, the [`interval`], is over. Where there is one stopped process, there may be more.
pub(super) fn look(criu: Option<Pid>, seizing: &mut Option<Duration>, entry: &Entry, record: &mut Record) {
    if let (Some(criu), Some(interval)) = (criu, seizing)
        && help(criu, entry, record)
    {
        *interval = OFTEN;
    }
}

/// Looks whether CRIU waits for a stopped thread, and if so helps both; whether it did.
pub(crate) fn help(criu: Pid, entry: &Entry, record: &mut Record) -> bool {
    let Some(thread) = sys::proc::waits_to_seize(criu) else { return false };
    let has_seized = || sys::proc::waits_to_seize(criu) != Some(thread);
    if let Err(e) = let_out(thread, entry, record, has_seized) {
        log::warn!("{}: thread {thread} is stopped, and criu waits for it: {e}", entry.id);
    }
    true
}

/// Has a process where it is not frozen until something has come, or for too long.
fn let_out(process: Pid, entry: &Entry, record: &mut Record, until: impl Fn() -> bool) -> Result<()> {
    let Some(id) = ProcessId::of(process)? else { return Ok(()) };
    let freezer = record.cgroup.freezer_of(id.pid)?;
    // Written down first: were this process killed, the next command would bring it back.
    record.astray = Some(Astray { process: id, freezer });
    entry.save(record)?;
    record.cgroup.expel(id.pid)?;
    let since = Instant::now();
    while !until() && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
    log::debug!("{}: stopped process {process} was not frozen for {:?}", entry.id, since.elapsed());
    bring_back(record)
}

/// Brings back whom a killed `rt` has let out.
pub(crate) fn bring_back(record: &mut Record) -> Result<()> {
    let Some(Astray { process, freezer }) = record.astray.take() else { return Ok(()) };
    if process.is_alive()? {
        record.cgroup.readmit(process.pid, &freezer)?;
    }
    Ok(())
}

/// Waits for a criu whose `rt` was killed, at most so long; whether it has ended.
pub(crate) fn wait_for_criu(
    criu: ProcessId,
    entry: &Entry,
    record: &mut Record,
    limit: Duration,
) -> Result<bool> {
    let since = Instant::now();
    while since.elapsed() < limit {
        if criu.wait_end(Duration::from_millis(5))? {
            return Ok(true);
        }
        if let Some(pid) = Pid::from_raw(criu.pid) {
            help(pid, entry, record);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_what_they_would_do() {
        let signals = |pending: &[Signal], caught: &[Signal], blocked: &[Signal]| {
            let set = |signals: &[Signal]| signals.iter().fold(0, |set, signal| set | bit(*signal));
            let (pending, caught, blocked) = (set(pending), set(caught), set(blocked));
            let text = format!("ShdPnd:\t{pending:016x}\nSigBlk:\t{blocked:016x}\nSigCgt:\t{caught:016x}\n");
            let signals = Signals::parse(&text);
            (signals.are_deadly(), signals.are_knotted())
        };
        use Signal as S;
        assert_eq!(signals(&[], &[], &[]), (false, false));
        assert_eq!(signals(&[S::CHILD], &[], &[]), (false, false));
        assert_eq!(signals(&[S::STOP], &[], &[]), (false, false));
        assert_eq!(signals(&[S::STOP, S::CHILD], &[], &[]), (false, true));
        assert_eq!(signals(&[S::STOP, S::TERM], &[], &[]), (true, true));
        assert_eq!(signals(&[S::TERM], &[S::TERM], &[]), (false, false));
        assert_eq!(signals(&[S::TERM, S::TSTP], &[], &[S::TERM]), (false, false));
        assert_eq!(signals(&[S::STOP, S::WINCH], &[], &[]), (false, false));
    }
}
