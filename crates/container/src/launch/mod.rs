//! The parent's side of a start: from a checked bundle to an init process that waits for its start.

mod between;
mod joined;
mod mappings;
pub(crate) mod sources;
pub(crate) mod wire;

pub(crate) use joined::{Joined, open_namespace};
pub(crate) use mappings::MountMaps;

use crate::console;
use crate::devices;
use crate::error::{Error, Result, Step};
use crate::filter::{self, Filter};
use crate::hooks;
use crate::init::{Init, StartSignal, TreeSources, clocks};
use crate::placement;
use crate::state::HookState;
use crate::store::{self, Entry, Record};
use cgroup::UnitPlan;
use cgroup::resctrl::Group;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Bundle, HookKind, Process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::process::{Child, Forked, Namespaces};
use wire::Report;

/// The name of the socket that a created container waits on.
pub(crate) const START_SOCKET: &str = "start.sock";

/// Where a container's terminal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// There is none: stdio is the caller's.
    None,
    /// To whoever listens on this socket.
    Socket(PathBuf),
    /// To this process, which shows it on its own.
    Relay,
}

/// How an init process is to be started, besides what the bundle says.
#[derive(Debug)]
pub(crate) struct Options {
    /// The unit that is to be made around the process, where systemd makes the cgroup.
    pub(crate) unit: Option<UnitPlan>,
    pub(crate) terminal: Terminal,
    /// Whether to wait on `start.sock`; else the parent starts it.
    pub(crate) wait_for_start: bool,
    pub(crate) no_pivot: bool,
    pub(crate) preserve_fds: u32,
}

/// An init process that is ready to start.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) wire: OwnedFd,
    /// The terminal's master, for [`Terminal::Relay`].
    pub(crate) master: Option<OwnedFd>,
}

impl Launched {
    /// Starts the user's program and waits until it runs; its failure to is an error here.
    pub(crate) fn start(&self) -> Result<()> {
        wire::go(&self.wire)?;
        match wire::next_report(&self.wire)? {
            None => {
                log::debug!("process {}: the program runs", self.child.pid);
                Ok(())
            }
            Some(other) => Err(Error::Request(format!("the init process reported {other:?} at its start"))),
        }
    }
}

/// Makes the init process of a container whose cgroup stands, with its limits set, or is made now, around it; keeps the record up
/// to date.
pub(crate) fn launch(
    entry: &Entry,
    record: &mut Record,
    bundle: &Bundle,
    process: &Process,
    options: &Options,
) -> Result<Launched> {
    let namespaces = bundle.config.namespaces()?;
    let user = namespaces.is_private(Ns::User);
    let all_new = namespaces.new.iter().fold(Namespaces::default(), |set, kind| set.with(flag(*kind)));
    let shift_clocks = all_new.contains(Namespaces::TIME) && clocks::are_shifted(&bundle.config);
    let by_init = if shift_clocks { Namespaces::CGROUP.with(Namespaces::TIME) } else { Namespaces::CGROUP };
    let hook_state = HookState::new(&entry.id, &bundle.dir, &bundle.config);
    let filter = Filter::of(&bundle.config, entry.path.parent())?;
    let plan = crate::tree::plan(entry, record, &bundle.config)?;
    let (console, master_side) = console_ends(&options.terminal)?;
    // A cgroup that is still to be made has no doors: systemd carries the process in.
    let clone_dir = if options.unit.is_some() { None } else { record.cgroup.clone_fd()? };
    let doors = if options.unit.is_some() { None } else { Some(record.cgroup.entry(clone_dir.is_some())?) };
    let joined = Joined::open_all(&namespaces)?;
    joined::check_sysctls(&bundle.config, &joined)?;
    let maps = MountMaps::make(&plan)?;
    let init = Init {
        config: &bundle.config,
        process,
        rootfs: &plan,
        new: all_new.without(by_init),
        user_namespace: user,
        joined: if user { &[] } else { &joined },
        is_mapped_by_user: all_new.contains(Namespaces::USER) && !sys::is_root(),
        sources: if user && sys::is_root() { TreeSources::Parent } else { TreeSources::Own(&maps) },
        cgroup: doors,
        resctrl: record.resctrl.as_ref().map(Group::entry).transpose()?,
        unshare_cgroup: all_new.contains(Namespaces::CGROUP),
        shift_clocks,
        start: if options.wait_for_start { StartSignal::Socket(listen(entry)?) } else { StartSignal::Parent },
        console,
        keyring: record.session_keyring(entry.id.as_str()),
        preserve_fds: options.preserve_fds,
        no_pivot: options.no_pivot,
        filter: filter.as_ref(),
        hook_state: hook_state.clone(),
    };
    let (ours, theirs) = sys::seqpacket::pair()?;
    // Nothing of this is dropped in the child: its copy of the stack ends with the exec.
    let become_init = |forked| match forked {
        Forked::Parent(child) => child,
        Forked::Child => {
            // The lock is the parent's: a created container must not hold it until it is started.
            sys::process::close_in_child(entry.lock_fd());
            init.run(&theirs)
        }
    };
    let child = fork(&init, &joined, clone_dir.as_ref().map(AsFd::as_fd), become_init)?;
    drop(theirs);
    let killed_on_error = KillOnDrop(Some(&child));
    record.init = Some(identify(&child)?);
    log::debug!("{}: init is process {}", entry.id, child.pid);
    entry.save(record)?;
    if let Some(unit) = &options.unit {
        placement::start_unit(entry, record, unit, child.pid.as_raw_pid())?;
    }
    placement::hand_over(&record.cgroup, &bundle.config)?;
    let network = namespaces.path(Ns::Network).cloned();
    let network = network.unwrap_or_else(|| format!("/proc/{}/ns/net", child.pid).into());
    if init.new.contains(Namespaces::USER) {
        mappings::write(&child, &bundle.config)?;
    }
    devices::lend(entry, record, &bundle.config, &network)?;
    supervise(&ours, &child, bundle, &init, &maps)?;
    let state = || hook_state.at("creating", child.pid.as_raw_pid());
    filter::expect_ready(&ours, &child, filter.as_ref(), state)?;
    log::debug!("{}: namespaces and file tree made, init is ready", entry.id);
    let master = master_side.map(console::receive).transpose()?;
    killed_on_error.forgive();
    Ok(Launched { child, wire: ours, master })
}

