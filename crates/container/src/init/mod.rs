//! The container's side of a start: what the new process does from the clone to the user's program.
//!
//! The process is a copy of `rt` ([`sys::process::fork`]), so it starts with all that its parent has checked and opened, and needs
//! no second format to be told by. What it does is a list of steps, each of which either works or ends the process
//! with a one-line reason that the parent prints as its own. [`launch::wire`](crate::launch) shows when who waits for whom.

pub(crate) mod clocks;
pub(crate) mod confine;
pub(crate) mod failure;
mod identity;
pub(crate) mod lsm;
pub(crate) mod program;
pub(crate) mod scheduling;

pub(crate) use identity::{become_root, write_sysctl};

use crate::console::Pty;
use crate::devices;
use crate::filter::{Filter, LastSteps};
use crate::hooks;
use crate::launch::wire::{self, Report};
use crate::launch::{Joined, MountMaps, sources};
use clocks::Clocks;
use confine::Surplus;
use failure::{During, Failure, Result};
use lsm::Labels;
use program::Program;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Config, HookKind, Process};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::process::Namespaces;

/// The signals that end a container which waits for its start.
const ASK_TO_END: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Who says that the user's program may start.
#[derive(Debug)]
pub(crate) enum StartSignal {
    /// The parent, over the wire (`run`).
    Parent,
    /// Whoever connects to `start.sock` (`create`, then `start`); the connection also carries the reason when it fails.
    Socket(OwnedFd),
}

/// Who opens what the container's tree takes from the host.
#[derive(Debug)]
pub(crate) enum TreeSources<'a> {
    /// Init itself, with these user namespaces for its id-mapped mounts.
    Own(&'a MountMaps),
    /// The parent, who may see more of the host than the container's root.
    Parent,
}

/// All that the init process needs.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub(crate) config: &'a Config,
    pub(crate) process: &'a Process,
    pub(crate) rootfs: &'a rootfs::Plan,
    /// The namespaces that the clone made.
    pub(crate) new: Namespaces,
    /// Whether the container has its own user namespace, new or joined.
    pub(crate) user_namespace: bool,
    /// The namespaces to join, but for those that it is born in.
    pub(crate) joined: &'a [Joined],
    pub(crate) sources: TreeSources<'a>,
    /// Whether an unprivileged user maps the ids of the new user namespace. Init cannot tell: once they are mapped, it is root.
    pub(crate) is_mapped_by_user: bool,
    /// The doors of the container's cgroup; None: the parent has systemd carry this process in.
    pub(crate) cgroup: Option<cgroup::Entry>,
    /// The doors of its group in resctrl.
    pub(crate) resctrl: Option<cgroup::Entry>,
    /// Whether to leave the cgroup namespace once in that cgroup, which then is the new one's root.
    pub(crate) unshare_cgroup: bool,
    /// Whether to make a time namespace with offsets.
    pub(crate) shift_clocks: bool,
    pub(crate) start: StartSignal,
    /// Where the terminal's master goes.
    pub(crate) console: Option<OwnedFd>,
    /// The name of the new session keyring, if there is to be one.
    pub(crate) keyring: Option<CString>,
    /// How many descriptors from 3 on the program inherits.
    pub(crate) preserve_fds: u32,
    pub(crate) no_pivot: bool,
    /// The seccomp filter.
    pub(crate) filter: Option<&'a Filter<'a>>,
    /// The state that hooks read, with this process' id still missing.
    pub(crate) hook_state: crate::state::HookState,
}

