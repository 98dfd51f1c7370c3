//! What of a container lies outside it, by the names that a dump and the restore of it must agree on.
//!
//! Both sides compute the names from the same plan and the same namespaces, here and nowhere else.

use crate::error::{Error, Result, Step};
use rootfs::Plan;
use rustix::fs::stat;
use spec::Namespaces;
use spec::oci::LinuxNamespaceType as Ns;
use std::path::PathBuf;
use sys::path::Root;

/// runc's names for a network and a pid namespace that were joined by path; so each restores what the other dumped.
const NAMESPACES: [(Ns, &str, &str); 2] = [(Ns::Network, "net", NETWORK), (Ns::Pid, "pid", "extRootPidNS")];
/// The network's.
pub(crate) const NETWORK: &str = "extRootNetNS";

/// The `--external` values of a dump: `init` is the container's init as the host sees it.
pub(crate) fn for_dump(plan: &Plan, namespaces: &Namespaces, init: i32) -> Result<Vec<String>> {
    let root = PathBuf::from(format!("/proc/{init}/root"));
    let root = Root::at(&root)?;
    let mut external: Vec<String> = rootfs::locate_externals(plan, &root)?
        .into_iter()
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

/// The `--external` values of a restore: where each external mount comes from on this host.
pub(crate) fn for_restore(plan: &Plan) -> Result<Vec<String>> {
    plan.externals()
        .into_iter()
        .map(|mount| {
            if !mount.source.exists() {
                return Err(Error::Request(format!(
                    "bind mount {}: source {} does not exist",
                    mount.name,
                    mount.source.display()
                )));
            }
            Ok(format!("mnt[{}]:{}", mount.name, mount.source.display()))
        })
        .collect()
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
