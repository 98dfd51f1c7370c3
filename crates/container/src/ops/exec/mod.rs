//! `exec`: one more process in a running container.

mod adoption;
mod approach;
mod child;

use super::{init_pidfd, status, terminal, write_pid_file};
use crate::console;
use crate::error::{Error, Result};
use crate::filter::{self, Filter};
use crate::launch::wire;
use crate::launch::{KillOnDrop, console_ends, flag};
use crate::state::HookState;
use crate::status::Status;
use crate::store::{Entry, Init, Record, Store};
use adoption::Owner;
use approach::Helper;
use child::ChildSide;
use spec::{Config, Id, Process, capability_bit};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use sys::process::{Child, Exit, Namespaces};

/// Who an exec'ed process runs as (`--user UID[:GID]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecUser {
    /// The user id.
    pub uid: u32,
    /// The group id; None keeps the container process'.
    pub gid: Option<u32>,
}

/// A request to run a process in a container.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The container.
    pub id: Id,
    /// The whole process (`--process FILE`); the fields up to `no_new_privs` then are not looked at.
    pub process: Option<Process>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// `NAME=value` each, added to the container process' own.
    pub env: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// The user.
    pub user: Option<ExecUser>,
    /// Supplementary groups, added to the container process' own.
    pub additional_gids: Vec<u32>,
    /// Capabilities to add, by name.
    pub caps: Vec<String>,
    /// execve(2) can no longer grant privileges.
    pub no_new_privs: bool,
    /// Return when it runs, instead of when it has ended.
    pub detach: bool,
    /// Who receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Where its process id is to be written.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on it inherits.
    pub preserve_fds: u32,
    /// Start it in a paused container too, where it waits for the resume.
    pub ignore_paused: bool,
}

/// Runs a process in a container. In the foreground the outcome is how it ended; detached, None.
pub fn exec(store: &Store, request: &Exec) -> Result<Option<Exit>> {
    let (entry, record) = store.look(&request.id)?;
    let init = running_init(&entry, &record, request)?;
    let config = entry.config()?;
    let process = process(&config, request)?;
    let terminal = terminal(process.terminal, request.console_socket.as_deref(), request.detach)?;
    let (console, master_side) = console_ends(&terminal)?;
    // Orphans of an exec belong to the container's init, so there is nothing to adopt here.
    let signals = if request.detach { None } else { Some(super::foreground::prepare(true)?) };
    let owner = if request.detach && request.pid_file.is_none() { Owner::Init } else { Owner::Caller };
    let filter = Filter::of(&config, Some(store.root()))?;
    let new = New { process: &process, console, preserve_fds: request.preserve_fds, filter: filter.as_ref() };
    let Started { child, wire, helper } = start(&record, &config, init, owner, new)?;
    let killed_on_error = KillOnDrop(Some(&child));
    let state = || HookState::new(&entry.id, &record.bundle, &config).at("running", init.pid);
    filter::expect_ready(&wire, &child, filter.as_ref(), state)?;
    drop(helper);
    if let Some(path) = &request.pid_file {
        write_pid_file(path, child.pid.as_raw_pid())?;
    }
    let master = master_side.map(console::receive).transpose()?;
    wire::go(&wire)?;
    wire::next_report(&wire)?;
    killed_on_error.forgive();
    log::debug!("{}: process {} runs", request.id, child.pid);
    drop(entry);
    match signals {
        None => Ok(None),
        Some(signals) => super::attend(&child, master, &signals).map(Some),
    }
}

fn running_init(entry: &Entry, record: &Record, request: &Exec) -> Result<Init> {
    let refuse = |what, status| Err(Error::Status { what, id: request.id.to_string(), status });
    match (status(entry, record)?, record.init) {
        (Status::Stopped | Status::Creating, _) => {
            refuse("cannot exec in a stopped container", Status::Stopped)
        }
        (Status::Paused, _) if !request.ignore_paused => {
            refuse("cannot exec in a paused container (use --ignore-paused to override)", Status::Paused)
        }
        (_, Some(init)) => Ok(init),
        (status, None) => refuse("cannot exec in a container without an init process", status),
    }
}

/// The process as asked for: from the request whole, or the container's own with the request's changes.
fn process(config: &Config, request: &Exec) -> Result<Process> {
    if let Some(process) = &request.process {
        return Ok(process.clone());
    }
    let mut process = config.process()?;
    process.args.clone_from(&request.args);
    process.terminal = request.tty;
    process.env.extend(request.env.iter().cloned());
    if let Some(cwd) = &request.cwd {
        if !cwd.is_absolute() {
            return Err(Error::Request(format!("--cwd {}: must be an absolute path", cwd.display())));
        }
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = request.user {
        process.user.uid = user.uid;
        process.user.gid = user.gid.unwrap_or(process.user.gid);
    }
    process.user.groups.extend(&request.additional_gids);
    process.no_new_privileges |= request.no_new_privs;
    for name in &request.caps {
        let bit = capability_bit(name)
            .ok_or_else(|| Error::Request(format!("--cap: unknown capability {name:?}")))?;
        process.capabilities.get_or_insert_default().add(bit);
    }
    Ok(process)
}

/// A process that is getting ready.
struct Started {
    child: Child,
    wire: OwnedFd,
    /// To be dropped once the process is ready.
    helper: Helper,
}

/// What the new process is made of.
struct New<'a> {
    process: &'a Process,
    console: Option<OwnedFd>,
    preserve_fds: u32,
    filter: Option<&'a Filter<'a>>,
}

/// Forks the process into the container; it reports on the wire, and waits.
fn start(record: &Record, config: &Config, init: Init, owner: Owner, new: New<'_>) -> Result<Started> {
    let Some(pidfd) = init_pidfd(init)? else {
        return Err(Error::Request("container not running: its init process has ended".into()));
    };
    let namespaces = config.namespaces()?;
    let kinds = namespaces.new.iter().chain(namespaces.joined.iter().map(|(kind, _)| kind));
    let all = kinds.fold(Namespaces::default(), |set, kind| set.with(flag(*kind)));
    let clone_dir = record.cgroup.clone_fd()?;
    let (wire, theirs) = sys::seqpacket::pair()?;
    let child_side = ChildSide {
        entry: record.cgroup.entry(clone_dir.is_some())?,
        pidfd: pidfd.as_fd(),
        namespaces: all,
        process: new.process,
        console: new.console,
        preserve_fds: new.preserve_fds,
        filter: new.filter,
    };
    // An orphan finds its way to the init of its own pid namespace only.
    let owner = if all.contains(Namespaces::PID) { owner } else { Owner::Caller };
    let (child, helper) = approach::fork(&child_side, &theirs, clone_dir.as_ref().map(AsFd::as_fd), owner)?;
    drop(theirs);
    let Some(child) = child else {
        wire::expect(&wire, &wire::Report::Ready)?;
        return Err(Error::Request("the process ended before it was in the container".into()));
    };
    Ok(Started { child, wire, helper })
}
