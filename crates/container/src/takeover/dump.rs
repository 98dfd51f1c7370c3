//! A container of an engine's becomes a directory of images.

use super::engine::Engine;
use super::images::{self, Place};
use super::inspect::Inspect;
use super::mounts;
use super::record::Record;
use super::subject::{self, Subject, short};
use super::{Allowances, DUMP_LOG};
use crate::checkpoint::{criu_config, descriptors, external, images::Directories};
use crate::error::{Error, Result};
use crate::mountinfo::{self, Mount};
use criu::{AfterDump, Answer, CgroupMode, Cgroups, Dump, Notify};
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A request to dump a container.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Whose it is.
    pub engine: Engine,
    /// The container.
    pub container: Inspect,
    /// Where its images go.
    pub images: PathBuf,
    /// The criu program.
    pub criu: PathBuf,
    /// What CRIU may find.
    pub allow: Allowances,
    /// Let it run on.
    pub leave_running: bool,
    /// The init of an engine before 1.9.
    pub dockerinit: Option<PathBuf>,
}

/// How long the engine may take to notice that its container has ended.
const NOTICE: Duration = Duration::from_secs(15);

/// How long what came in by exec may take to end.
const PASSING: Duration = Duration::from_secs(1);

/// What is going to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    request: &'a Checkpoint,
    /// What was written down before.
    noted: Record,
    subject: Subject,
    criu_config: Option<String>,
}

impl<'a> Plan<'a> {
    /// Looks at the container; nothing is changed.
    pub fn new(request: &'a Checkpoint) -> Result<Self> {
        let noted = match Place::new(&request.images).record() {
            // What the engine knows to run needs no note of ours.
            Err(error) if request.container.state.running => {
                log::warn!("{}: {error}", request.images.display());
                Record::default()
            }
            other => other?,
        };
        subject::refuse(&request.container, request.leave_running)?;
        let dockerinit = request.dockerinit.as_deref();
        let subject = Subject::find(&request.engine, &request.container, &noted, dockerinit)?;
        let plan = Self { request, noted, subject, criu_config: criu_config::default_file()? };
        plan.refuse_outsiders()?;
        Ok(plan)
    }

    /// CRIU dumps the tree below the first process, and what came in by exec would end with it. A check of the container's health is
    /// soon over.
    fn refuse_outsiders(&self) -> Result<()> {
        if self.request.leave_running {
            return Ok(());
        }
        let since = Instant::now();
        let pid = loop {
            match self.subject.outsiders(&self.request.container.id)?.first() {
                None => return Ok(()),
                Some(_) if since.elapsed() < PASSING => std::thread::sleep(Duration::from_millis(20)),
                Some(pid) => break *pid,
            }
        };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Err(Error::Request(format!(
            "process {pid} ({}) came in by exec, so the checkpoint would lose it: end it first",
            name.trim()
        )))
    }

    /// The request to CRIU and the mounts, for people.
    pub fn in_words(&self) -> Result<Value> {
        let root = images::open_dir("/".as_ref())?;
        let request = self.to_criu(root.as_fd()).in_words(&self.request.images, &Stages::new(self));
        Ok(json!({
            "request": request,
            "process": self.subject.pid,
            "root": self.subject.record.tree,
            "mounts": self.subject.record.binds,
        }))
    }

    fn to_criu<'b>(&self, dir: BorrowedFd<'b>) -> Dump<'b> {
        let (allow, subject) = (&self.request.allow, &self.subject);
        let mut external = mounts::for_dump(&subject.record.binds);
        external.extend(subject.network.map(|inode| format!("net[{inode}]:{}", external::NETWORK)));
        Dump {
            // CRIU needs it to tell the container's paths from those in AUFS branches, which map_files shows.
            root: (subject.root_type == "aufs").then(|| format!("/proc/{}/root", subject.pid)),
            after: if self.request.leave_running { AfterDump::Run } else { AfterDump::Kill },
            external,
            allow: allow.to_criu(),
            cgroups: cgroups(&subject.record),
            ..Dump::new(
                subject.pid,
                criu::Images {
                    log_file: Some(DUMP_LOG.to_owned()),
                    // At this level it tells of all mounts, from which a root can be mounted again when nobody else knows.
                    log_level: Some(criu::LogLevel::Debug),
                    config_file: self.criu_config.clone(),
                    work_path: Some(self.request.images.clone()),
                    ..criu::Images::new(dir)
                },
            )
        }
    }
}

/// CRIU makes the container's cgroups again, with their limits; those that it shares with others are left alone.
fn cgroups(record: &Record) -> Cgroups {
    let controllers: Vec<String> =
        record.cgroups.iter().map(|(controllers, _)| controllers.clone()).collect();
    // An empty list is every hierarchy to CRIU.
    let mode = if controllers.is_empty() { CgroupMode::Ignore } else { CgroupMode::Soft };
    Cgroups { mode: Some(mode), controllers, ..Cgroups::default() }
}

