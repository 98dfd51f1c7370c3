//! `restore`: a directory of images becomes a running container.

mod events;
mod request;
mod stdio;

pub use request::{Counted, Outcome, Restore, Tolerances};

use crate::checkpoint::{
    Allowances, cgroups, criu_config, external, held::Held, images::Directories, manifest::Manifest,
    mapped_root, micros, network,
};
use crate::error::{Error, Result, Step};
use crate::hooks;
use crate::launch::{Terminal, open_namespace};
use crate::ops::{self, Unfinished};
use crate::placement;
use crate::progress::{Gauge, Watch, Way};
use crate::state::HookState;
use crate::store::{self, Entry, Record, Store};
use cgroup::{Cgroup, Layout, UnitPlan};
use criu::{Class, InheritFd, Launch, NetworkLock, Restore as Request};
use events::{Events, Freezer};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Bundle, Config, HookKind, Namespaces};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;
use stdio::Stdio;
use sys::path::Root;
use sys::process::Child;
use sys::view::MountView;

/// The name of CRIU's log of a restore, in the work directory.
pub const RESTORE_LOG: &str = "restore.log";

/// Restores a container. `watch` sees how its memory is read; `ready` is called once it runs, before a foreground restore waits for its
/// end.
pub fn restore(
    store: &Store,
    request: &Restore,
    watch: Option<Watch<'_>>,
    ready: impl FnOnce(&Outcome),
) -> Result<Outcome> {
    let started = Instant::now();
    if request.allow.cgroups == Some(criu::CgroupMode::Strict) {
        return Err(Error::Request(
            "--manage-cgroups-mode strict: CRIU then refuses a cgroup that is there, as the container's is; use soft, full or ignore"
                .into(),
        ));
    }
    let bundle = Bundle::load(&request.bundle)?;
    let images = Held::open(&request.images, mapped_root(&bundle.config))?;
    let wants_terminal = bundle.config.process()?.terminal;
    let terminal = ops::terminal(wants_terminal, request.console_socket.as_deref(), request.detach)?;
    let signals = if request.detach { None } else { Some(ops::prepare_attendance(request.no_subreaper)?) };
    let mut container = Unfinished::begin(store, &request.id, &bundle, request.systemd.as_ref())?;
    container.parts().1.keeps_keyring = request.no_new_keyring;
    let unit = container.make_cgroup(&bundle, ops::Rootless::False)?;
    container.make_resctrl(&bundle)?;
    let restored = bring_back(&mut container, request, &images, &bundle, &terminal, unit.as_ref(), watch)?;
    let pid = restored.child.pid.as_raw_pid();
    if let Some(path) = &request.pid_file {
        ops::write_pid_file(path, pid)?;
    }
    let (entry, record) = container.commit()?;
    let state = HookState::new(&entry.id, &bundle.dir, &bundle.config);
    if let Err(e) =
        hooks::run(&bundle.config, HookKind::Poststart, &state.json("running", pid), Some(&bundle.dir))
    {
        ops::destroy(entry, &record, Some(&bundle.config))?;
        return Err(e);
    }
    let mut outcome = Outcome {
        restore_us: restored.criu_us,
        total_us: micros(started.elapsed()),
        criu: restored.counted,
        exit: None,
    };
    ready(&outcome);
    let Some(signals) = signals else { return Ok(outcome) };
    let id = entry.id.clone();
    drop(entry);
    let exit = ops::attend(&restored.child, restored.master, None, &signals);
    ops::destroy_unless_gone(store, &id, &bundle.config)?;
    outcome.exit = Some(exit?);
    Ok(outcome)
}

/// The directory `tmp` of a root that has none: CRIU pivots with its help, and could not make one in a read-only root.
struct PutOld(Option<PathBuf>);

impl PutOld {
    fn make(rootfs: &Path, readonly_root: bool) -> Self {
        let path = rootfs.join("tmp");
        Self((readonly_root && std::fs::create_dir(&path).is_ok()).then_some(path))
    }
}

