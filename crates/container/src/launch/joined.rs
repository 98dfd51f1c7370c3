//! Namespaces that are joined by path.

use super::flag;
use crate::error::{Error, Result, Step};
use rustix::fs::{Mode, OFlags};
use spec::oci::LinuxNamespaceType as Ns;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A namespace to join, opened on the host.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) kind: spec::Namespace,
    pub(crate) path: PathBuf,
    namespace: OwnedFd,
}

impl Joined {
    /// Opens the namespaces of config.json that have a path.
    pub(crate) fn open_all(namespaces: &spec::Namespaces) -> Result<Vec<Self>> {
        let open = |(kind, path): &(Ns, PathBuf)| {
            Ok(Self { kind: *kind, path: path.clone(), namespace: open_namespace(*kind, path)? })
        };
        namespaces.joined.iter().map(open).collect()
    }

    /// Whether it is the caller's own.
    fn is_callers(&self) -> bool {
        let inode = rustix::fs::fstat(&self.namespace).map(|stat| stat.st_ino);
        self.kind == Ns::Network && rustix::fs::stat("/proc/self/ns/net").map(|stat| stat.st_ino) == inode
    }

    /// Joins it; the error text names it.
    pub(crate) fn enter(&self) -> std::result::Result<(), String> {
        let Self { kind, path, namespace } = self;
        sys::process::join(namespace.as_fd(), flag(*kind))
            .map_err(|e| format!("join {kind} namespace {}: {}", path.display(), sys::strerror(e.errno)))
    }
}

/// Refuses what would change the host's network: `net.*` sysctls in a network namespace that was joined, and is the host's.
pub(super) fn check_sysctls(config: &spec::Config, joined: &[Joined]) -> Result<()> {
    let list = config.linux().and_then(|linux| linux.sysctl().as_ref());
    let mut keys = list.into_iter().flatten().map(|(key, _)| key);
    match keys.find(|key| key.starts_with("net.") || key.starts_with("net/")) {
        Some(key) if joined.iter().any(Joined::is_callers) => {
            Err(Error::Request(format!("linux.sysctl[{key:?}]: not allowed in host network namespace")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn open_namespace(kind: Ns, path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("linux.namespaces: {kind} namespace path {}", path.display()))
}

/// The mappings that a joined user namespace must have, where config.json says so: as `ID ID SIZE` lines without blanks.
#[derive(Debug)]
pub(super) struct Expected([Option<String>; 2]);

impl Expected {
    pub(super) fn of(config: &spec::Config) -> Self {
        let linux = config.linux().filter(|_| config.namespaces().is_ok_and(|n| n.path(Ns::User).is_some()));
        let text = |mappings: &Option<Vec<spec::oci::LinuxIdMapping>>| {
            let mappings = mappings.as_ref().filter(|list| !list.is_empty())?;
            let lines =
                mappings.iter().map(|m| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size()));
            Some(lines.collect())
        };
        Self([linux.and_then(|l| text(l.uid_mappings())), linux.and_then(|l| text(l.gid_mappings()))])
    }

    /// Compares with the maps of the user namespace that this process is in; `own` is its own directory in /proc, opened
    /// before it joined any namespace.
    fn check(&self, own: &OwnedFd) -> std::result::Result<(), String> {
        for (file, expected) in ["uid_map", "gid_map"].into_iter().zip(&self.0) {
            let Some(expected) = expected else { continue };
            let map = read_at(own, file)
                .map_err(|e| format!("read {file}: {}", sys::strerror(e.raw_os_error())))?;
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
            if map.lines().map(words).collect::<String>() != *expected {
                return Err(format!(
                    "linux.{}Mappings: user namespaces enabled, but both namespace path and non-matching mapping \
                     specified -- you may only provide one",
                    &file[..3]
                ));
            }
        }
        Ok(())
    }
}

fn read_at(dir: &OwnedFd, name: &str) -> rustix::io::Result<String> {
    let file = rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).map_err(|_| rustix::io::Errno::IO)?;
    Ok(text)
}

/// Joins all namespaces of a container that has a user namespace of its own, new or joined.
///
/// First whatever can be joined with the rights that this process has: once in the user namespace, those that belong to the
/// host are out of reach. Then the user namespace; and in it what is left, since an unprivileged caller gets the rights over
/// the others there.
pub(super) fn enter_all(joined: &[Joined], mappings: &Expected) -> std::result::Result<(), String> {
    let Some(user) = joined.iter().find(|one| one.kind == Ns::User) else {
        return joined.iter().try_for_each(Joined::enter);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own =
        rustix::fs::open("/proc/self", flags, Mode::empty()).map_err(|e| format!("open /proc/self: {e}"))?;
    let others = joined.iter().filter(|one| one.kind != Ns::User);
    let left: Vec<_> = others.filter(|one| one.enter().is_err()).collect();
    user.enter()?;
    mappings.check(&own)?;
    left.into_iter().try_for_each(Joined::enter)
}

/// Runs `make` so that the process it forks is born in the pid namespace, if there is one to be joined.
pub(super) fn with_pid_namespace<T>(
    joined: Option<&Joined>,
    make: impl FnOnce() -> sys::Result<T>,
) -> Result<T> {
    let Some(joined) = joined else { return Ok(make()?) };
    let own = open_namespace(Ns::Pid, Path::new("/proc/self/ns/pid"))?;
    joined.enter().step(|| "linux.namespaces".into())?;
    let made = make();
    sys::process::join(own.as_fd(), flag(Ns::Pid))?;
    Ok(made?)
}
