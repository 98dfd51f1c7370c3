//! A criu process and the socket to it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use sys::spawn::{Child, Exit, Spawn};
use sys::{Context, seqpacket};

use crate::exchange::{Ending, Exchange, Refusal, Timeline};
use crate::wire::{CriuOpts, CriuReq, CriuResp};
use crate::{Death, Error, Failure, Features, Images, Notify, Operation, Result, Version, diagnose, log};

/// The number of criu's end of the socket inside criu, as `criu swrk 3` says.
const SOCKET: i32 = 3;

/// What criu gets of our environment: where it finds tar, ip and iptables, and its configuration and plugins.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "CRIU_CONFIG_FILE", "CRIU_LIBS_DIR", "XDG_RUNTIME_DIR"];

/// For a caller without a PATH.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long criu may take to put things back in order after its socket was closed in the middle of an operation, and
/// to end after its last answer. Killed before that, it would leave the tasks stopped, with its code in their memory.
const GRACE: Duration = Duration::from_secs(10);

/// How much of what criu wrote to its standard error is read.
const LAST_WORDS: usize = 4096;

/// A criu to be started.
pub struct Launch<'a> {
    binary: PathBuf,
    passed: Vec<BorrowedFd<'a>>,
    sealed: bool,
    outlives_us: bool,
    session_keyring: Option<CString>,
}

impl<'a> Launch<'a> {
    /// With the program at `binary`, an absolute path ([`crate::binary::find`]).
    pub fn new(binary: PathBuf) -> Self {
        Self { binary, passed: Vec::new(), sealed: false, outlives_us: false, session_keyring: None }
    }

    /// Has criu executed from where nobody can write to it. For a restore: its tasks are criu until they are what they were, and
    /// the container can see them (CVE-2019-5736).
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// Gives criu, and with it the tasks that it restores, a new session keyring of this name in place of ours: keyrings are not
    /// in the images.
    pub fn session_keyring(&mut self, name: CString) {
        self.session_keyring = Some(name);
    }

    /// Lets criu live when we are killed. For a dump: criu finds its socket closed at the next stage, takes its code out of the tasks
    /// and lets them go on; killed with us, it would leave them with it.
    pub fn outlive_us(&mut self) {
        self.outlives_us = true;
    }

    /// Hands a descriptor to criu; the answer is its number there, for [`crate::InheritFd`] and
    /// [`crate::PageSocket::Fd`].
    pub fn pass(&mut self, fd: BorrowedFd<'a>) -> i32 {
        self.passed.push(fd);
        SOCKET + i32::try_from(self.passed.len()).unwrap_or(i32::MAX)
    }

    /// Starts it and returns at once: criu needs 30 to 60 ms to get ready, and until then requests wait in the
    /// socket.
    pub fn start(self) -> Result<Session> {
        let (ours, theirs) = seqpacket::pair().map_err(Error::Start)?;
        let (child, stderr) = self.spawn(theirs.as_fd()).map_err(Error::Start)?;
        Ok(Session::new(ours, Some(Process { child, stderr, leads_group: self.outlives_us })))
    }

    fn spawn(&self, socket: BorrowedFd<'_>) -> sys::Result<(Child, File)> {
        let stdio = Stdio::open()?;
        let mut spawn = stdio.program(&self.binary)?;
        if self.outlives_us {
            // Of its own group, so that what it forks to try out the kernel can be ended with it; nor is a ^C meant for it.
            spawn.ignore_broken_pipes().own_group();
        } else {
            spawn.die_with_parent();
        }
        spawn.arg("swrk")?.arg(SOCKET.to_string())?.fd(socket, SOCKET);
        for (fd, number) in self.passed.iter().zip(SOCKET + 1..) {
            spawn.fd(*fd, number);
        }
        if let Some(name) = &self.session_keyring {
            spawn.session_keyring(name);
        }
        let image = if self.sealed { sys::sealed::program(&self.binary)? } else { None };
        if let Some(image) = &image {
            spawn.image(image.as_fd());
        }
        let child = spawn.spawn()?;
        drop(spawn);
        Ok((child, stdio.stderr))
    }
}

/// What criu has as stdio: nothing to read, and its last words in memory.
pub(crate) struct Stdio {
    null: File,
    pub(crate) stderr: File,
}

impl Stdio {
    pub(crate) fn open() -> sys::Result<Self> {
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.call("open", || "\"/dev/null\"".into())?;
        let stderr = memfd_create("criu-stderr", MemfdFlags::CLOEXEC);
        let stderr = File::from(stderr.call("memfd_create", || "\"criu-stderr\"".into())?);
        Ok(Self { null, stderr })
    }

    /// criu with this stdio and its environment.
    pub(crate) fn program(&self, binary: &Path) -> sys::Result<Spawn<'_>> {
        let mut spawn = Spawn::new(binary)?;
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name).or((name == "PATH").then(|| DEFAULT_PATH.into())) {
                spawn.env(name, value)?;
            }
        }
        spawn.fd(self.null.as_fd(), 0).fd(self.null.as_fd(), 1).fd(self.stderr.as_fd(), 2);
        Ok(spawn)
    }
}

