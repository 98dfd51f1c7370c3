//! A container comes back without its engine: CRIU makes its processes from the images, on a root that is mounted here if need be.

use super::engine::Engine;
use super::images::{self, Place};
use super::inspect::Inspect;
use super::links::Link;
use super::mount_root;
use super::mounts::{self, Bind, External};
use super::output::{Output, Stdio};
use super::record::Record;
use super::subject::{DOCKERINIT, end_remains, short};
use super::tree::Tree;
use super::{Allowances, DUMP_LOG, RESTORE_LOG};
use crate::checkpoint::{criu_config, external, held::Held, images::Directories, network};
use crate::error::{Error, Result, Step};
use crate::mountinfo::{self, Mount};
use crate::ops;
use crate::restore::adopt;
use criu::{Answer, CgroupMode, Cgroups, InheritFd, Launch, Notify, Restore as Request};
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use sys::process::Exit;
use sys::view::MountView;

/// A request to restore a container standing alone.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Whose it was.
    pub engine: Engine,
    /// The container.
    pub container: Inspect,
    /// Where its images are.
    pub images: PathBuf,
    /// The criu program.
    pub criu: PathBuf,
    /// What CRIU may find.
    pub allow: Allowances,
    /// Stay until it ends, as its terminal or with our stdio as its own.
    pub attach: bool,
    /// Where its output goes otherwise, if not to `output` beside the images.
    pub output: Option<PathBuf>,
    /// The init of an engine before 1.9.
    pub dockerinit: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The container's first process.
    pub pid: i32,
    /// Where its output goes; None when it came here.
    pub output: Option<PathBuf>,
    /// How it ended, if that was waited for.
    pub exit: Option<Exit>,
}

/// What is going to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    request: &'a Alone,
    record: Record,
    tree: Tree,
    binds: Vec<Bind>,
    /// The root's mount point, which is there for criu alone.
    root: PathBuf,
    criu_config: Option<String>,
}

impl<'a> Plan<'a> {
    /// Looks at images, engine and host; nothing is changed.
    pub fn new(request: &'a Alone) -> Result<Self> {
        let record = super::check_images(&request.images, &request.container)?;
        let host = mountinfo::of_process("self")?;
        let tree = tree(request, &record, &host)?;
        let binds = binds(request, &record);
        check_sources(&binds, &host)?;
        let root = request.images.join("root");
        Ok(Self { request, record, tree, binds, root, criu_config: criu_config::default_file()? })
    }

    /// The request to CRIU and the mounts, for people.
    pub fn in_words(&self) -> Result<Value> {
        let dir = images::open_dir("/".as_ref())?;
        let request = self.to_criu(dir.as_fd());
        let request = request.in_words(&self.request.images, &Stages::new(self, &Output::Ours));
        Ok(json!({"request": request, "root": self.tree, "mounts": self.binds}))
    }

    fn to_criu<'b>(&self, dir: BorrowedFd<'b>) -> Request<'b> {
        let mounts = mounts::for_restore(&self.binds).into_iter();
        let mode = if self.record.cgroups.is_empty() { CgroupMode::Ignore } else { CgroupMode::Soft };
        Request {
            root: Some(self.root.display().to_string()),
            sibling: self.request.attach,
            external: mounts.chain(self.record.links.iter().map(Link::option)).collect(),
            allow: self.request.allow.to_criu(),
            cgroups: Cgroups { mode: Some(mode), ..Cgroups::default() },
            ..Request::new(criu::Images {
                log_file: Some(RESTORE_LOG.to_owned()),
                config_file: self.criu_config.clone(),
                ..criu::Images::new(dir)
            })
        }
    }
}

/// The root: mounted already, or as the engine, the dump, or CRIU's log tell.
fn tree(request: &Alone, record: &Record, host: &[Mount]) -> Result<Tree> {
    let driver = &request.container.graph_driver;
    let merged = ["MergedDir", "Mountpoint"].iter().find_map(|name| driver.word(name)).map(PathBuf::from);
    if let Some(merged) = merged.filter(|merged| mountinfo::is_mounted(merged, host)) {
        return Ok(Tree::Directory(merged));
    }
    let log = || Tree::of_log(&std::fs::read_to_string(request.images.join(DUMP_LOG)).ok()?);
    let tree = Tree::of_driver(driver, record.tree.as_ref()).or_else(|| record.tree.clone()).or_else(log);
    tree.ok_or_else(|| {
        Error::Request(format!(
            "the root file system of container {} cannot be found: neither {} nor {} tells (storage driver {:?})",
            short(&request.container.id),
            request.engine.program().display(),
            request.images.join(DUMP_LOG).display(),
            driver.name
        ))
    })
}

/// What was mounted from outside at the dump, from where the engine has it now; without a record all that the engine knows of.
fn binds(request: &Alone, record: &Record) -> Vec<Bind> {
    let mut told = request.container.sources();
    told.extend(request.dockerinit.iter().map(|path| (PathBuf::from(DOCKERINIT), path.clone())));
    if record.binds.is_empty() {
        let external = |(destination, source): (PathBuf, PathBuf)| {
            let told = Some(source.clone());
            External { destination, told, seen: Vec::new() }.from(Some(source))
        };
        return told.into_iter().map(external).collect();
    }
    let now = |bind: &Bind| Bind {
        source: told.get(&bind.destination).cloned().or_else(|| bind.source.clone()),
        ..bind.clone()
    };
    record.binds.iter().map(now).collect()
}

