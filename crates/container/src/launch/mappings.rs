//! User and group id mappings (user_namespaces(7)): of a container's new user namespace, and of its id-mapped mounts.

use crate::error::{Error, Result, Step};
use rootfs::{IdMap, IdRange, Kind, Plan};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sys::process::{Child, Forked, Namespaces};

/// Which ids, and who maps them for a caller without the right to do it by itself.
struct Side {
    file: &'static str,
    tool: &'static str,
    own_id: u32,
    field: &'static str,
}

/// Maps the ids of a new user namespace.
///
/// Whoever has the rights over the ids writes both maps directly, and once. Everybody may map their own id alone, but the
/// group only after giving up setgroups(2) in there (CVE-2014-8989). For all else the set-user-ID tools newuidmap and
/// newgidmap must be asked, which look into /etc/subuid and /etc/subgid.
pub(super) fn write(child: &Child, config: &spec::Config) -> Result<()> {
    let Some(linux) = config.linux() else { return Ok(()) };
    let (uid, gid) = sys::effective_ids();
    let users = Side { file: "uid_map", tool: "newuidmap", own_id: uid, field: "linux.uidMappings" };
    let groups = Side { file: "gid_map", tool: "newgidmap", own_id: gid, field: "linux.gidMappings" };
    write_side(child, &users, &ranges(linux.uid_mappings()))?;
    let map = ranges(linux.gid_mappings());
    if !sys::is_root() && is_own_id_alone(&map, gid) {
        write_file(child, "setgroups", "deny")?;
    }
    write_side(child, &groups, &map)
}

fn write_side(child: &Child, side: &Side, map: &[IdRange]) -> Result<()> {
    match write_file(child, side.file, &text(map)) {
        Err(_) if !sys::is_root() && !is_own_id_alone(map, side.own_id) => ask_tool(child, side, map),
        other => other,
    }
}

fn ranges(mappings: &Option<Vec<spec::oci::LinuxIdMapping>>) -> Vec<IdRange> {
    let range = |m: &spec::oci::LinuxIdMapping| IdRange {
        container: m.container_id(),
        host: m.host_id(),
        size: m.size(),
    };
    mappings.iter().flatten().map(range).collect()
}

fn is_own_id_alone(map: &[IdRange], own: u32) -> bool {
    matches!(map, [one] if one.host == own && one.size == 1)
}

/// The lines of a map file.
fn text(map: &[IdRange]) -> String {
    map.iter().map(|m| format!("{} {} {}\n", m.container, m.host, m.size)).collect()
}

fn write_file(child: &Child, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{}/{file}", child.pid);
    // The kernel takes a map in one write only.
    std::fs::write(&path, text).step(|| format!("write {text:?} to {path}"))
}

fn ask_tool(child: &Child, side: &Side, map: &[IdRange]) -> Result<()> {
    let Side { tool, field, .. } = side;
    let Some(path) = in_path(tool) else {
        return Err(Error::Request(format!(
            "{field}: mapping more than one's own id needs {tool}, which is not in PATH (Debian: package uidmap)"
        )));
    };
    let mut command = Command::new(&path);
    command.arg(child.pid.to_string()).stdin(Stdio::null());
    for one in map {
        command.args([one.container, one.host, one.size].map(|number| number.to_string()));
    }
    let output = command.output().step(|| path.display().to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Request(format!(
        "{field}: {tool}: {} (are these ids the caller's in /etc/sub{}?)",
        said.lines().next().unwrap_or("failed").trim().trim_start_matches(&format!("{tool}: ")),
        &side.file[..3],
    )))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The user namespaces that hold the mappings of those id-mapped mounts which have one of their own, by the mount's index.
#[derive(Debug, Default)]
pub(crate) struct MountMaps(BTreeMap<usize, OwnedFd>);

impl MountMaps {
    /// Makes them; none where the caller has no right to use them.
    pub(super) fn make(plan: &Plan) -> Result<Self> {
        let mut made = BTreeMap::new();
        for step in &plan.mounts {
            if let Kind::Bind(bind) = &step.kind
                && let Some(map) = bind.idmap.as_ref().filter(|map| !map.uids.is_empty() && sys::is_root())
            {
                let field = || format!("mounts[{}].uidMappings", step.index);
                made.insert(step.index, user_namespace(map).step(field)?);
            }
        }
        Ok(Self(made))
    }

    /// The namespace for the mount with this index.
    pub(crate) fn find(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.0.get(&index).map(AsFd::as_fd)
    }
}

/// A user namespace with these mappings. It is made by a child that ends at once; the descriptor keeps it.
fn user_namespace(map: &IdMap) -> Result<OwnedFd> {
    let (ours, theirs) = sys::seqpacket::pair()?;
    let child = match sys::process::fork(Namespaces::USER, None)? {
        Forked::Parent(child) => child,
        Forked::Child => {
            drop(ours);
            let _ = sys::seqpacket::receive(&theirs);
            sys::process::exit_now(0)
        }
    };
    let made = write_file(&child, "uid_map", &text(&map.uids))
        .and_then(|()| write_file(&child, "gid_map", &text(&map.gids)))
        .and_then(|()| open_user_namespace(&child));
    drop(ours);
    drop(theirs);
    sys::process::wait(child.pid)?;
    made
}

/// The user namespace that a process is in.
pub(super) fn open_user_namespace(child: &Child) -> Result<OwnedFd> {
    let path = format!("/proc/{}/ns/user", child.pid);
    rustix::fs::open(Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("open {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_range() {
        let range = |container, host, size| IdRange { container, host, size };
        assert_eq!(text(&[range(0, 7, 1), range(1, 100, 9)]), "0 7 1\n1 100 9\n");
        assert!(is_own_id_alone(&[range(5, 7, 1)], 7));
        for map in [vec![], vec![range(0, 7, 2)], vec![range(0, 8, 1)], vec![range(0, 7, 1), range(1, 8, 1)]]
        {
            assert!(!is_own_id_alone(&map, 7), "{map:?}");
        }
    }
}