/// A conversation with one criu process.
///
/// # One process per operation
///
/// CRIU's state after a dump or a restore is not fit for another one, so the process ends with it; types here say
/// so, by taking `self`. Starting criu is what costs (its probing of the kernel), so questions are asked on the
/// session that then does the work, and a session can be started early, while the caller still prepares.
///
/// criu dies with us (`PR_SET_PDEATHSIG`: with the thread that called [`Launch::start`]) unless it is told otherwise
/// ([`Launch::outlive_us`]). The other way round, the
/// child is reaped on every path: when an operation is over, or fails, or is abandoned by dropping the session.
/// Where criu is in the middle of something it gets ten seconds after its socket closed, since it then undoes what
/// it began; at other times it is killed at once.
#[derive(Debug)]
pub struct Session {
    socket: Option<OwnedFd>,
    process: Option<Process>,
    /// The request that ended the session.
    ended_by: Option<Operation>,
    /// Whether criu may be in the middle of something.
    busy: bool,
    /// Children of criu that nobody has waited for.
    servers: Vec<u32>,
}

/// criu itself, when we started it.
#[derive(Debug)]
struct Process {
    child: Child,
    stderr: File,
    /// Nobody else is in its process group but its own children.
    leads_group: bool,
}

/// What a request needs besides its type.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) opts: Option<CriuOpts>,
    pub(crate) images: Option<&'a Images<'a>>,
    pub(crate) features: Option<Features>,
    pub(crate) pid: Option<u32>,
    pub(crate) keep_open: bool,
}

impl Session {
    /// A session over a connected `SOCK_SEQPACKET` socket, with no process of ours at its other end.
    pub fn over(socket: OwnedFd) -> Self {
        Self::new(socket, None)
    }

    fn new(socket: OwnedFd, process: Option<Process>) -> Self {
        Self { socket: Some(socket), process, ended_by: None, busy: false, servers: Vec::new() }
    }

    /// criu's process id, when we started it.
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(|process| process.child.pid())
    }

    /// criu's version.
    pub fn version(&mut self) -> Result<Version> {
        let (answer, _) = self.ask(Operation::Version, Request::default())?;
        let version = answer.version.ok_or_else(|| missing(Operation::Version, "version"))?;
        Ok(Version::from_wire(version))
    }

    /// Which of the `wanted` features work with this criu on this kernel.
    pub fn features(&mut self, wanted: Features) -> Result<Features> {
        let request = Request { features: Some(wanted), ..Default::default() };
        let (answer, _) = self.ask(Operation::FeatureCheck, request)?;
        Ok(Features::from_wire(answer.features.unwrap_or_default()))
    }

    /// Whether the kernel has what criu needs; the error tells what it lacks. Ends the session.
    pub fn check(mut self, images: &Images<'_>) -> Result<()> {
        let request = Request { opts: Some(images.to_wire()), images: Some(images), ..Default::default() };
        self.call(Operation::Check, request, &mut ()).map(drop)
    }

    /// Writes what this CPU can do into the images; see [`Session::cpuinfo_check`].
    pub fn cpuinfo_dump(&mut self, images: &Images<'_>, cpu_cap: Option<u32>) -> Result<()> {
        self.cpuinfo(Operation::CpuinfoDump, images, cpu_cap)
    }

    /// Whether a tree dumped where the images' `cpuinfo.img` was written can run on this CPU.
    pub fn cpuinfo_check(&mut self, images: &Images<'_>, cpu_cap: Option<u32>) -> Result<()> {
        self.cpuinfo(Operation::CpuinfoCheck, images, cpu_cap)
    }

    fn cpuinfo(&mut self, operation: Operation, images: &Images<'_>, cpu_cap: Option<u32>) -> Result<()> {
        let opts = CriuOpts { cpu_cap, ..images.to_wire() };
        let request = Request { opts: Some(opts), images: Some(images), ..Default::default() };
        self.ask(operation, request).map(drop)
    }

    /// Waits for a child of criu's ([`Session::page_server_child`]) and tells how it ended. Ends the session.
    pub fn wait_pid(mut self, pid: u32) -> Result<Exit> {
        let request = Request { pid: Some(pid), ..Default::default() };
        let (answer, _) = self.call(Operation::WaitPid, request, &mut ())?;
        self.servers.retain(|server| *server != pid);
        let status = answer.status.ok_or_else(|| missing(Operation::WaitPid, "status"))?;
        Ok(Exit::from_status(status))
    }

    /// A child of criu's that must not outlive the session unless it is waited for.
    pub(crate) fn adopt(&mut self, pid: u32) {
        self.servers.push(pid);
    }

    /// A question, after which the session goes on.
    pub(crate) fn ask(&mut self, operation: Operation, request: Request<'_>) -> Result<(CriuResp, Timeline)> {
        self.exchange(operation, Request { keep_open: true, ..request }, operation.kind().into(), &mut ())
    }

    /// An operation that criu does not come back from.
    pub(crate) fn call(
        &mut self,
        operation: Operation,
        request: Request<'_>,
        notify: &mut dyn Notify,
    ) -> Result<(CriuResp, Timeline)> {
        self.call_as(operation, request, operation.kind().into(), notify)
    }

    /// The same for requests that have another type than their answer.
    pub(crate) fn call_as(
        &mut self,
        operation: Operation,
        request: Request<'_>,
        kind: i32,
        notify: &mut dyn Notify,
    ) -> Result<(CriuResp, Timeline)> {
        let done = self.exchange(operation, request, kind, notify);
        self.ended_by.get_or_insert(operation);
        done
    }

    /// One request and its answer. Any error ends the session, since criu ends, or is no longer to be understood.
    pub(crate) fn exchange(
        &mut self,
        operation: Operation,
        request: Request<'_>,
        kind: i32,
        notify: &mut dyn Notify,
    ) -> Result<(CriuResp, Timeline)> {
        let socket = match &self.socket {
            Some(socket) if self.ended_by.is_none() => socket.as_fd(),
            _ => return Err(Error::Closed { operation, ended_by: self.ended_by.unwrap_or(operation) }),
        };
        let message = CriuReq {
            r#type: kind,
            opts: request.opts,
            keep_open: request.keep_open.then_some(true),
            features: request.features.map(Features::to_wire),
            pid: request.pid,
            ..Default::default()
        };
        let log = request.images.map(Images::log);
        let log = || log.as_ref().map(log::Expected::read).unwrap_or_default();
        self.busy = true;
        let process = self.process.as_ref().map(|process| process.child.pidfd());
        let mut exchange = Exchange::new(socket, process, operation);
        let ending = exchange.run(&message, notify);
        let (stage, timeline) = (exchange.stage(), exchange.timeline);
        self.busy = ending.is_err();
        let error = match ending {
            Ok(Ending::Answer { answer, refusal }) if answer.success => {
                if let Some(late) = refusal {
                    ::log::warn!(
                        "criu {operation}: {} refused too late, criu went on: {}",
                        late.stage,
                        late.reason
                    );
                }
                notify.answered();
                return Ok((*answer, timeline));
            }
            Ok(Ending::Answer { answer, refusal }) => {
                failure(Failed { operation, stage, refusal, answer }, log())
            }
            Ok(Ending::Closed) => self.death(operation, stage, log()),
            Err(error) => error,
        };
        self.ended_by = Some(operation);
        Err(error)
    }

    /// criu closed the socket: collects how it ended and what it said.
    fn death(&mut self, operation: Operation, stage: Option<String>, mut words: log::Report) -> Error {
        self.socket = None;
        let mut exit = None;
        if let Some(mut process) = self.process.take() {
            exit = process.child.wait_for(GRACE).ok().flatten();
            if process.leads_group {
                process.child.kill_group();
            }
            add_last_words(&mut words, &process.stderr);
        }
        let diagnosis = diagnose::diagnose(&words.lines);
        Error::Died(Box::new(Death { operation, stage, exit, words, diagnosis }))
    }
}

