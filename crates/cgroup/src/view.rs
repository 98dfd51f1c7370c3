//! What a container sees below /sys/fs/cgroup.

use std::path::PathBuf;

use crate::group::{Cgroup, UNIFIED};
use crate::layout::{Hierarchy, Layout};

/// What a mount of type `cgroup` in the spec stands for on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// A tmpfs with a mount for each hierarchy, and links for controllers that share one.
    V1 {
        /// The mounts; the directory for each has to be made in the tmpfs.
        mounts: Vec<ViewMount>,
        /// Symbolic links in the tmpfs: name, target (`cpu` to `cpu,cpuacct`).
        links: Vec<(String, String)>,
    },
    /// One mount of cgroup2.
    V2 {
        /// In a cgroup namespace: nothing, since a new mount of type `cgroup2` shows the container's cgroup as its
        /// root. Otherwise the host directory to bind, the whole hierarchy, as runc's containers see it.
        bind: Option<PathBuf>,
        /// The container's own cgroup on the host, to bind where mounting cgroup2 is not permitted.
        fallback: PathBuf,
    },
}

/// One hierarchy in a container's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewMount {
    /// The name of its directory, as on the host: `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// The container's cgroup on the host, to bind; `None` in a cgroup namespace, where a new mount shows it.
    pub bind: Option<PathBuf>,
    /// The options for a new mount of type `cgroup`: `cpu,cpuacct`, `name=systemd`.
    pub options: String,
}

impl Cgroup {
    /// The view for a container with or without a cgroup namespace of its own.
    ///
    /// Of a hybrid machine the v1 hierarchies are shown, as runc does: programs that find v1 look no further.
    pub fn view(&self, layout: &Layout, has_namespace: bool) -> View {
        if let (true, Some(unified), Some(own)) = (self.is_v2(), &layout.unified, self.path(UNIFIED)) {
            let bind = (!has_namespace).then(|| unified.mountpoint.clone());
            return View::V2 { bind, fallback: own.to_owned() };
        }
        let shown = layout.hierarchies.iter().filter_map(|hierarchy| self.show(hierarchy, has_namespace));
        let (mut mounts, mut links) = (Vec::new(), Vec::new());
        for mount in shown {
            let names = mount.options.split(',').filter(|name| !name.contains('=') && *name != mount.name);
            links.extend(names.map(|name| (name.to_owned(), mount.name.clone())));
            mounts.push(mount);
        }
        View::V1 { mounts, links }
    }

    fn show(&self, hierarchy: &Hierarchy, has_namespace: bool) -> Option<ViewMount> {
        let own = self.path(hierarchy.controllers.first()?)?;
        let name = hierarchy.mountpoint.file_name()?.to_str()?.to_owned();
        let bind = (!has_namespace).then(|| own.to_owned());
        Some(ViewMount { name, bind, options: hierarchy.controllers.join(",") })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn v1_shows_each_hierarchy_and_links_its_controllers() {
        let mounts = "31 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 1 0:2 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      33 1 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      34 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "3:name=systemd:/\n2:pids:/\n1:cpu,cpuacct:/\n0::/\n";
        let layout = Layout::parse(mounts, own).unwrap();
        let cgroup = Cgroup::locate(&layout, None, "id").unwrap();
        let View::V1 { mounts, links } = cgroup.view(&layout, false) else { panic!("not v1") };
        let names: Vec<_> =
            mounts.iter().map(|mount| (mount.name.as_str(), mount.options.as_str())).collect();
        assert_eq!(names, [("cpu,cpuacct", "cpu,cpuacct"), ("pids", "pids"), ("systemd", "name=systemd")]);
        assert_eq!(mounts[1].bind.as_deref(), Some("/sys/fs/cgroup/pids/id".as_ref()));
        let link = |name: &str| (name.to_owned(), "cpu,cpuacct".to_owned());
        assert_eq!(links, [link("cpu"), link("cpuacct")]);
        let View::V1 { mounts, .. } = cgroup.view(&layout, true) else { panic!("not v1") };
        assert!(mounts.iter().all(|mount| mount.bind.is_none()));
    }

    #[test]
    fn v2_shows_one_hierarchy() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(mounts, "0::/\n").unwrap();
        let cgroup = Cgroup::locate(&layout, None, "id").unwrap();
        let fallback = PathBuf::from("/sys/fs/cgroup/id");
        let bind = Some(PathBuf::from("/sys/fs/cgroup"));
        assert_eq!(cgroup.view(&layout, false), View::V2 { bind, fallback: fallback.clone() });
        assert_eq!(cgroup.view(&layout, true), View::V2 { bind: None, fallback });
    }
}