impl Drop for PutOld {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// A restored init process, which is our child.
struct Restored {
    child: Child,
    master: Option<OwnedFd>,
    criu_us: u64,
    counted: Option<Counted>,
}

/// A criu that the container can see, and whose keys its processes will have.
fn sealed<'a>(criu: &Path, entry: &Entry, record: &Record) -> Launch<'a> {
    let mut launch = Launch::new(criu.to_owned());
    launch.seal();
    if let Some(name) = record.session_keyring(entry.id.as_str()) {
        launch.session_keyring(name);
    }
    launch
}

/// Has CRIU make the processes, in the container's cgroup, and notes down which is init.
fn bring_back(
    container: &mut Unfinished,
    request: &Restore,
    images: &Held,
    bundle: &Bundle,
    terminal: &Terminal,
    unit: Option<&UnitPlan>,
    watch: Option<Watch<'_>>,
) -> Result<Restored> {
    let (entry, record) = container.parts();
    let cgroup = record.cgroup.clone();
    let namespaces = bundle.config.namespaces()?;
    let manifest = Manifest::read(images.images())?;
    record.created = created(&manifest).unwrap_or(&record.created).clone();
    // Before the view below: of a file that was opened there nobody could tell the place once the view is gone.
    let stdio = Stdio::of_images(images.images(), &manifest, &request.passed)?;
    if manifest.notify {
        crate::notify::make_directory(entry)?;
    }
    let plan = crate::tree::plan(entry, record, &bundle.config)?;
    rootfs::create_mountpoints(&plan, &Root::at(&record.rootfs)?)?;
    let _put_old = PutOld::make(&record.rootfs, plan.readonly_root);
    let view = MountView::private()?;
    criu::kernel_cache::lend(&view);
    // CRIU wants the root to be a mount point.
    view.bind(&record.rootfs, &record.rootfs)?;
    let scratch = entry.scratch_dir()?;
    let handed = images.hand_over_in_view(request.work.as_deref(), &scratch)?;
    let dirs = &handed.dirs;
    let mut external = external::make_again(&manifest.hollow, &plan, &scratch)?;
    external.extend_from_slice(&request.allow.external);
    let opened = open_namespaces(&bundle.config, &namespaces, &manifest)?;
    let is_network_empty = namespaces.is_new(Ns::Network)
        && !manifest.new_network
        && (request.allow.empty_network || !dirs.has_network());
    let mut launch = sealed(&request.criu, entry, record);
    let mut inherit_fds = stdio.pass(&mut launch);
    let named = request.inherit_fds.iter().map(|(name, fd)| (name.as_str(), fd));
    let all = opened.iter().map(|(name, fd)| (*name, fd)).chain(named);
    inherit_fds.extend(all.map(|(name, fd)| InheritFd { key: name.to_owned(), fd: launch.pass(fd.as_fd()) }));
    let domain = domain(&bundle.config)?;
    let mut session = launch.start()?;
    drop((view, domain));
    settle(session.pid(), entry, record, unit, &bundle.config)?;
    // The cgroup is among them, so not before it is made.
    external.extend(external::for_restore(&plan)?);
    let criu_request = Request {
        external,
        inherit_fds,
        join_ns: external::joined_namespaces(&namespaces),
        empty_ns: is_network_empty.then_some(network::EMPTY),
        cgroups: request_cgroups(request.allow.cgroups, bundle, record)?,
        ..restore_request(
            request,
            record,
            dirs,
            criu_config::file(request.criu_config.as_deref(), &bundle.config)?,
            network_lock(&mut session, &request.allow).map_err(Error::of_criu(&request.criu))?,
        )
    };
    if request.lazy_pages {
        crate::pages::await_daemon(dirs.work().as_fd());
    }
    let state = HookState::new(&entry.id, &bundle.dir, &bundle.config);
    let mut events = Events::new(bundle, &plan, &manifest.hollow, state, terminal, is_network_empty);
    let is_managed = criu_request.cgroups.mode != Some(criu::CgroupMode::Ignore);
    events.freezer = (request.leave_paused || is_managed).then(|| Freezer {
        cgroup: &cgroup,
        criu: session.pid(),
        pause: request.leave_paused,
    });
    events.gauge = watch.map(|watch| Gauge::new(watch, Way::Restore, dirs.images().as_fd(), &cgroup));
    let explained = |error| Error::of_criu(&request.criu)(with_owner(error, &namespaces));
    events.profile = request.lsm_profile.as_deref();
    let outcome = session.restore(&criu_request, &mut events).map_err(explained);
    let outcome = events.spoiled.take().map_or(outcome, Err)?;
    if request.leave_paused {
        cgroup.freeze()?;
    } else if is_managed {
        cgroup.thaw()?;
    }
    let master = events.master();
    handed.remove();
    (record.stdio, record.passed) = stdio.links();
    Ok(Restored {
        child: note_init(entry, record, outcome.pid)?,
        master,
        criu_us: micros(outcome.timeline.total),
        counted: outcome.stats.map(Counted::of),
    })
}

/// The execution domain that criu is to start in. CRIU(4.2): it notes a process' own down, and leaves it as it is.
fn domain(config: &Config) -> Result<Option<sys::sched::Personality>> {
    let domain = config.personality().map(sys::sched::Personality::enter);
    domain.transpose().step(|| "linux.personality".into())
}

/// When the container was made, by the images, if that is a time.
fn created(manifest: &Manifest) -> Option<&String> {
    manifest.created.as_ref().filter(|text| humantime::parse_rfc3339(text).is_ok())
}

/// Puts criu into the container's cgroup: whatever it makes is born there.
fn settle(
    criu: Option<i32>,
    entry: &Entry,
    record: &mut Record,
    unit: Option<&UnitPlan>,
    config: &Config,
) -> Result<()> {
    match (criu, unit) {
        (None, _) => {}
        (Some(pid), None) => record.cgroup.add(pid)?,
        (Some(pid), Some(unit)) => placement::start_unit(entry, record, unit, pid)?,
    }
    if let (Some(pid), Some(group)) = (criu, &record.resctrl) {
        group.add(pid)?;
    }
    placement::hand_over(&record.cgroup, config)
}

/// Takes hold of the restored init process, and writes down which it is.
fn note_init(entry: &Entry, record: &mut Record, pid: i32) -> Result<Child> {
    let child = adopt(pid)?;
    let init = store::ProcessId::of(child.pid)?;
    record.init =
        Some(init.ok_or_else(|| Error::Request("the restored init process has ended at once".into()))?);
    entry.save(record)?;
    Ok(child)
}

/// Adds to the refusal of a process id who has it, where the ids are those that we see.
fn with_owner(mut error: criu::Error, namespaces: &Namespaces) -> criu::Error {
    let is_ours = !namespaces.is_private(Ns::Pid);
    if let Some(diagnosis) =
        error.diagnosis_mut().filter(|diagnosis| is_ours && diagnosis.class == Class::PidTaken)
        && let Some(object) = &mut diagnosis.object
        && let Some(pid) = object.strip_prefix("process id ").and_then(|pid| pid.parse::<i32>().ok())
        && let Ok(name) = std::fs::read_to_string(format!("/proc/{pid}/comm"))
    {
        object.push_str(&format!(", of {}", name.trim_end()));
    }
    error
}

/// The namespaces that the container enters through a descriptor, by their names: joined ones, and the network that is made
/// anew.
fn open_namespaces(
    config: &Config,
    namespaces: &Namespaces,
    manifest: &Manifest,
) -> Result<Vec<(&'static str, OwnedFd)>> {
    let joined = external::inherited_namespaces(namespaces).into_iter();
    let mut opened: Vec<_> =
        joined.map(|(kind, name, path)| Ok((name, open_namespace(kind, &path)?))).collect::<Result<_>>()?;
    if manifest.new_network && namespaces.is_new(Ns::Network) {
        opened.push((external::NETWORK, network::make(config)?));
    }
    Ok(opened)
}

/// The parts of the request that only copy what the caller said.
fn restore_request<'a>(
    request: &Restore,
    record: &Record,
    dirs: &'a Directories,
    criu_config: Option<String>,
    network_lock: Option<NetworkLock>,
) -> Request<'a> {
    let tolerate = request.tolerate;
    Request {
        root: Some(record.rootfs.display().to_string()),
        sibling: true,
        allow: criu::Allowances { evasive_devices: true, network_lock, ..request.allow.to_criu() },
        lazy_pages: request.lazy_pages,
        auto_dedup: request.auto_dedup,
        skip_file_rwx_check: tolerate.file_modes,
        weak_sysctls: tolerate.missing_sysctls,
        mntns_compat: tolerate.old_mounts,
        lsm_profile: request.lsm_profile.clone(),
        lsm_mount_context: request.lsm_mount_context.clone(),
        ..Request::new(dirs.for_criu(RESTORE_LOG, criu_config))
    }
}

