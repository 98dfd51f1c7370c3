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
}

impl Stat {
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
        Some(Self { state, parent, start_time })
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

/// More than 52 numbers and a command of 15 bytes take. The kernel hands all of it over in one read.
const STAT_SIZE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        let line = b"42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 1 2 3";
        assert_eq!(Stat::parse(line), Some(Stat { state: b'S', parent: 1, start_time: 7777 }));
    }

    #[test]
    fn finds_this_process_and_no_impossible_one() {
        assert!(stat(rustix::process::getpid()).unwrap().is_some());
        assert_eq!(stat(Pid::from_raw(i32::MAX).unwrap()).unwrap(), None);
    }
}
