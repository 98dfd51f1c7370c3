//! `create` and `run`.

use super::foreground;
use crate::error::{Error, Result, Step};
use crate::hooks;
use crate::init::lsm;
use crate::launch::{self, Launched, Options, Terminal};
use crate::notify;
use crate::pidfd_socket::{Kind, PidfdSocket};
use crate::state::HookState;
use crate::store::{Entry, Pending, Record, Store, VERSION};
use cgroup::{Cgroup, Host, Layout, UnitPlan, resctrl};
use spec::{Bundle, HookKind, Id, Namespace, Process};
use std::io::Write;
use std::path::{Path, PathBuf};
use sys::process::Exit;

/// Whether a cgroup that may not be made is done without, unless it was asked for (`--rootless`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    /// Yes.
    True,
    /// No: it is an error.
    False,
    /// For who is not root, or root of a user namespace only.
    #[default]
    Auto,
}

impl Rootless {
    /// Whether it is so for the calling process.
    pub fn holds(self) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::Auto => !sys::is_root() || sys::is_in_user_namespace(),
        }
    }
}

/// A request to make a container.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its id.
    pub id: Id,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Who receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Who receives a descriptor of init.
    pub pidfd_socket: Option<PathBuf>,
    /// Where init's process id is to be written.
    pub pid_file: Option<PathBuf>,
    /// Move the root instead of pivoting to it: for a root on a ramdisk.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on are sockets that the caller was activated with (sd_listen_fds(3)): the container gets
    /// them, and is told.
    pub listen_fds: u32,
    /// How many descriptors after those the container inherits.
    pub preserve_fds: u32,
    /// The service manager's `$NOTIFY_SOCKET`; an abstract one begins with `@`.
    pub notify_socket: Option<PathBuf>,
    /// Whether it can do without a cgroup.
    pub rootless: Rootless,
    /// The systemd that is to make the cgroup; None: it is made here.
    pub systemd: Option<Host>,
}

impl Create {
    /// The process of the bundle, with what the caller's surroundings add to its environment.
    fn process(&self, bundle: &Bundle) -> Result<Process> {
        require_user_namespace(bundle)?;
        let mut process = bundle.config.process()?;
        lsm::check(&process)?;
        let flags = bundle.config.personality_flags();
        if !flags.is_empty() {
            log::warn!("ignoring unsupported personality flags: [{}]", flags.join(" "));
        }
        super::warn_of_capabilities(&process, bundle.config.namespaces()?.is_private(Namespace::User));
        if self.notify_socket.is_some() {
            process.env.push(notify::variable());
        }
        if self.listen_fds > 0 {
            process.env.extend([format!("LISTEN_FDS={}", self.listen_fds), "LISTEN_PID=1".into()]);
        }
        Ok(process)
    }
}

/// A request to make a container and start it at once.
#[derive(Clone, Debug)]
pub struct Run {
    /// What to make.
    pub create: Create,
    /// Return when it runs, instead of when it has ended.
    pub detach: bool,
    /// Do not delete it when it has ended.
    pub keep: bool,
    /// Do not adopt the orphans of the container.
    pub no_subreaper: bool,
}

/// Makes a container, which then waits for [`start`](super::start).
pub fn create(store: &Store, request: &Create) -> Result<()> {
    let bundle = Bundle::load(&request.bundle)?;
    let process = request.process(&bundle)?;
    let terminal = terminal(process.terminal, request.console_socket.as_deref(), true)?;
    let made = make(store, request, &bundle, &process, terminal, true)?;
    let pid = made.launched.child.pid.as_raw_pid();
    finish(made.container, request.pid_file.as_deref(), pid).map(drop)
}