/// Looks whether all is there that is to be mounted; but CRIU makes the container's cgroups itself.
fn check_sources(binds: &[Bind], host: &[Mount]) -> Result<()> {
    let is_cgroup = |source: &Path| {
        let mounts = host.iter().filter(|mount| mount.fstype.starts_with("cgroup"));
        mounts.into_iter().any(|mount| source.starts_with(&mount.place))
    };
    for bind in binds {
        let problem = match &bind.source {
            Some(source) if source.exists() || is_cgroup(source) => continue,
            Some(source) => format!("{} does not exist", source.display()),
            None => "nobody knows where it comes from".to_owned(),
        };
        return Err(Error::Request(format!("mount {}: {problem}", bind.destination.display())));
    }
    Ok(())
}

/// Restores a container standing alone. `tell` hears of each step, `ready` of the running container.
pub fn restore_alone(
    request: &Alone,
    tell: &mut dyn FnMut(&str),
    ready: &mut dyn FnMut(&Restored),
) -> Result<Restored> {
    Plan::new(request)?;
    let lock = Place::new(&request.images).hold()?;
    let plan = Plan::new(request)?;
    end_remains(&plan.record, &request.container.id)?;
    tell(&format!("root file system: {}", json!(plan.tree)));
    let signals = if request.attach { Some(ops::prepare_attendance(false)?) } else { None };
    let (mut restored, master, carriers) = plan.bring_back()?;
    tell(&format!("container {} is process {}", short(&request.container.id), restored.pid));
    drop(lock);
    ready(&restored);
    if let Some(signals) = signals {
        let child = adopt(restored.pid)?;
        restored.exit = Some(ops::attend(&child, master, None, &signals)?);
        for mut carrier in carriers {
            // An error says that its end was noticed already, among other ends.
            let _ = carrier.wait();
        }
        Place::new(&request.images).forget_restored()?;
    }
    Ok(restored)
}

impl Plan<'_> {
    /// Has CRIU make the processes. Told with them: the terminal's master, if it is to be shown here, and who carries the output.
    fn bring_back(&self) -> Result<(Restored, Option<OwnedFd>, Vec<Child>)> {
        let request = self.request;
        let output = match request.attach {
            true => Output::Ours,
            false => {
                Output::to_file(request.output.clone().unwrap_or_else(|| request.images.join("output")))?
            }
        };
        let network = self.network()?;
        let held = Held::open(&request.images, None)?;
        let _root = MountPoint::make(&self.root)?;
        let view = MountView::private()?;
        criu::kernel_cache::lend(&view);
        mount_root::mount(&self.tree, &self.root, &view)?;
        let dirs = Directories::of(held.open_again()?, None);
        let stdio = Stdio::of_images(dirs.images().as_fd(), &output)?;
        let mut launch = Launch::new(request.criu.clone());
        launch.seal();
        launch.session_keyring(crate::store::session_keyring(&request.container.id));
        let mut inherit_fds = stdio.pass(&mut launch);
        if let Some(network) = &network {
            inherit_fds
                .push(InheritFd { key: external::NETWORK.to_owned(), fd: launch.pass(network.as_fd()) });
        }
        let session = launch.start()?;
        drop(view);
        let criu_request = Request { inherit_fds, ..self.to_criu(dirs.images().as_fd()) };
        let mut stages = Stages::new(self, &output);
        let outcome = session.restore(&criu_request, &mut stages).map_err(Error::of_criu(&request.criu))?;
        let restored = Restored { pid: outcome.pid, output: output.path(), exit: None };
        Ok((restored, stages.master, stdio.into_carriers()))
    }

    /// The network namespace in place of one that is not among the images: that of the container which it shared, or a new one.
    fn network(&self) -> Result<Option<OwnedFd>> {
        if !self.record.external_network {
            return Ok(None);
        }
        let mode = &self.request.container.host_config.network_mode;
        let path = match (mode.strip_prefix("container:"), mode.strip_prefix("ns:")) {
            (Some(other), _) => format!("/proc/{}/ns/net", self.request.engine.inspect(other)?.state.pid),
            (None, Some(path)) => path.to_owned(),
            (None, None) => {
                log::warn!(
                    "the engine has taken the container's network away: it gets one with a loopback device only"
                );
                return network::make_bare().map(Some);
            }
        };
        let file = std::fs::File::open(&path).step(|| format!("network namespace {path}"))?;
        Ok(Some(file.into()))
    }
}

/// A directory that is there as long as it is mounted on; nobody outside our view sees what is.
struct MountPoint<'a>(&'a Path);

impl<'a> MountPoint<'a> {
    fn make(path: &'a Path) -> Result<Self> {
        std::fs::create_dir_all(path).step(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for MountPoint<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.0);
    }
}

/// What is done at CRIU's stages.
struct Stages<'a> {
    plan: &'a Plan<'a>,
    output: &'a Output,
    master: Option<OwnedFd>,
}

impl<'a> Stages<'a> {
    fn new(plan: &'a Plan<'a>, output: &'a Output) -> Self {
        Self { plan, output, master: None }
    }
}

impl Notify for Stages<'_> {
    /// Nothing runs yet: written down now, no container runs that is not known of, should we be killed.
    fn post_restore(&mut self, pid: i32) -> Answer {
        let Plan { request, record, tree, .. } = self.plan;
        // The next dump sees the mount made here, of which FUSE, say, does not tell the layers.
        let tree = record.tree.as_ref().unwrap_or(tree).clone();
        let mut record = Record { tree: Some(tree), ..record.clone() };
        Ok(record.write_restored(images::open_dir(&request.images)?.as_fd(), &request.images, pid)?)
    }

    fn orphan_pts_master(&mut self, master: OwnedFd) -> Answer {
        match self.output {
            Output::Ours => self.master = Some(master),
            // It outlives us.
            Output::File(..) => drop(self.output.carry(master, 1)?),
        }
        Ok(())
    }
}
