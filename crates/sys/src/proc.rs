//! What /proc tells of a process.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// The parts of `/proc/PID/stat` that say whether a process is still the one that was started (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter: `R`, `S`, `D`, `Z`, `T`, `X` ...
    pub state: u8,
    /// Its parent's process id; 0 when that is outside this pid namespace.
    pub parent: i32,
    /// When it started, in clock ticks since boot; with the pid, it names a process for good.
    pub start_time: u64,
    /// How it has ended, or the signal that has stopped it, until its parent has waited for that (wait(2), `WUNTRACED`). Since Linux
    /// 5.17 the signal is told while the process is frozen, too, which since 6.1 hides the state `T`.
    exit_code: i32,
}

impl Stat {
    /// Whether a signal has stopped the process; not told of all that are frozen.
    pub fn is_stopped(&self) -> bool {
        self.state == b'T' || self.stop_signal().is_some()
    }

    /// The signal that has done it, if that is known.
    pub fn stop_signal(&self) -> Option<i32> {
        const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        STOPPING.contains(&self.exit_code).then_some(self.exit_code)
    }

    /// Whether the process has ended and waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// What the text of such a file says; None when it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // The second field is the command in parentheses, which may itself hold spaces and parentheses: count from the last one.
        let close = bytes.iter().rposition(|b| *b == b')')?;
        let mut fields = bytes[close + 1..].split(|b| b.is_ascii_whitespace()).filter(|f| !f.is_empty());
        let state = *fields.next()?.first()?;
        let parent = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        // Field 22 is starttime; fields 3 and 4 are consumed.
        let start_time = std::str::from_utf8(fields.nth(17)?).ok()?.parse().ok()?;
        // Field 52, the last one, is exit_code.
        let exit_code = fields.nth(29).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        Some(Self { state, parent, start_time, exit_code: exit_code.unwrap_or(0) })
    }
}

/// Reads a process' [`Stat`]; None when there is no such process.
pub fn stat(pid: Pid) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let mut buffer = [0; STAT_SIZE];
    let read = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut buffer));
    match read {
        Ok(size) => {
            Stat::parse(&buffer[..size]).map(Some).ok_or_else(|| Error::new("parse", path, libc::EINVAL))
        }
        // ESRCH: it ended between the open and the read.
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(e) => Err(Error::new("read", format!("{path:?}"), e.raw_os_error())),
    }
}

/// The thread that a process waits to seize: with PTRACE_SEIZE (ptrace(2)) it has become its tracer, and the call does not return
/// before the thread, which a signal has stopped, has become a traced one. None as well where the kernel does not tell.
pub fn waits_to_seize(tracer: Pid) -> Option<Pid> {
    let thread = seized_by(&std::fs::read_to_string(format!("/proc/{tracer}/syscall")).ok()?)?;
    (tracer_of(thread) == Some(tracer)).then_some(thread)
}

/// Who traces a process (ptrace(2)), if anybody does.
pub fn tracer_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok());
    Pid::from_raw(tracer?)
}

/// Whom a process that is in this system call (`NUMBER ARGUMENT...`, proc_pid_syscall(5)) seizes.
fn seized_by(call: &str) -> Option<Pid> {
    const PTRACE_SEIZE: u64 = 0x4206;
    let mut words = call.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let is_seize = number == libc::SYS_ptrace && argument()? == PTRACE_SEIZE;
    is_seize.then(argument)?.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
}

/// More than 52 numbers and a command of 15 bytes take. The kernel hands all of it over in one read.
const STAT_SIZE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        let line = b"42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 1 2 3";
        assert_eq!(Stat::parse(line), Some(Stat { state: b'S', parent: 1, start_time: 7777, exit_code: 0 }));
    }

    #[test]
    fn what_a_signal_has_stopped_is_seen_frozen_too() {
        let signal = |state: char, exit_code: i32| {
            let line = format!("7 (a) {state} 1{} {exit_code}", " 0".repeat(47));
            let stat = Stat::parse(line.as_bytes()).unwrap();
            (stat.is_stopped(), stat.stop_signal())
        };
        assert_eq!(signal('S', 0), (false, None));
        assert_eq!(signal('D', libc::SIGTSTP), (true, Some(libc::SIGTSTP)));
        // An older kernel, or one whose parent knows.
        assert_eq!(signal('T', 0), (true, None));
        // Killed, and ended by itself.
        assert_eq!((signal('Z', libc::SIGKILL), signal('Z', 19 << 8)), ((false, None), (false, None)));
    }

    #[test]
    fn only_a_seizing_process_seizes() {
        let number = libc::SYS_ptrace;
        let seizes = |call: &str| seized_by(call).map(Pid::as_raw_pid);
        assert_eq!(seizes(&format!("{number} 0x4206 0x12 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n")), Some(18));
        assert_eq!(seizes(&format!("{number} 0x4207 0x12 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n")), None);
        assert_eq!(seizes("61 0x4206 0x12 0x0\n"), None);
        assert_eq!((seizes("running\n"), seizes("-1 0x7ffd 0x7f12\n"), seizes("")), (None, None, None));
        assert_eq!(waits_to_seize(rustix::process::getpid()), None);
    }

    #[test]
    fn finds_this_process_and_no_impossible_one() {
        assert!(stat(rustix::process::getpid()).unwrap().is_some());
        assert_eq!(stat(Pid::from_raw(i32::MAX).unwrap()).unwrap(), None);
    }
}