/// Adds the end of what criu wrote to its standard error.
pub(crate) fn add_last_words(words: &mut log::Report, stderr: &File) {
    let size = stderr.metadata().map_or(0, |meta| meta.len());
    let mut bytes = vec![0; LAST_WORDS];
    let got = stderr.read_at(&mut bytes, size.saturating_sub(LAST_WORDS as u64)).unwrap_or(0);
    bytes.truncate(got);
    // Both go to memory or to nowhere: reading cannot fail.
    let _ = words.scan(&bytes[..]);
    words.tail(&String::from_utf8_lossy(&bytes));
}

impl Drop for Session {
    fn drop(&mut self) {
        // criu has not reaped them yet, so their pids are still theirs.
        for server in self.servers.drain(..).filter_map(|pid| i32::try_from(pid).ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(server) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        self.socket = None;
        if let Some(process) = &mut self.process
            && (self.busy || self.ended_by.is_some())
        {
            // Dropping the child kills and reaps it, in case it is still there.
            let _ = process.child.wait_for(GRACE);
        }
    }
}

/// An answer that says no.
pub(crate) struct Failed {
    pub(crate) operation: Operation,
    pub(crate) stage: Option<String>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) answer: Box<CriuResp>,
}

/// Completes a bad answer with what the log says.
pub(crate) fn failure(failed: Failed, log: log::Report) -> Error {
    // A log on a full disk has no more than its beginning.
    let told: Vec<_> = failed.answer.cr_errmsg.iter().filter_map(|line| log::Line::parse(line)).collect();
    Error::Failed(Box::new(Failure {
        operation: failed.operation,
        stage: failed.stage,
        refusal: failed.refusal,
        errno: failed.answer.cr_errno.filter(|errno| *errno != 0),
        diagnosis: diagnose::diagnose(&log.lines).or_else(|| diagnose::diagnose(&told)),
        message: failed.answer.cr_errmsg,
        log,
    }))
}

/// An answer that lacks what it is about.
pub(crate) fn missing(operation: Operation, what: &str) -> Error {
    Error::Protocol { operation, stage: None, problem: format!("the answer has no {what}") }
}
