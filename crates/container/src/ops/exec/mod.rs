//! `exec`: one more process in a running container.

mod adoption;
mod approach;
mod child;
mod user;

pub use user::ExecUser;

use super::{status, terminal, write_pid_file};
use crate::console;
use crate::error::{Error, Result, Step};
use crate::filter::{self, Filter};
use crate::init::lsm;
use crate::launch::wire;
use crate::launch::{KillOnDrop, console_ends, flag};
use crate::pidfd_socket::{Kind, PidfdSocket};
use crate::state::HookState;
use crate::status::Status;
use crate::store::{Entry, ProcessId, Record, Store};
use adoption::Owner;
use approach::Helper;
use cgroup::{Cgroup, resctrl::Group};
use child::ChildSide;
use rustix::fs::{Mode, OFlags};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Config, Id, NumberSet, Process, capability_bit};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use sys::process::{Child, Exit, Namespaces};

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
    /// The AppArmor profile, in place of the container process' own.
    pub apparmor: Option<String>,
    /// The SELinux label, in place of the container process' own.
    pub process_label: Option<String>,
    /// execve(2) can no longer grant privileges.
    pub no_new_privs: bool,
    /// Return when it runs, instead of when it has ended.
    pub detach: bool,
    /// Who receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Who receives a descriptor of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Where its process id is to be written.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on it inherits.
    pub preserve_fds: u32,
    /// The sub-cgroups to run it in (`[CONTROLLER:]PATH`).
    pub cgroups: Vec<String>,
    /// Start it in a paused container too, where it waits for the resume.
    pub ignore_paused: bool,
}

/// Runs a process in a container. In the foreground the outcome is how it ended; detached, None.
pub fn exec(store: &Store, request: &Exec) -> Result<Option<Exit>> {
    let (entry, record) = store.join(&request.id)?;
    let init = running_init(&entry, &record, request)?;
    let config = entry.config()?;
    let process = process(&config, request)?;
    lsm::check(&process)?;
    super::warn_of_capabilities(&process, config.namespaces()?.is_private(Ns::User));
    let terminal = terminal(process.terminal, request.console_socket.as_deref(), request.detach)?;
    let (console, master_side) = console_ends(&terminal)?;
    let pidfd_socket = PidfdSocket::connect(request.pidfd_socket.as_deref())?;
    // Orphans of an exec belong to the container's init, so there is nothing to adopt here.
    let signals = if request.detach { None } else { Some(super::foreground::prepare(true)?) };
    let owner = if request.detach && request.pid_file.is_none() { Owner::Init } else { Owner::Caller };
    let filter = Filter::of(&config, Some(store.root()))?;
    // One that an administrator has taken away is done without, as in runc.
    let resctrl = record.resctrl.as_ref().filter(|group| group.exists());
    let new = New {
        process: &process,
        resctrl: resctrl.map(Group::entry).transpose()?,
        console,
        preserve_fds: request.preserve_fds,
        keyring: record.session_keyring(entry.id.as_str()),
        filter: filter.as_ref(),
    };
    let place = record.cgroup.sub(&request.cgroups)?;
    let bound = process.exec_cpu_affinity.initial.as_ref().map(Bound::to).transpose()?;
    let Started { child, wire, helper } = start(&place, &config, init, owner, new)?;
    drop(bound);
    let killed_on_error = KillOnDrop(Some(&child));
    let state = || HookState::new(&entry.id, &record.bundle, &config).at("running", init.pid);
    filter::expect_ready(&wire, &child, filter.as_ref(), state)?;
    drop(helper);
    pidfd_socket.send(&child, Kind::Exec)?;
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
        Some(signals) => super::attend(&child, master, None, &signals).map(Some),
    }
}

fn running_init(entry: &Entry, record: &Record, request: &Exec) -> Result<ProcessId> {
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
    let mut process = config.process()?;
    if let Some(given) = &request.process {
        return Ok(given.clone().or(process));
    }
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
    process.apparmor_profile = request.apparmor.clone().or(process.apparmor_profile);
    process.selinux_label = request.process_label.clone().or(process.selinux_label);
    for name in &request.caps {
        match capability_bit(name) {
            Some(bit) => process.capabilities.get_or_insert_default().add(bit),
            None => process.unknown_capabilities.push(name.clone()),
        }
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
    /// The doors of the container's group in resctrl.
    resctrl: Option<cgroup::Entry>,
    console: Option<OwnedFd>,
    preserve_fds: u32,
    keyring: Option<CString>,
    filter: Option<&'a Filter<'a>>,
}

/// Whether init has other clocks than we: CRIU gives a restored container a time namespace, whatever its bundle says, and
/// could not restore it once more with a process in another.
fn has_clocks_of_its_own(init: ProcessId) -> bool {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/time"));
    // KERNEL(5.6): before, there was no such file.
    matches!((namespace("self"), namespace(&init.pid.to_string())), (Ok(ours), Ok(theirs)) if ours != theirs)
}

/// Forks the process into the container; it reports on the wire, and waits.
fn start(cgroup: &Cgroup, config: &Config, init: ProcessId, owner: Owner, new: New<'_>) -> Result<Started> {
    let Some(pidfd) = init.pidfd()? else {
        return Err(Error::Request("container not running: its init process has ended".into()));
    };
    let namespaces = config.namespaces()?;
    let kinds = namespaces.new.iter().chain(namespaces.joined.iter().map(|(kind, _)| kind));
    let mut all = kinds.fold(Namespaces::default(), |set, kind| set.with(flag(*kind)));
    if has_clocks_of_its_own(init) {
        all = all.with(Namespaces::TIME);
    }
    let clone_dir = cgroup.clone_fd()?;
    let clone_dir = clone_dir.as_ref().map(AsFd::as_fd);
    let (wire, theirs) = sys::seqpacket::pair()?;
    let child_side = ChildSide {
        entry: cgroup.entry(clone_dir.is_some())?,
        pidfd: pidfd.as_fd(),
        namespaces: all,
        root: if all.contains(Namespaces::MOUNT) { None } else { Some(root_of(init, &pidfd)?) },
        user_namespace: all.contains(Namespaces::USER),
        config,
        resctrl: new.resctrl,
        process: new.process,
        console: new.console,
        preserve_fds: new.preserve_fds,
        keyring: new.keyring,
        filter: new.filter,
    };
    // An orphan finds its way to the init of its own pid namespace only.
    let owner = if all.contains(Namespaces::PID) { owner } else { Owner::Caller };
    let (child, helper) = approach::fork(&child_side, &theirs, clone_dir, owner)?;
    drop(theirs);
    let Some(child) = child else {
        wire::expect(&wire, &wire::Report::Ready)?;
        return Err(Error::Request("the process ended before it was in the container".into()));
    };
    Ok(Started { child, wire, helper })
}

/// The root of a process.
fn root_of(process: ProcessId, pidfd: &OwnedFd) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", process.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty()).step(|| format!("open {path}"))?;
    // It was that process' if that has not ended since.
    sys::process::signal(pidfd.as_fd(), 0).step(|| format!("find process {}", process.pid))?;
    Ok(root)
}

/// This process bound to certain processors, so that what it forks is, too; dropped, it runs where it did before.
struct Bound {
    before: Vec<u64>,
}

impl Bound {
    fn to(processors: &NumberSet) -> Result<Self> {
        let before = sys::sched::affinity()?;
        sys::sched::set_affinity(&processors.words).step(|| "process.execCPUAffinity.initial".into())?;
        Ok(Self { before })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = sys::sched::set_affinity(&self.before);
    }
}