/// Makes and starts a container. In the foreground the outcome is how its init ended; detached, None.
pub fn run(store: &Store, request: &Run) -> Result<Option<Exit>> {
    let bundle = Bundle::load(&request.create.bundle)?;
    let process = request.create.process(&bundle)?;
    let terminal = terminal(process.terminal, request.create.console_socket.as_deref(), request.detach)?;
    let attended = if request.detach { None } else { Some(foreground::prepare(request.no_subreaper)?) };
    let mut made = make(store, &request.create, &bundle, &process, terminal, false)?;
    let (entry, _) = made.container.parts();
    let readiness = notify::Relay::listen(entry, request.create.notify_socket.as_deref())?;
    made.launched.start()?;
    let pid = made.launched.child.pid.as_raw_pid();
    let (entry, record) = finish(made.container, request.create.pid_file.as_deref(), pid)?;
    let state = HookState::new(&entry.id, &bundle.dir, &bundle.config);
    if let Err(e) =
        hooks::run(&bundle.config, HookKind::Poststart, &state.json("running", pid), Some(&bundle.dir))
    {
        super::destroy(entry, &record, Some(&bundle.config))?;
        return Err(e);
    }
    // The lock goes with its descriptor: what cannot fail need not be undone.
    let id = entry.id.clone();
    drop(entry);
    let Some(signals) = attended else {
        readiness.map_or(Ok(()), |relay| relay.wait(&made.launched.child))?;
        return Ok(None);
    };
    let exit = super::attend(&made.launched.child, made.launched.master, readiness, &signals);
    if !request.keep || exit.is_err() {
        super::destroy_unless_gone(store, &id, &bundle.config)?;
    }
    exit.map(Some)
}

struct Made {
    container: Unfinished,
    launched: Launched,
}

fn make(
    store: &Store,
    request: &Create,
    bundle: &Bundle,
    process: &Process,
    terminal: Terminal,
    wait_for_start: bool,
) -> Result<Made> {
    let pidfd_socket = PidfdSocket::connect(request.pidfd_socket.as_deref())?;
    let mut container = Unfinished::begin(store, &request.id, bundle, request.systemd.as_ref())?;
    let unit = container.make_cgroup(bundle, request.rootless)?;
    container.make_resctrl(bundle)?;
    let options = Options {
        unit,
        terminal,
        wait_for_start,
        no_pivot: request.no_pivot,
        preserve_fds: request.listen_fds + request.preserve_fds,
    };
    let (entry, record) = container.parts();
    record.keeps_keyring = request.no_new_keyring;
    record.passed = (3..3 + options.preserve_fds).map(|fd| fd_link("self", fd)).collect();
    if request.notify_socket.is_some() {
        notify::make_directory(entry)?;
    }
    let launched = launch::launch(entry, record, bundle, process, &options)?;
    pidfd_socket.send(&launched.child, Kind::Init)?;
    Ok(Made { container, launched })
}

/// Without root there are no rights but in a user namespace of one's own.
fn require_user_namespace(bundle: &Bundle) -> Result<()> {
    if sys::is_root() || bundle.config.namespaces()?.is_private(Namespace::User) {
        return Ok(());
    }
    Err(Error::Request(
        "linux.namespaces: rootless containers require user namespaces (`rt spec --rootless` writes one)"
            .into(),
    ))
}

fn finish(container: Unfinished, pid_file: Option<&Path>, pid: i32) -> Result<(Entry, Record)> {
    if let Some(path) = pid_file {
        write_pid_file(path, pid)?;
    }
    container.commit()
}

/// Which terminal there is to be, by runc's rules for the socket.
pub(crate) fn terminal(wanted: bool, socket: Option<&Path>, detached: bool) -> Result<Terminal> {
    match (wanted, socket, detached) {
        (true, Some(path), true) => Ok(Terminal::Socket(path.to_owned())),
        (true, None, true) => Err(Error::Request(
            "cannot allocate tty if rt will detach without setting console socket (pass --console-socket)"
                .into(),
        )),
        (true, None, false) => Ok(Terminal::Relay),
        (false, None, _) => Ok(Terminal::None),
        (false, Some(_), true) => Err(Error::Request(
            "cannot use console socket: process.terminal is false, so there is no terminal to send".into(),
        )),
        (_, Some(_), false) => Err(Error::Request(
            "cannot use console socket if rt will not detach: the terminal is shown here".into(),
        )),
    }
}

