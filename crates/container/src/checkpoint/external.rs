//! What of a container lies outside it, by the names that a dump and the restore of it must agree on.
//!
//! Both sides compute the names from the same plan and the same namespaces, here and nowhere else.

use crate::error::{Error, Result, Step};
use rootfs::{ExternalKind, Hollow, Plan};
use rustix::fs::{major, minor, stat};
use spec::oci::LinuxNamespaceType as Ns;
use spec::{Config, Namespaces};
use std::path::{Path, PathBuf};
use sys::path::Root;

/// runc's names for a network and a pid namespace that were joined by path; so each restores what the other dumped.
const NAMESPACES: [(Ns, &str, &str); 2] = [(Ns::Network, "net", NETWORK), (Ns::Pid, "pid", "extRootPidNS")];
/// The network's.
pub(crate) const NETWORK: &str = "extRootNetNS";

/// The `--external` values of a dump: `init` is the container's init as the host sees it.
/// A `portable` one keeps the names that all runtimes know.
pub(crate) fn for_dump(
    plan: &Plan,
    namespaces: &Namespaces,
    init: i32,
    portable: bool,
) -> Result<Vec<String>> {
    let root = PathBuf::from(format!("/proc/{init}/root"));
    let root = Root::at(&root)?;
    let mut external: Vec<String> = rootfs::locate_externals(plan, &root)?
        .into_iter()
        .filter(|mount| !(portable && mount.kind == ExternalKind::MaskedDir))
        .map(|mount| format!("mnt[{}]:{}", mount.destination.display(), mount.name))
        .collect();
    for (kind, word, name) in NAMESPACES {
        if let Some(path) = namespaces.path(kind) {
            let inode = stat(path).step(|| format!("{kind} namespace path {}", path.display()))?.st_ino;
            external.push(format!("{word}[{inode}]:{name}"));
        }
    }
    Ok(external)
}

/// The `--external` value that leaves a process' own network namespace out of its dump.
pub(super) fn network_of(pid: i32) -> Result<String> {
    let path = format!("/proc/{pid}/ns/net");
    let inode = stat(&path).step(|| format!("stat {path}"))?.st_ino;
    Ok(format!("net[{inode}]:{NETWORK}"))
}

/// A container's tmpfs in which there may be so little that they need not be dumped.
#[derive(Debug)]
pub(super) struct HollowMounts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) config: &'a Config,
    pub(super) init: i32,
}

impl HollowMounts<'_> {
    /// Finds them, in a container that stands still. Where its processes may mount, a tmpfs can be in places that are not
    /// in the plan, so all is left to CRIU; as in a user namespace, whose tmpfs nobody else can make.
    pub(super) fn find(&self) -> Result<Vec<Hollow>> {
        let may_mount = self.config.process()?.may_gain("CAP_SYS_ADMIN");
        if may_mount || self.config.namespaces()?.is_private(Ns::User) {
            return Ok(Vec::new());
        }
        let path = format!("/proc/{}/mountinfo", self.init);
        let mounts = std::fs::read_to_string(&path).step(|| format!("read {path}"))?;
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        let is_only_mount = |device| mounted_from(&mounts, device) == 1;
        Ok(rootfs::find_hollow(self.plan, &Root::at(&root)?, &is_only_mount))
    }
}

/// How many mounts of a filesystem there are: the third field of a line is its device number (proc_pid_mountinfo(5)).
fn mounted_from(mountinfo: &str, device: u64) -> usize {
    let number = format!("{}:{}", major(device), minor(device));
    mountinfo.lines().filter(|line| line.split(' ').nth(2) == Some(&number)).count()
}

/// The `--external` value that leaves a tmpfs out of a dump.
pub(super) fn dumped_as(hollow: &Hollow) -> String {
    format!("mnt[{}]:{}", hollow.destination.display(), hollow.name.display())
}

/// Makes what was left out again, and what hides directories, each below its own directory of `place`, and gives the `--external` values for them. Only
/// this process' mount namespace sees them, so it is to be one of its own.
pub(crate) fn make_again(hollow: &[Hollow], plan: &Plan, place: &Path) -> Result<Vec<String>> {
    let again = |(index, hollow): (usize, &Hollow)| {
        let place = directory(&place.join(index.to_string()))?;
        hollow.mount(plan, &place)?;
        Ok(format!("mnt[{}]:{}", hollow.name.display(), place.display()))
    };
    let mut external: Vec<String> = hollow.iter().enumerate().map(again).collect::<Result<_>>()?;
    let mask = directory(&place.join("mask"))?;
    let name = rootfs::mount_mask(plan, &mask)?;
    external.extend(name.map(|name| format!("mnt[{name}]:{}", mask.display())));
    Ok(external)
}

fn directory(path: &Path) -> Result<PathBuf> {
    std::fs::create_dir(path).step(|| format!("create {}", path.display()))?;
    Ok(path.to_owned())
}

/// The `--external` values of a restore: where each external mount comes from on this host.
pub(crate) fn for_restore(plan: &Plan) -> Result<Vec<String>> {
    plan.externals()
        .into_iter()
        .map(|mount| match place_of(&mount.source) {
            Some(place) => Ok(format!("mnt[{}]:{}", mount.name, place.display())),
            None => Err(Error::Request(format!(
                "bind mount {}: source {} does not exist",
                mount.name,
                mount.source.display()
            ))),
        })
        .collect()
}

/// Where the source of a bind mount is. A link at the end of the path, which CRIU would try to mount itself, is followed, unless
/// it is one of /proc's, which lead to no path.
fn place_of(source: &Path) -> Option<PathBuf> {
    let is_link = source.symlink_metadata().ok()?.is_symlink();
    if !is_link {
        return Some(source.to_owned());
    }
    std::fs::canonicalize(source).ok().or_else(|| source.exists().then(|| source.to_owned()))
}

/// The namespaces that a restored container enters through a descriptor, with their names.
pub(crate) fn inherited_namespaces(namespaces: &Namespaces) -> Vec<(Ns, &'static str, PathBuf)> {
    NAMESPACES
        .iter()
        .filter_map(|(kind, _, name)| Some((*kind, *name, namespaces.path(*kind)?.clone())))
        .collect()
}

/// The namespaces that CRIU joins by path.
pub(crate) fn joined_namespaces(namespaces: &Namespaces) -> Vec<criu::JoinNamespace> {
    const WORDS: [(Ns, &str); 4] =
        [(Ns::Ipc, "ipc"), (Ns::Uts, "uts"), (Ns::Time, "time"), (Ns::User, "user")];
    let join = |(kind, word): &(Ns, &str)| {
        let path = namespaces.path(*kind)?.display().to_string();
        Some(criu::JoinNamespace { kind: (*word).to_owned(), path, extra: None })
    };
    WORDS.iter().filter_map(join).collect()
}
