//! A running container, looked at from outside: nothing here changes it.

use super::engine::{Engine, Kind};
use super::inspect::Inspect;
use super::links::{self, Link};
use super::mounts::{self, Bind, External};
use super::record::Record;
use super::tree::Tree;
use crate::checkpoint::outsiders::not_below;
use crate::error::{Error, Result, Step};
use crate::mountinfo::{self, Mount};
use crate::ops;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a dump needs to know of a container.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its first process, as the host counts.
    pub(super) pid: i32,
    /// It was restored standing alone: the engine does not know that it runs.
    pub(super) is_alone: bool,
    /// The type of its root's file system.
    pub(super) root_type: String,
    /// What is noted down for the restore.
    pub(super) record: Record,
    /// The inode of a network namespace that is not to be dumped.
    pub(super) network: Option<u64>,
    /// Where its stdio leads.
    pub(super) stdio: [String; 3],
    /// Who its root is on the host, if not root.
    pub(super) mapped_root: Option<u32>,
}

impl Subject {
    /// Looks at a container that runs. `noted` is what was written down when it was restored standing alone.
    pub(super) fn find(
        engine: &Engine,
        inspect: &Inspect,
        noted: &Record,
        dockerinit: Option<&Path>,
    ) -> Result<Self> {
        let (pid, is_alone) = process(inspect, noted)?;
        let mut told = inspect.sources();
        told.extend(dockerinit.map(|path| (PathBuf::from(DOCKERINIT), path.to_owned())));
        let (mounts, host) = (mountinfo::of_process(&pid.to_string())?, mountinfo::of_process("self")?);
        let root = mounts.iter().rfind(|mount| mount.place == Path::new("/"));
        let root = root.ok_or_else(|| Error::Request(format!("process {pid} has no root file system")))?;
        let known = noted.tree.clone().filter(|_| is_alone);
        let tree = known.or_else(|| Tree::of_mount(root, Path::new("/sys")));
        let tree = tree.or_else(|| directory(root, &host, pid));
        let has_cgroups = own_namespace(pid, "cgroup")?.is_some();
        let external = mounts::external(&mounts, &host, &told, has_cgroups);
        let is_joined = joins_network(engine.kind(), inspect);
        let network =
            own_namespace(pid, "net")?.filter(|_| is_joined || (is_alone && noted.external_network));
        let cgroup_path = format!("/proc/{pid}/cgroup");
        let cgroups = read_to_string(&cgroup_path).step(|| format!("read {cgroup_path}"))?;
        Ok(Self {
            pid,
            is_alone,
            root_type: root.fstype.clone(),
            record: Record {
                name: inspect.name.trim_start_matches('/').to_owned(),
                tree,
                binds: external.into_iter().map(|one| bind(one, pid, noted)).collect(),
                external_network: network.is_some(),
                links: if network.is_some() { Vec::new() } else { pairs(pid) },
                cgroups: own_cgroups(&cgroups, &inspect.id),
                restored: noted.restored.filter(|_| is_alone),
                ..Record::default()
            },
            network,
            stdio: ops::stdio_links(&pid.to_string()),
            mapped_root: mapped_root(pid)?,
        })
    }

    /// The processes that belong to the container and that CRIU would not see: what an engine `exec`s has its parent outside.
    pub(super) fn outsiders(&self, id: &str) -> Result<Vec<i32>> {
        Ok(not_below(&members(&self.record.cgroups, id)?, self.pid))
    }
}

/// The living processes in a container's cgroups, with their parents. An engine's own monitor may be in one whose name holds the
/// container's id as well (`libpod-conmon-ID.scope`).
fn members(cgroups: &[(String, String)], id: &str) -> Result<BTreeMap<i32, i32>> {
    let trunks: Vec<(&str, PathBuf)> = cgroups
        .iter()
        .filter_map(|(controllers, path)| Some((controllers.as_str(), trunk(path, id)?)))
        .collect();
    let is_member = |memberships: &str| {
        let is_inside = |(controllers, path): (&str, &str)| {
            trunks.iter().any(|(of, trunk)| *of == controllers && Path::new(path).starts_with(trunk))
        };
        memberships.lines().filter_map(fields).any(is_inside)
    };
    let mut members = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").step(|| "read /proc".into())? {
        let name = entry.step(|| "read /proc".into())?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let is_here = read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| is_member(&text));
        if let Some(stat) = is_here.then(|| sys::proc::stat(pid)).transpose()?.flatten()
            && !stat.is_dead()
        {
            members.insert(pid.as_raw_pid(), stat.parent);
        }
    }
    Ok(members)
}