impl Init<'_> {
    /// Runs in the new process, and ends it when anything fails.
    pub(crate) fn run(&self, wire: &OwnedFd) -> ! {
        let failure = match self.prepare(wire) {
            Err(failure) => failure,
            Ok(mut ready) => match self.start(wire, &mut ready) {
                Ok(()) | Err(None) => sys::process::exit_now(1),
                Err(Some(failure)) => failure,
            },
        };
        fail(wire, failure)
    }

    /// Whether there is something that the parent must do before anything else: make the cgroup, map ids, move network devices.
    pub(crate) fn waits_for_parent(&self) -> bool {
        self.cgroup.is_none() || self.new.contains(Namespaces::USER) || devices::any(self.config)
    }

    /// Everything that can be done before the start.
    fn prepare(&self, wire: &OwnedFd) -> Result<Ready<'_>> {
        settle()?;
        if !self.is_mapped_by_user {
            hide()?;
        }
        if let Some(doors) = &self.cgroup {
            doors.enter().during("enter the container's cgroup")?;
        }
        if let Some(doors) = &self.resctrl {
            doors.enter().during("enter the container's resctrl group")?;
        }
        let clocks = self.shift_clocks.then(|| Clocks::open(self.config)).transpose()?;
        if self.waits_for_parent() {
            wait_go(wire)?;
        }
        scheduling::unbind();
        if self.user_namespace {
            become_root()?;
            hide()?;
        }
        for one in self.joined.iter().filter(|one| one.kind != Ns::Pid) {
            one.enter().map_err(Failure::new)?;
        }
        if self.unshare_cgroup {
            sys::process::unshare(Namespaces::CGROUP).during("unshare the cgroup namespace")?;
        }
        clocks.map_or(Ok(()), Clocks::enter)?;
        let labels = Labels::open(self.process)?;
        if let Some(name) = &self.keyring {
            labels.of_keys(|| sys::keyring::make(name))?;
        }
        identity::apply(self.config, self.new)?;
        let rootfs = self.tree(wire)?;
        self.hooks(wire, &rootfs)?;
        self.enter(rootfs)?;
        let held = match &self.start {
            StartSignal::Parent => None,
            StartSignal::Socket(listener) => Some(listener),
        };
        make_ready(self.config, self.process, labels, self.preserve_fds, held, self.filter, wire)
    }

    /// Makes the file tree, as far as the hooks are to see it.
    fn tree(&self, wire: &OwnedFd) -> Result<rootfs::Rootfs<'_>> {
        let opened = match &self.sources {
            TreeSources::Own(maps) => rootfs::Sources::open(self.rootfs, &|index, _| maps.find(index))
                .map_err(|e| Failure::new(e.to_string()))?,
            TreeSources::Parent => sources::receive(wire, self.rootfs)?,
        };
        rootfs::Rootfs::prepare_with(self.rootfs, opened).map_err(|e| Failure::new(e.to_string()))
    }

    /// The hooks that want the container's mounts and the host's: the runtime's own, run by the parent, then createContainer.
    fn hooks(&self, wire: &OwnedFd, rootfs: &rootfs::Rootfs<'_>) -> Result<()> {
        if !hooks::any(self.config, &[HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer])
        {
            return Ok(());
        }
        wire::report(wire, &Report::Namespaces);
        wait_go(wire)?;
        // In the root, by its descriptor: in a user namespace the way there may be barred.
        let root = PathBuf::from(format!("/proc/self/fd/{}", rootfs.root().as_fd().as_raw_fd()));
        let state = self.hook_state.json("creating", own_pid());
        hooks::run(self.config, HookKind::CreateContainer, &state, Some(&root))
            .map_err(|e| Failure::new(e.to_string()))
    }

    /// Leaves the host's file tree behind.
    fn enter(&self, rootfs: rootfs::Rootfs<'_>) -> Result<()> {
        rootfs.pivot(self.no_pivot).map_err(|e| Failure::new(e.to_string()))?;
        if let Some(socket) = &self.console {
            let pty = Pty::open(self.process.console_size).during("allocate a terminal")?;
            rootfs.bind_console(&pty.slave).map_err(|e| Failure::new(e.to_string()))?;
            pty.send(socket).during("send the terminal over the console socket")?;
            pty.become_stdio().during("make the terminal this session's")?;
        }
        let cwd = rootfs.make_cwd(&self.process.cwd).map_err(|e| Failure::new(e.to_string()))?;
        drop(cwd);
        rootfs.finish().map_err(|e| Failure::new(e.to_string()))
    }

    /// Waits for the start and becomes the user's program. `Err(None)`: nobody is there any more to start it.
    fn start(&self, wire: &OwnedFd, ready: &mut Ready<'_>) -> std::result::Result<(), Option<Failure>> {
        let connection = match &self.start {
            StartSignal::Parent => {
                if !wire::await_go(wire).unwrap_or(false) {
                    return Err(None);
                }
                None
            }
            StartSignal::Socket(listener) => Some(
                rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)
                    .during("accept")
                    .map_err(Some)?,
            ),
        };
        let failure = ready.become_program(|env| self.start_hooks(env));
        match connection {
            None => Err(Some(failure)),
            Some(connection) => fail(&connection, failure),
        }
    }

    fn start_hooks(&self, env: &[CString]) -> Result<()> {
        if !hooks::any(self.config, &[HookKind::StartContainer]) {
            return Ok(());
        }
        let state = self.hook_state.json("created", own_pid());
        hooks::run_before_program(self.config, &state, env).map_err(|e| Failure::new(e.to_string()))
    }
}

/// This process' id in the container's pid namespace, in which these hooks run.
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// The last word of a process that cannot go on.
pub(crate) fn fail(wire: &OwnedFd, failure: Failure) -> ! {
    let code = failure.exit_code;
    wire::report(wire, &Report::Failed { message: failure.message, exit_code: code });
    sys::process::exit_now(code)
}