/// Without connections to bring back there is nothing to hold packets back for.
fn network_lock(session: &mut criu::Session, allow: &Allowances) -> criu::Result<Option<NetworkLock>> {
    if allow.network_lock.is_some() {
        return Ok(allow.network_lock);
    }
    let skip = !allow.tcp.established && session.version()? >= criu::Version::new(3, 19, 0);
    Ok(skip.then_some(NetworkLock::Skip))
}

fn request_cgroups(
    asked: Option<criu::CgroupMode>,
    bundle: &Bundle,
    record: &Record,
) -> Result<criu::Cgroups> {
    let mode = cgroups::mode(asked, &bundle.config)?;
    let roots = if mode == criu::CgroupMode::Ignore { Vec::new() } else { roots(&record.cgroup)? };
    Ok(criu::Cgroups { mode: Some(mode), roots, ..Default::default() })
}

/// One new root for each controller: the container's cgroup here, whatever it was called where it was dumped.
fn roots(cgroup: &Cgroup) -> Result<Vec<criu::CgroupRoot>> {
    let layout = Layout::detect()?;
    let relative = cgroup.relative_paths(&layout);
    Ok(relative
        .into_iter()
        .map(|(controller, path)| criu::CgroupRoot { controller: Some(controller), path })
        .collect())
}

/// Init was made as our child (`rst_sibling`): holds it so that its number cannot become another's.
pub(crate) fn adopt(pid: i32) -> Result<Child> {
    let gone = || Error::Request(format!("the restored init process {pid} has ended at once"));
    let pid = Pid::from_raw(pid).ok_or_else(gone)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    Ok(Child { pid, pidfd })
}