/// A container that is being made: dropped before [`commit`](Self::commit), all that was made of it is taken back.
#[derive(Debug)]
pub(crate) struct Unfinished {
    parts: Option<(Entry, Record)>,
}

impl Unfinished {
    /// Writes down what is going to be made, before anything is.
    pub(crate) fn begin(store: &Store, id: &Id, bundle: &Bundle, systemd: Option<&Host>) -> Result<Self> {
        let cgroups_path = bundle.config.linux().and_then(|l| l.cgroups_path().as_deref());
        let layout = Layout::detect()?;
        let cgroup = match systemd {
            None => Cgroup::locate(&layout, cgroups_path, id.as_str())?,
            Some(host) => Cgroup::locate_unit(&layout, cgroups_path, id.as_str(), host)?,
        };
        let shares_mounts = !bundle.config.namespaces()?.is_private(Namespace::Mount);
        let covered = shares_mounts.then(|| rootfs::mount_at(&bundle.rootfs)).transpose()?;
        let rdt = bundle.config.intel_rdt();
        let resctrl = rdt.map(|rdt| resctrl::Group::locate(rdt, id.as_str())).transpose()?;
        let record = Record {
            version: VERSION,
            bundle: bundle.dir.clone(),
            rootfs: bundle.rootfs.clone(),
            created: now(),
            owner: rustix::process::getuid().as_raw(),
            annotations: crate::state::annotations(&bundle.config),
            covered,
            keeps_keyring: false,
            cgroup,
            resctrl,
            init: None,
            pending: Some(Pending::Creation),
            criu: None,
            astray: None,
            stdio: stdio_links("self"),
            passed: Vec::new(),
            net_devices: None,
            resources: None,
        };
        let entry = store.create(id, &record, &bundle.config.bytes)?;
        log::debug!("{id}: written down in {}", entry.path.display());
        Ok(Self { parts: Some((entry, record)) })
    }

    /// Makes the cgroup, with the limits that the bundle asks for; a cgroup that is somebody else's is left alone.
    ///
    /// Where systemd makes it, nothing is made yet: the plan is for when there is a process.
    pub(crate) fn make_cgroup(&mut self, bundle: &Bundle, rootless: Rootless) -> Result<Option<UnitPlan>> {
        let linux = bundle.config.linux();
        let resources = linux.and_then(|l| l.resources().clone()).unwrap_or_default();
        let (_, record) = self.parts();
        if record.cgroup.is_unit() {
            let plan = record.cgroup.plan_unit(&resources, &record.annotations);
            return plan.or_else(|e| self.leave_alone(e));
        }
        let is_asked_for =
            linux.and_then(|l| l.cgroups_path().as_ref()).is_some_and(|p| !p.as_os_str().is_empty());
        let (entry, record) = self.parts();
        let mut made = record.cgroup.create();
        let is_permitted = !made.as_ref().is_err_and(cgroup::Error::is_forbidden);
        let leave_out = !is_permitted && !is_asked_for && rootless.holds();
        if leave_out {
            made = record.cgroup.create_permitted();
        }
        if let Err(e) = made {
            return self.leave_alone(e);
        }
        if !sys::is_root() && !record.cgroup.is_none() {
            record.cgroup.leave_out_closed(&Layout::detect()?);
        }
        log::debug!("{}: cgroup {}", entry.id, if record.cgroup.is_none() { "left out" } else { "made" });
        match record.cgroup.apply(&resources) {
            // Devices are what not even the owner of a cgroup may set.
            Err(_) if leave_out => record.cgroup.apply_permitted(&resources),
            Err(e) if e.is_forbidden() && rootless.holds() => record.cgroup.apply_permitted(&resources),
            applied => applied,
        }?;
        log::debug!("{}: limits set", entry.id);
        Ok(None)
    }

