//! Running one command and saying what it cost.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::ops::Add;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};
use sys::process::{Forked, Namespaces};
use sys::rusage::Ended;
use sys::signal::Signals;

/// No command of ours takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From before the fork until it was reaped.
    pub(crate) wall: Duration,
    /// User and system time of the command and of every process that it, or we, reaped for it.
    pub(crate) cpu: Duration,
    /// The resident set of the largest single process among these, in KiB.
    pub(crate) peak: u64,
}

impl Add for Cost {
    type Output = Self;

    /// One after the other.
    fn add(self, next: Self) -> Self {
        Self { wall: self.wall + next.wall, cpu: self.cpu + next.cpu, peak: self.peak.max(next.peak) }
    }
}

impl Cost {
    /// With what `process` used in the background: its CPU time and its peak, but not its lifetime.
    pub(crate) fn with(self, process: &Ended) -> Self {
        self + Self { wall: Duration::ZERO, cpu: process.user + process.system, peak: process.max_rss }
    }
}

/// Starts commands and reaps every process that they leave behind.
///
/// It is the subreaper of all that it starts. A detached container's init therefore becomes its child, is reaped the moment it
/// ends (no runtime has to look at a zombie), and its CPU time, which no runtime's own usage contains, can be counted.
///
/// It forks rather than vforks, because a vforked process would inherit this program's peak memory as its own, and that is
/// more than a small runtime needs. Each command has a process group of its own: Ctrl-C stops the bench between two samples,
/// not a runtime in the middle of its work.
#[derive(Debug)]
pub(crate) struct Runner {
    signals: Signals,
    null: File,
    env: Vec<CString>,
    ended: RefCell<HashMap<Pid, Ended>>,
    interrupted: Cell<bool>,
}

impl Runner {
    /// Blocks signals and becomes the subreaper; commands get the environment `env` (`NAME=value`) and nothing else.
    pub(crate) fn new(env: &[String]) -> Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("prctl")?;
        Ok(Self {
            signals: Signals::take_all()?,
            null: File::options().read(true).write(true).open("/dev/null").context("/dev/null")?,
            env: env.iter().map(|pair| text(pair)).collect::<Result<_>>()?,
            ended: RefCell::default(),
            interrupted: Cell::new(false),
        })
    }

    /// Runs a command to its end, its standard streams on /dev/null; an error unless it succeeds.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Cost> {
        self.run_telling(args, &self.null)
    }

    /// The same, but its standard error is a file.
    pub(crate) fn run_telling(&self, args: &[&str], errors: &File) -> Result<Cost> {
        let argv = args.iter().map(|arg| text(arg)).collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        let pid = match sys::process::fork(Namespaces::default(), None)? {
            Forked::Child => self.become_command(&argv, errors),
            Forked::Parent(child) => child.pid,
        };
        let ended = self.wait(pid)?;
        let wall = start.elapsed();
        ensure!(ended.status.success(), "{}", ended.status);
        Ok(Cost { wall, ..Cost::default() }.with(&ended))
    }

    /// The child's side of [`Self::run_telling`].
    fn become_command(&self, argv: &[CString], errors: &File) -> ! {
        let ready = rustix::process::setpgid(None, None)
            .and_then(|()| rustix::stdio::dup2_stdin(&self.null))
            .and_then(|()| rustix::stdio::dup2_stdout(&self.null))
            .and_then(|()| rustix::stdio::dup2_stderr(errors));
        if ready.is_ok() && sys::signal::reset_all().is_ok() {
            let _ = sys::process::exec(&argv[0], argv, &self.env);
        }
        sys::process::exit_now(127)
    }

    /// Waits for a child, or for a descendant that has lost its parents; reaps whatever else ends meanwhile.
    pub(crate) fn wait(&self, pid: Pid) -> Result<Ended> {
        let deadline = Instant::now() + LIMIT;
        loop {
            while let Some(ended) = sys::rusage::reap()? {
                self.ended.borrow_mut().insert(ended.pid, ended);
            }
            if let Some(ended) = self.ended.borrow_mut().remove(&pid) {
                return Ok(ended);
            }
            if !self.sleep_until(deadline)? {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                bail!("process {pid} has not ended within {} s", LIMIT.as_secs());
            }
        }
    }

    /// Sleeps until a signal comes (true) or the time is over (false).
    fn sleep_until(&self, deadline: Instant) -> Result<bool> {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
        let events = match poll(&mut [PollFd::new(self.signals.fd(), PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => 1,
            other => other.context("poll")?,
        };
        self.note_signals();
        Ok(events > 0)
    }

    fn note_signals(&self) {
        let deadly = [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw);
        while let Some(signal) = self.signals.next() {
            if deadly.contains(&signal) {
                self.interrupted.set(true);
            }
        }
    }

    /// An error once somebody has asked us to stop.
    pub(crate) fn check_interrupt(&self) -> Result<()> {
        self.note_signals();
        ensure!(!self.interrupted.get(), "interrupted");
        Ok(())
    }

    /// Forgets who has ended so far, before another process can have the same number.
    pub(crate) fn forget_ended(&self) {
        self.ended.borrow_mut().clear();
    }

    /// Waits until all has ended that commands have left running, but for these daemons.
    pub(crate) fn wait_for_stragglers(&self, daemons: &[Pid]) -> Result<()> {
        while let Some(pid) = children()?.into_iter().find(|pid| !daemons.contains(pid)) {
            self.wait(pid)?;
        }
        Ok(())
    }

    /// Kills and reaps all that a failed command left running: all processes that have become our children.
    pub(crate) fn kill_leftovers(&self) -> Result<()> {
        while let Some(pid) = children()?.first() {
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
            self.wait(*pid)?;
        }
        Ok(())
    }
}

fn children() -> Result<Vec<Pid>> {
    // This program has one thread, whose children are all there are.
    let list = std::fs::read_to_string("/proc/thread-self/children").context("/proc/thread-self/children")?;
    Ok(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

fn text(arg: &str) -> Result<CString> {
    CString::new(arg).with_context(|| format!("{arg:?} has a zero byte"))
}