/// Dumps a container. `tell` hears of each step.
pub fn checkpoint(request: &Checkpoint, tell: &mut dyn FnMut(&str)) -> Result<()> {
    Plan::new(request)?;
    let place = Place::new(&request.images);
    let dirs = Directories::create(&request.images, None)?.building_on(None, None)?;
    let held = place.hold()?;
    // Once more: another one may have been at work meanwhile.
    let plan = Plan::new(request)?;
    tell(&format!("container {} is process {}", short(&request.container.id), plan.subject.pid));
    tell(&format!("root file system: {}", json!(plan.subject.record.tree)));
    place.put_aside()?;
    let dumped = plan.dump(&dirs, held.as_fd());
    if dumped.is_err() {
        // What the log says is worth keeping.
        place.put_back()?;
        if plan.noted != Record::default() {
            plan.noted.write(dirs.images().as_fd())?;
        }
    }
    dumped.map_err(Error::of_criu(&request.criu))?;
    place.drop_aside()?;
    tell(&format!("images are in {}", request.images.display()));
    if let Some(uid) = plan.subject.mapped_root {
        dirs.share_with(uid)?;
    }
    if !request.leave_running {
        plan.after_the_end(&place, tell)?;
    }
    Ok(())
}

impl Plan<'_> {
    /// CRIU holds the directory, too: it goes on for a while when we are killed.
    fn dump(&self, dirs: &Directories, held: BorrowedFd<'_>) -> criu::Result<()> {
        let session = {
            let _view = criu::kernel_cache::view();
            let mut launch = criu::Launch::new(self.request.criu.clone());
            launch.pass(held);
            launch.outlive_us();
            launch.start()?
        };
        let dump = self.to_criu(dirs.images().as_fd());
        session.dump(&dump, &mut Stages { plan: self, dirs: Some(dirs) }).map(drop)
    }

    /// What is to be done once the container is gone.
    fn after_the_end(&self, place: &Place<'_>, tell: &mut dyn FnMut(&str)) -> Result<()> {
        place.forget_restored()?;
        if self.subject.is_alone {
            self.wait_for_its_end();
            remove_cgroups(&self.subject.record);
            return Ok(());
        }
        tell("waiting for the engine to notice");
        if let Err(problem) = self.is_noticed() {
            log::warn!("the checkpoint is complete, but {problem}");
        }
        Ok(())
    }

    /// Whose child it is has to notice, too: until then nobody else can have its pid, as a container in the host's pid namespace must.
    fn wait_for_its_end(&self) {
        let since = Instant::now();
        let is_there = || Path::new("/proc").join(self.subject.pid.to_string()).exists();
        while is_there() && since.elapsed() < PASSING {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the engine knows that the container has ended.
    fn is_noticed(&self) -> Result<()> {
        let (engine, id) = (&self.request.engine, &self.request.container.id);
        let since = Instant::now();
        while engine.inspect(id)?.state.running {
            if since.elapsed() > NOTICE {
                let program = engine.program().display();
                return Err(Error::Request(format!("{program} still believes that {} runs", short(id))));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// Takes away the cgroups that CRIU made for a container standing alone; one that somebody uses stays.
fn remove_cgroups(record: &Record) {
    for dir in
        mountinfo::of_process("self").map(|host| directories(&record.cgroups, &host)).unwrap_or_default()
    {
        if let Err(e) = std::fs::remove_dir(&dir) {
            log::debug!("remove {}: {e}", dir.display());
        }
    }
}

/// Where the host sees these cgroups: the hierarchy whose options name the controllers, and cgroup2 for none.
fn directories(cgroups: &[(String, String)], host: &[Mount]) -> Vec<PathBuf> {
    let directory = |(controllers, path): &(String, String)| {
        let has = |mount: &&Mount| match controllers.as_str() {
            "" => mount.fstype == "cgroup2",
            all => {
                mount.fstype == "cgroup"
                    && all.split(',').all(|one| mount.options.split(',').any(|o| o == one))
            }
        };
        let mount = host.iter().find(has)?;
        Some(mount.place.join(Path::new(path).strip_prefix(&mount.root).ok()?))
    };
    cgroups.iter().filter_map(directory).collect()
}

/// What is done at CRIU's stages.
struct Stages<'a> {
    plan: &'a Plan<'a>,
    dirs: Option<&'a Directories>,
}

impl<'a> Stages<'a> {
    fn new(plan: &'a Plan<'a>) -> Self {
        Self { plan, dirs: None }
    }
}

impl Notify for Stages<'_> {
    /// Once more, now that CRIU is about to freeze it.
    fn pre_dump(&mut self) -> Answer {
        Ok(self.plan.refuse_outsiders()?)
    }

    /// The images are complete, and CRIU can still let the container go on: a full disk loses nobody.
    fn post_dump(&mut self) -> Answer {
        let Some(dirs) = self.dirs else { return Ok(()) };
        let images = dirs.images().as_fd();
        descriptors::write(images, &self.plan.subject.stdio)?;
        Ok(self.plan.subject.record.write(images)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_found_in_their_hierarchies() {
        let host = mountinfo::parse(
            "1 0 0:30 / /c/cpu rw - cgroup cgroup rw,cpu,cpuacct\n2 0 0:31 / /c/systemd rw - cgroup c rw,name=systemd\n\
             3 0 0:32 /up /c/unified rw - cgroup2 c rw\n",
        );
        let at = |controllers: &str, path: &str| {
            let found = directories(&[(controllers.into(), path.into())], &host);
            found.first().map_or(String::new(), |path| path.display().to_string())
        };
        assert_eq!(at("cpu,cpuacct", "/docker/1"), "/c/cpu/docker/1");
        assert_eq!(at("name=systemd", "/docker/1"), "/c/systemd/docker/1");
        assert_eq!(at("", "/up/1"), "/c/unified/1");
        assert_eq!(at("", "/elsewhere"), "");
        assert_eq!(at("memory", "/docker/1"), "");
    }
}