    /// Makes the group in resctrl, if the bundle asks for one; what cannot be made may be somebody else's, and is left alone.
    pub(crate) fn make_resctrl(&mut self, bundle: &Bundle) -> Result<()> {
        let (entry, record) = self.parts();
        let (Some(group), Some(rdt)) = (&record.resctrl, bundle.config.intel_rdt()) else { return Ok(()) };
        let made = group.create(rdt);
        if made.is_err() {
            record.resctrl = None;
            entry.save(record)?;
        }
        Ok(made?)
    }

    /// The cgroup is not ours: it must outlive the undo.
    fn leave_alone<T>(&mut self, error: cgroup::Error) -> Result<T> {
        let entry = self.parts.take().map(|(entry, _)| entry);
        entry.map_or(Ok(()), |entry| entry.remove()).and(Err(error.into()))
    }

    /// The directory and the record.
    pub(crate) fn parts(&mut self) -> (&Entry, &mut Record) {
        match &mut self.parts {
            Some((entry, record)) => (entry, record),
            None => unreachable!("taken only when this is dropped or consumed"),
        }
    }

    /// All is made: from now on it is a container.
    pub(crate) fn commit(mut self) -> Result<(Entry, Record)> {
        let (entry, record) = self.parts();
        record.pending = None;
        entry.save(record)?;
        match self.parts.take() {
            Some(parts) => Ok(parts),
            None => unreachable!("set above"),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some((entry, record)) = self.parts.take() else { return };
        log::debug!("{}: taking back what was made", entry.id);
        let destroyed = super::destroy_processes(&record);
        crate::devices::give_back(&entry, &record);
        let left = destroyed.and_then(|()| super::undo_groups(&record));
        if let Err(e) = left.and_then(|()| entry.remove()) {
            log::warn!("undo: {e}");
        }
    }
}

/// Writes a pid-file so that a reader never finds it half written.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let step = || format!("write pid-file {}", path.display());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // What has this name is of a killed process that had this number; or a trap in a directory that others write to.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::File::create_new(&temporary).step(step)?;
    let written = file.write_all(pid.to_string().as_bytes()).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.step(step)
}

/// This moment in RFC 3339, UTC, with nanoseconds.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string()
}

/// Where a process' stdin, stdout and stderr lead ("/dev/null", "pipe:[4711]"). `process` is a pid or `self`.
pub(crate) fn stdio_links(process: &str) -> [String; 3] {
    [0, 1, 2].map(|fd| fd_link(process, fd))
}

/// Where one of its descriptors leads; nowhere if it has none of that number.
pub(crate) fn fd_link(process: &str, fd: u32) -> String {
    let link = std::fs::read_link(format!("/proc/{process}/fd/{fd}"));
    link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_needs_a_socket_just_when_detached() {
        let socket = Path::new("/s");
        assert_eq!(terminal(true, Some(socket), true).unwrap(), Terminal::Socket(socket.into()));
        assert_eq!(terminal(true, None, false).unwrap(), Terminal::Relay);
        assert_eq!(terminal(false, None, true).unwrap(), Terminal::None);
        for (wanted, socket, detached) in [
            (true, None, true),
            (false, Some(socket), true),
            (false, Some(socket), false),
            (true, Some(socket), false),
        ] {
            assert!(terminal(wanted, socket, detached).is_err());
        }
    }

    #[test]
    fn a_pid_file_appears_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        write_pid_file(&path, 42).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(
            write_pid_file(Path::new("/no/such/dir/pid"), 1)
                .unwrap_err()
                .to_string()
                .contains("write pid-file /no/such/dir/pid")
        );
    }
}