/// Makes sure that this process dies with its parent while it is half made, and that the container cannot look into it.
pub(crate) fn guard() -> Result<()> {
    settle()?;
    hide()
}

/// Makes sure that the container cannot look into this process, which still holds the host's descriptors (CVE-2016-9962); and
/// that it dies with its parent, which a change of ids has made the kernel forget (prctl(2), PR_SET_PDEATHSIG).
///
/// It also takes an unprivileged parent's right to write this process' id maps (proc(5): the files are root's then).
fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .during("prctl(PR_SET_DUMPABLE)")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during("prctl(PR_SET_PDEATHSIG)")
}

/// Takes this process out of its parent's session and signal dispositions.
fn settle() -> Result<()> {
    sys::signal::reset_all().during("reset signals")?;
    match rustix::process::setsid() {
        // Already the leader of a session, as the first process of a pid namespace is not, but an exec'ed one may be.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(e) => Err(e).during("setsid"),
    }
}

/// Waits for the parent; one that has ended takes this process along.
pub(crate) fn wait_go(wire: &OwnedFd) -> Result<()> {
    match wire::await_go(wire) {
        Ok(true) => Ok(()),
        Ok(false) => sys::process::exit_now(1),
        Err(e) => Err(Failure::new(e.to_string())),
    }
}

/// A process that has only its start to wait for.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    program: Program,
    last_steps: LastSteps<'a>,
}

impl Ready<'_> {
    /// Takes the last steps, runs `hooks` and becomes the program; returns only when something fails.
    pub(crate) fn become_program(&mut self, hooks: impl FnOnce(&[CString]) -> Result<()>) -> Failure {
        match self.last_steps.take().and_then(|()| hooks(self.program.env())) {
            Ok(()) => self.program.exec(),
            Err(failure) => failure,
        }
    }
}

/// What init and exec have in common, last: the process' share of the machine, its place, ids and rights, and the word that it
/// is ready. A process that will be `held` until somebody connects to that socket keeps little else open.
pub(crate) fn make_ready<'a>(
    config: &Config,
    process: &Process,
    labels: Labels<'_>,
    preserve_fds: u32,
    held: Option<&OwnedFd>,
    filter: Option<&'a Filter<'a>>,
    wire: &OwnedFd,
) -> Result<Ready<'a>> {
    confine::rlimits(&process.rlimits)?;
    scheduling::apply(config, process)?;
    labels.apply()?;
    drop(labels);
    // Loading the filter takes it, or no_new_privs.
    let admin = filter.is_some() && !process.no_new_privileges;
    let longer = if admin { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() };
    let surplus = take_on(process, preserve_fds, longer)?;
    if let Some(listener) = held {
        let_go(&[listener.as_fd(), wire.as_fd()], preserve_fds);
        sys::signal::end_on(&ASK_TO_END.map(Signal::as_raw));
    }
    scheduling::set_personality(config)?;
    let program = Program::find(process)?;
    rustix::process::set_parent_process_death_signal(None).during("prctl(PR_SET_PDEATHSIG)")?;
    let mut last_steps = LastSteps::new(filter, surplus);
    last_steps.take_with_parent(wire)?;
    wire::report(wire, &Report::Ready);
    Ok(Ready { program, last_steps })
}

/// Closes what the caller and the parent had open, the container's cgroup among it: a created container may wait for days, and
/// whoever waits for the end of a pipe would wait as long. Nothing is logged from now on, as the log is among it.
fn let_go(keep: &[BorrowedFd<'_>], preserve_fds: u32) {
    log::set_max_level(log::LevelFilter::Off);
    sys::process::close_others_in_child(keep, preserve_fds);
}

/// The process' place, ids and rights; with some capabilities for longer.
fn take_on(process: &Process, preserve_fds: u32, longer: CapabilitySet) -> Result<Option<Surplus>> {
    confine::own_stdio(process.user.uid);
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).during("prctl(PR_SET_NO_NEW_PRIVS)")?;
    }
    // Once as root, who may enter any directory of the container, and once more as the user, who may enter his own only.
    let as_root = rustix::process::chdir(&process.cwd);
    let surplus = confine::become_user(process, longer)?;
    if as_root.is_err() {
        rustix::process::chdir(&process.cwd).map_err(|e| {
            Failure::new(format!(
                "chdir to cwd ({:?}) set in config.json failed: {}",
                process.cwd,
                sys::strerror(e.raw_os_error())
            ))
        })?;
    }
    identity::verify_cwd()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(process.user.umask.unwrap_or(0o022)));
    sys::process::close_on_exec_from(3 + preserve_fds).during("mark descriptors close-on-exec")?;
    Ok(surplus)
}
