//! What CRIU is told about cgroups.

use crate::error::{Result, Step};
use cgroup::{Cgroup, Layout};
use criu::{CgroupMode, Cgroups};
use spec::Config;
use spec::oci::LinuxNamespaceType as Ns;

/// What CRIU is to do about cgroups, unless the caller said it: nothing, since `rt` itself puts the container into its cgroup
/// and sets its limits from the bundle. A cgroup namespace is the exception: CRIU restores it with the cgroups only
/// (CRIU(4.2), issue 3139).
pub(crate) fn mode(asked: Option<CgroupMode>, config: &Config) -> Result<CgroupMode> {
    let private = config.namespaces()?.is_private(Ns::Cgroup);
    Ok(asked.unwrap_or(if private { CgroupMode::Soft } else { CgroupMode::Ignore }))
}

/// For a dump: the hierarchies in which the container has a cgroup of its own, and no others.
///
/// In a hierarchy where it has none (one that is not mounted here, or that an unprivileged user may not use) its processes
/// sit in a cgroup that they share with the host's. CRIU would write down the whole tree below that, every other
/// container's cgroups too, and make them again at the restore.
pub(super) fn for_dump(
    asked: Option<CgroupMode>,
    config: &Config,
    cgroup: &Cgroup,
    init: i32,
) -> Result<Cgroups> {
    let mode = mode(asked, config)?;
    if mode == CgroupMode::Ignore {
        return Ok(Cgroups { mode: Some(mode), ..Default::default() });
    }
    let path = format!("/proc/{init}/cgroup");
    let memberships = std::fs::read_to_string(&path).step(|| format!("read {path}"))?;
    let controllers = own_hierarchies(&memberships, &cgroup.relative_paths(&Layout::detect()?));
    // An empty list is every hierarchy to CRIU.
    let mode = if controllers.is_empty() { CgroupMode::Ignore } else { mode };
    Ok(Cgroups { mode: Some(mode), controllers, ..Default::default() })
}

/// Of the lines of /proc/PID/cgroup (`ID:CONTROLLERS:PATH`, cgroups(7)), the middle of those that lead to `own` or below it.
fn own_hierarchies(memberships: &str, own: &[(String, String)]) -> Vec<String> {
    let is_own = |controllers: &str, path: &str| {
        own.iter().any(|(controller, own)| {
            let below = path.strip_prefix(own.as_str());
            controllers.split(',').any(|name| name == controller)
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let lines = memberships.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    lines.filter(|(controllers, path)| is_own(controllers, path)).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_that_are_shared_with_the_host_are_left_out() {
        let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect()
        };
        let hybrid = "9:name=systemd:/c\n5:cpu,cpuacct:/c/sub\n4:memory:/\n2:pids:/cc\n0::/c\n";
        let all = own(&[
            ("", "/c"),
            ("cpu", "/c"),
            ("cpuacct", "/c"),
            ("memory", "/c"),
            ("pids", "/c"),
            ("name=systemd", "/c"),
        ]);
        assert_eq!(own_hierarchies(hybrid, &all), ["name=systemd", "cpu,cpuacct", ""]);
        assert_eq!(own_hierarchies(hybrid, &own(&[("", "/c")])), [""]);
        assert!(own_hierarchies(hybrid, &[]).is_empty());
    }
}