/// Ends what is in the cgroups of a container that does not run: the tasks of a restore that was killed, which wait for their criu.
pub(super) fn end_remains(record: &Record, id: &str) -> Result<()> {
    let since = Instant::now();
    loop {
        let remains = members(&record.cgroups, id)?;
        if remains.is_empty() {
            return Ok(());
        }
        if since.elapsed() > REMAINS {
            let pids = remains.keys().map(i32::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::Request(format!(
                "container {} does not run, but processes are left of it: {pids}",
                short(id)
            )));
        }
        for pid in remains.into_keys().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long they may take to end.
const REMAINS: Duration = Duration::from_secs(5);

/// A container's own cgroup, of the path of one that it may have divided: all up to the name that holds its id.
fn trunk(path: &str, id: &str) -> Option<PathBuf> {
    let holds = |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
    Path::new(path).ancestors().filter(holds).last().map(Path::to_owned)
}

/// Where engines before 1.9 mount their own init.
pub(super) const DOCKERINIT: &str = "/.dockerinit";

/// The container's first process, and whether the engine knows of it.
fn process(inspect: &Inspect, noted: &Record) -> Result<(i32, bool)> {
    let refused = |problem: &str| Err(Error::Request(format!("container {} {problem}", short(&inspect.id))));
    let state = &inspect.state;
    if state.paused {
        return refused("is paused: unpause it first");
    }
    let (pid, is_alone) = match (state.running && state.pid > 0, noted.living()?) {
        (true, _) => (state.pid, false),
        (false, Some(pid)) => (pid, true),
        (false, None) => return refused("does not run"),
    };
    if Pid::from_raw(pid).map(sys::proc::stat).transpose()?.flatten().is_none() {
        return refused(&format!("runs as process {pid}, which is not on this machine"));
    }
    Ok((pid, is_alone))
}

/// What would be lost or would go wrong with a container that is taken out of its engine's hands, refused before anything is touched.
pub(super) fn refuse(inspect: &Inspect, leave_running: bool) -> Result<()> {
    let host = &inspect.host_config;
    let id = short(&inspect.id);
    let refused =
        |problem: String| Err(Error::Request(format!("container {id} cannot be checkpointed: {problem}")));
    for (kind, mode) in [("ipc", &host.ipc_mode), ("pid", &host.pid_mode), ("uts", &host.uts_mode)] {
        if mode.starts_with("container:") {
            return refused(format!("its {kind} namespace is another's ({mode})"));
        }
    }
    if leave_running {
        return Ok(());
    }
    if host.auto_remove {
        return refused("the engine removes it when it ends (--rm); pass --leave-running to keep it".into());
    }
    let policy = host.restart_policy.name.as_str();
    if !["", "no"].contains(&policy) {
        return refused(format!(
            "the engine would start it anew (restart policy {policy}): update it with --restart=no first, or pass --leave-running"
        ));
    }
    Ok(())
}

/// The first digits, as engines print them.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Whether the engine has a network namespace made before the container and lets its runtime join it, which then expects that it is
/// not among the images.
fn joins_network(kind: Kind, inspect: &Inspect) -> bool {
    let mode = &inspect.host_config.network_mode;
    let is_anothers = mode.starts_with("container:") || mode.starts_with("ns:");
    is_anothers || (kind == Kind::Podman && !inspect.network_settings.sandbox_key.is_empty())
}

/// The inode of a process' namespace, unless it is ours too.
fn own_namespace(pid: i32, kind: &str) -> Result<Option<u64>> {
    let inode = |process: &str| {
        let path = format!("/proc/{process}/ns/{kind}");
        std::fs::metadata(&path).map(|meta| meta.ino()).step(|| format!("stat {path}"))
    };
    let its = inode(&pid.to_string())?;
    Ok((its != inode("self")?).then_some(its))
}

/// The virtual ethernet devices of a process' own network namespace, as its own /sys tells of them.
fn pairs(pid: i32) -> Vec<Link> {
    links::find(&PathBuf::from(format!("/proc/{pid}/root/sys")), Path::new("/sys"))
}

/// A root that is a directory of the host.
fn directory(root: &Mount, host: &[Mount], pid: i32) -> Option<Tree> {
    let seen = mountinfo::places(root, host);
    seen.into_iter().find(|path| is_same(path, pid, Path::new("/"))).map(Tree::Directory)
}

fn bind(external: External, pid: i32, noted: &Record) -> Bind {
    let place = &external.destination;
    let noted = || noted.binds.iter().find(|bind| bind.destination == *place)?.source.clone();
    let seen = || external.seen.iter().find(|path| is_same(path, pid, place)).cloned();
    let source = external.told.clone().or_else(seen).or_else(noted);
    external.from(source)
}

/// Whether a path of the host is what the container sees at `place`.
fn is_same(path: &Path, pid: i32, place: &Path) -> bool {
    let inside = PathBuf::from(format!("/proc/{pid}/root")).join(place.strip_prefix("/").unwrap_or(place));
    let id = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    id(path).is_some_and(|here| id(&inside) == Some(here))
}

/// Of the lines of /proc/PID/cgroup (`ID:CONTROLLERS:PATH`, cgroups(7)) those that lead to the container's own cgroup, whose name
/// holds its id with every engine.
fn own_cgroups(memberships: &str, id: &str) -> Vec<(String, String)> {
    let own = memberships.lines().filter_map(fields).filter(|(_, path)| path.contains(id));
    own.map(|(controllers, path)| (controllers.to_owned(), path.to_owned())).collect()
}

/// The controllers and the path of such a line.
fn fields(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// The host's id of a user namespace's root (proc_pid_uid_map(5)).
fn mapped_root(pid: i32) -> Result<Option<u32>> {
    let path = format!("/proc/{pid}/uid_map");
    let map = read_to_string(&path).step(|| format!("read {path}"))?;
    let root = map.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()? == "0").then(|| fields.next()?.parse::<u32>().ok())?
    });
    Ok(root.filter(|uid| *uid != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(json: &str) -> Inspect {
        Inspect::parse(&format!(
            r#"[{{"Id":"0123456789abcdef","State":{{"Running":true,"Pid":1}},"HostConfig":{json}}}]"#
        ))
        .unwrap()
    }

    #[test]
    fn what_the_engine_would_undo_is_refused() {
        let refusal = |json: &str| refuse(&inspect(json), false).unwrap_err().to_string();
        assert!(refusal(r#"{"AutoRemove":true}"#).contains("container 0123456789ab cannot be checkpointed"));
        assert!(refusal(r#"{"AutoRemove":true}"#).contains("--leave-running"));
        assert!(refusal(r#"{"RestartPolicy":{"Name":"always"}}"#).contains("--restart=no"));
        assert!(refusal(r#"{"PidMode":"container:x"}"#).contains("pid namespace is another's (container:x)"));
        assert!(refuse(&inspect(r#"{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}"#), true).is_ok());
        assert!(refuse(&inspect(r#"{"RestartPolicy":{"Name":"no"},"PidMode":"host"}"#), false).is_ok());
    }

    #[test]
    fn a_container_that_does_not_run_is_refused() {
        let stopped = r#"[{"Id":"0123456789abcdef","State":{"Running":false,"Pid":0}}]"#;
        let error = process(&Inspect::parse(stopped).unwrap(), &Record::default()).unwrap_err();
        assert_eq!(error.to_string(), "container 0123456789ab does not run");
        let paused = r#"[{"Id":"0123456789abcdef","State":{"Running":true,"Paused":true,"Pid":1}}]"#;
        let error = process(&Inspect::parse(paused).unwrap(), &Record::default()).unwrap_err();
        assert!(error.to_string().contains("unpause"), "{error}");
    }

    #[test]
    fn a_divided_cgroup_is_the_containers_and_its_monitors_is_not() {
        let own = PathBuf::from("/machine.slice/libpod-0123.scope");
        for path in ["/machine.slice/libpod-0123.scope", "/machine.slice/libpod-0123.scope/container"] {
            assert_eq!(trunk(path, "0123"), Some(own.clone()), "{path}");
        }
        assert!(!Path::new("/machine.slice/libpod-conmon-0123.scope").starts_with(&own));
        assert_eq!(trunk("/machine.slice", "0123"), None);
    }

    #[test]
    fn own_cgroups_hold_the_id() {
        let memberships = "9:name=systemd:/docker/0123\n5:cpu,cpuacct:/docker/0123\n4:pids:/\n0::/docker\n";
        let own = own_cgroups(memberships, "0123");
        assert_eq!(
            own.iter().map(|(controllers, _)| controllers.as_str()).collect::<Vec<_>>(),
            ["name=systemd", "cpu,cpuacct"]
        );
        assert!(own_cgroups("0::/system.slice/docker-0123.scope\n", "0123").len() == 1);
    }
}