/// Forks init into its new namespaces and those joined ones that it cannot enter by itself.
fn fork(
    init: &Init<'_>,
    joined: &[Joined],
    cgroup: Option<BorrowedFd<'_>>,
    become_init: impl Fn(Forked) -> Child,
) -> Result<Child> {
    // The host's namespaces must be entered before the user namespace, and the container's be made in it.
    if init.user_namespace && !joined.is_empty() {
        let mappings = joined::Expected::of(init.config);
        return Ok(become_init(between::fork(|| joined::enter_all(joined, &mappings), init.new, cgroup)?));
    }
    let pid_namespace = joined.iter().find(|one| one.kind == Ns::Pid);
    joined::with_pid_namespace(pid_namespace, || Ok(become_init(sys::process::fork(init.new, cgroup)?)))
}

/// The parent's half of the exchange in [`wire`], until only the process' own confinement is left.
fn supervise(
    wire: &OwnedFd,
    child: &Child,
    bundle: &Bundle,
    init: &Init<'_>,
    maps: &MountMaps,
) -> Result<()> {
    let config = &bundle.config;
    if init.waits_for_parent() {
        wire::go(wire)?;
    }
    if matches!(init.sources, TreeSources::Parent) {
        sources::send(wire, child, init.rootfs, maps)?;
    }
    if hooks::any(config, &[HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer]) {
        wire::expect(wire, &Report::Namespaces)?;
        let state = init.hook_state.json("creating", child.pid.as_raw_pid());
        hooks::run(config, HookKind::Prestart, &state, Some(&bundle.dir))?;
        hooks::run(config, HookKind::CreateRuntime, &state, Some(&bundle.dir))?;
        wire::go(wire)?;
    }
    Ok(())
}

/// The bit of a kind of namespace: the spec library's numbers are the kernel's.
pub(crate) fn flag(kind: Ns) -> Namespaces {
    Namespaces(kind as u64)
}

fn listen(entry: &Entry) -> Result<OwnedFd> {
    let step = || format!("listen on {}", entry.path.join(START_SOCKET).display());
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .step(step)?;
    let address = SocketAddrUnix::new(entry.short_path(START_SOCKET)).step(step)?;
    rustix::net::bind(&socket, &address).step(step)?;
    rustix::net::listen(&socket, 1).step(step)?;
    Ok(socket)
}

/// The end of the console socket that init sends the master to, and ours when we are the receiver.
pub(crate) fn console_ends(terminal: &Terminal) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    Ok(match terminal {
        Terminal::None => (None, None),
        Terminal::Socket(path) => (Some(console::connect(path, "console")?), None),
        Terminal::Relay => {
            let (theirs, ours) = sys::seqpacket::pair()?;
            (Some(theirs), Some(ours))
        }
    })
}

fn identify(child: &Child) -> Result<store::ProcessId> {
    store::ProcessId::of(child.pid)?
        .ok_or_else(|| Error::Init { message: "the init process is gone".into(), exit_code: 1 })
}

/// Ends and reaps a child unless all went well.
pub(crate) struct KillOnDrop<'a>(pub(crate) Option<&'a Child>);

impl KillOnDrop<'_> {
    pub(crate) fn forgive(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(child) = self.0 {
            let _ = sys::process::signal(child.pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
            let _ = sys::process::wait(child.pid);
        }
    }
}
