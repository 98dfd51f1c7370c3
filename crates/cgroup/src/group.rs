//! A container's cgroup: one directory for each hierarchy.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use spec::oci::LinuxResources;

use crate::devices::Policy;
use crate::driver;
use crate::driver::systemd::Unit;
use crate::error::{Error, Result};
use crate::layout::{Hierarchy, Layout};
use crate::settings::{Setting, Version};

/// The named hierarchy in which systemd tracks processes; the only named one that a container has a place in.
const SYSTEMD: &str = "name=systemd";
/// The key of cgroup2's directory.
pub(crate) const UNIFIED: &str = "";

/// Where a container's cgroups are: controller to directory, with the empty name for cgroup2.
///
/// This is what state.json keeps, so that later commands need neither the spec nor the layout to find the container's
/// processes. On v2 there is one entry, under the empty name. On v1 two controllers of one hierarchy have an entry each,
/// with the same directory. On a hybrid machine there is an entry for cgroup2 besides those of v1; see [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Cgroup {
    pub(crate) paths: BTreeMap<String, PathBuf>,
    /// The unit that they belong to, where systemd makes them.
    pub(crate) unit: Option<Unit>,
}

/// A [`Cgroup`] as it is written down: the plain map, unless there is a unit.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Plain(BTreeMap<String, PathBuf>),
    Unit { paths: BTreeMap<String, PathBuf>, unit: Unit },
}

impl From<Stored> for Cgroup {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Plain(paths) => Self { paths, unit: None },
            Stored::Unit { paths, unit } => Self { paths, unit: Some(unit) },
        }
    }
}

impl From<Cgroup> for Stored {
    fn from(Cgroup { paths, unit }: Cgroup) -> Self {
        match unit {
            None => Self::Plain(paths),
            Some(unit) => Self::Unit { paths, unit },
        }
    }
}

/// The directories that [`Cgroup::create`] has made, in that order.
#[derive(Debug, Default)]
#[must_use = "whoever creates a cgroup removes it when a later step fails"]
pub struct Created {
    /// Parents before children.
    pub dirs: Vec<PathBuf>,
}

impl Created {
    /// Removes what was made and is still empty, last first; what somebody else uses by now stays.
    pub fn undo(self) {
        for dir in self.dirs.iter().rev() {
            let _ = fs::rmdir(dir);
        }
    }
}

impl Cgroup {
    /// The place for container `id`, by runc's rules for `linux.cgroupsPath`.
    ///
    /// An absolute path counts from each hierarchy's mount point. A relative one, or `id` where there is none, counts
    /// from our own cgroup; on v2 from the parent of our own, since a cgroup with processes in it cannot hand its
    /// controllers down (the "no internal processes" rule of cgroups(7)).
    pub fn locate(layout: &Layout, cgroups_path: Option<&Path>, id: &str) -> Result<Self> {
        let path = cgroups_path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(id));
        check(path)?;
        let mut paths = BTreeMap::new();
        for hierarchy in &layout.hierarchies {
            let base = hierarchy.own_relative();
            for name in &hierarchy.controllers {
                if governs(name) {
                    paths.insert(name.clone(), place(hierarchy, base, path));
                }
            }
        }
        if let Some(unified) = &layout.unified {
            let own = unified.own_relative();
            let base = if layout.is_v2() { own.parent().unwrap_or(own) } else { own };
            paths.insert(UNIFIED.to_owned(), place(unified, base, path));
        }
        Ok(Self { paths, unit: None })
    }

    /// Makes the directories, with their parents where needed, and makes them ready for processes and limits.
    ///
    /// When this fails, nothing that it made is left.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] or [`Error::Frozen`] if somebody's processes are in a cgroup of this name or would freeze
    /// there.
    pub fn create(&self) -> Result<Created> {
        let mut created = Created::default();
        match self.create_all(&mut created.dirs) {
            Ok(()) => Ok(created),
            Err(error) => {
                created.undo();
                Err(error)
            }
        }
    }

    fn create_all(&self, made: &mut Vec<PathBuf>) -> Result<()> {
        self.dirs().into_iter().try_for_each(|(controller, dir)| self.create_one(controller, dir, made))?;
        driver::prepare(self)
    }

    /// Makes one directory; one that exists must be nobody's.
    pub(crate) fn create_one(&self, controller: &str, dir: &Path, made: &mut Vec<PathBuf>) -> Result<()> {
        if make(controller, dir, made)? { Ok(()) } else { self.check_free(controller, dir) }
    }

    /// A cgroup that exists must be nobody's: no processes, not frozen.
    pub(crate) fn check_free(&self, controller: &str, dir: &Path) -> Result<()> {
        let count = crate::processes::in_tree(controller, dir)?.len();
        if count > 0 {
            return Err(Error::NotEmpty { path: dir.to_owned(), count });
        }
        if self.freezer_path() == Some(dir) && self.is_frozen()? {
            return Err(Error::Frozen { path: dir.to_owned() });
        }
        Ok(())
    }

    /// Sets everything that `linux.resources` asks for: limits, and the devices that may be used.
    ///
    /// Before the first process joins, since some limits can only be set then, and none should come late.
    pub fn apply(&self, resources: &LinuxResources) -> Result<()> {
        // Both are checked before anything is written.
        let settings = driver::settings(self, resources)?;
        let policy = Policy::new(resources.devices().as_deref().unwrap_or_default())?;
        self.tell(&settings, Some(&policy))?;
        driver::write_all(self, &settings, None)?;
        driver::set_devices(self, &policy)
    }

    /// Tells systemd, where it makes the cgroup. It may write the same files, and what we write is to be the last word.
    pub(crate) fn tell(&self, settings: &[Setting], devices: Option<&Policy>) -> Result<()> {
        self.unit.as_ref().map_or(Ok(()), |unit| unit.tell(settings, devices, self.version()))
    }

    /// Controller (empty for cgroup2) and path in its hierarchy, as /proc/PID/cgroup shows them from outside.
    pub fn relative_paths(&self, layout: &Layout) -> Vec<(String, String)> {
        let hierarchies = layout.hierarchies.iter().chain(&layout.unified);
        let relative = |dir: &Path| {
            hierarchies.clone().find_map(|hierarchy| {
                let below = dir.strip_prefix(&hierarchy.mountpoint).ok()?;
                Some(hierarchy.root.join(below).to_string_lossy().into_owned())
            })
        };
        let named =
            self.paths.iter().filter_map(|(controller, dir)| Some((controller.clone(), relative(dir)?)));
        named.collect()
    }

    /// Whether the container's cgroup is there.
    pub fn exists(&self) -> bool {
        fs::access(self.main().1, fs::Access::EXISTS).is_ok()
    }

    /// The directory of `controller`; the empty name is cgroup2's.
    pub fn path(&self, controller: &str) -> Option<&Path> {
        self.paths.get(controller).map(PathBuf::as_path)
    }

    /// All entries, as state.json and the CRIU options want them.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(controller, dir)| (controller.as_str(), dir.as_path()))
    }

    /// Whether cgroup2 governs alone.
    pub fn is_v2(&self) -> bool {
        self.paths.len() == 1 && self.paths.contains_key(UNIFIED)
    }

    pub(crate) fn version(&self) -> Version {
        if self.is_v2() { Version::V2 } else { Version::V1 }
    }

    /// Each directory once, with the first of its controllers.
    pub(crate) fn dirs(&self) -> Vec<(&str, &Path)> {
        let mut dirs: Vec<(&str, &Path)> = Vec::with_capacity(self.paths.len());
        for (controller, dir) in self.paths() {
            if dirs.iter().all(|(_, seen)| *seen != dir) {
                dirs.push((controller, dir));
            }
        }
        dirs
    }

    /// The hierarchy that is asked who is in the container: where it is frozen, as runc asks the one that guards devices.
    pub(crate) fn main(&self) -> (&str, &Path) {
        let preferred = ["freezer", "devices", UNIFIED].into_iter();
        let found = preferred.filter_map(|name| Some((name, self.path(name)?))).next();
        found.or_else(|| self.paths().next()).unwrap_or(("", Path::new("")))
    }
}

/// Whether a container has a place in the hierarchy of this controller.
pub(crate) fn governs(controller: &str) -> bool {
    !controller.starts_with("name=") || controller == SYSTEMD
}

/// Refuses paths that leave the hierarchy or name its root or our own cgroup, which are not the container's to remove.
fn check(path: &Path) -> Result<()> {
    let bad = |reason| Err(Error::BadPath { path: path.to_owned(), reason });
    if path.components().any(|part| part == Component::ParentDir) {
        return bad("must not contain \"..\"");
    }
    if !path.components().any(|part| matches!(part, Component::Normal(_))) {
        return bad("must name a cgroup of the container's own");
    }
    Ok(())
}

fn place(hierarchy: &Hierarchy, base: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(absolute) => hierarchy.mountpoint.join(absolute),
        Err(_) => hierarchy.mountpoint.join(base).join(path),
    }
    .components()
    .collect()
}

/// Makes `dir`, and its parents if they are missing; tells whether it is new.
pub(crate) fn make(controller: &str, dir: &Path, made: &mut Vec<PathBuf>) -> Result<bool> {
    let mkdir = || fs::mkdir(dir, Mode::from_raw_mode(0o755));
    let mut result = mkdir();
    if result == Err(Errno::NOENT)
        && let Some(parent) = dir.parent()
    {
        make(controller, parent, made)?;
        result = mkdir();
    }
    match result {
        Ok(()) => {
            made.push(dir.to_owned());
            Ok(true)
        }
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::file(controller, "mkdir", dir, errno)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hierarchy(names: &str, mountpoint: &str, own: &str) -> Hierarchy {
        Hierarchy {
            controllers: names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            mountpoint: mountpoint.into(),
            root: "/".into(),
            own: own.into(),
        }
    }

    fn hybrid() -> Layout {
        Layout {
            hierarchies: vec![
                hierarchy("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/"),
                hierarchy("memory", "/sys/fs/cgroup/memory", "/own"),
                hierarchy("name=systemd", "/sys/fs/cgroup/systemd", "/s"),
                hierarchy("name=other", "/mnt/other", "/"),
            ],
            unified: Some(hierarchy("", "/sys/fs/cgroup/unified", "/u")),
        }
    }

    fn v2(own: &str) -> Layout {
        Layout { hierarchies: vec![], unified: Some(hierarchy("", "/sys/fs/cgroup", own)) }
    }

    fn located(layout: &Layout, path: Option<&str>) -> String {
        let cgroup = Cgroup::locate(layout, path.map(Path::new), "id").unwrap();
        cgroup.paths().map(|(name, dir)| format!("{name}={}", dir.display())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn on_v1_a_relative_path_counts_from_our_own_cgroup_in_each_hierarchy() {
        let expected = "=/sys/fs/cgroup/unified/u/id cpu=/sys/fs/cgroup/cpu,cpuacct/id \
             cpuacct=/sys/fs/cgroup/cpu,cpuacct/id memory=/sys/fs/cgroup/memory/own/id \
             name=systemd=/sys/fs/cgroup/systemd/s/id";
        assert_eq!(located(&hybrid(), None), expected);
        assert_eq!(located(&hybrid(), Some("")), expected);
        assert_eq!(located(&hybrid(), Some("a/id")), expected.replace("/id", "/a/id"));
    }

    #[test]
    fn an_absolute_path_counts_from_the_mount_point() {
        assert!(located(&hybrid(), Some("/a//b/./c/")).contains("memory=/sys/fs/cgroup/memory/a/b/c "));
        assert_eq!(located(&v2("/x/y"), Some("/a/b")), "=/sys/fs/cgroup/a/b");
    }

    #[test]
    fn on_v2_a_relative_path_counts_from_the_parent_of_our_own() {
        assert_eq!(located(&v2("/user.slice/session.scope"), None), "=/sys/fs/cgroup/user.slice/id");
        assert_eq!(located(&v2("/"), Some("a")), "=/sys/fs/cgroup/a");
    }

    #[test]
    fn paths_that_are_not_the_containers_own_are_refused() {
        for path in ["../x", "/a/../../b", "/", ".", "//"] {
            let error = Cgroup::locate(&hybrid(), Some(Path::new(path)), "id").unwrap_err();
            assert!(matches!(error, Error::BadPath { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn co_mounted_controllers_are_one_directory_and_state_is_a_plain_map() {
        let cgroup = Cgroup::locate(&hybrid(), None, "id").unwrap();
        assert_eq!(cgroup.dirs().len(), 4);
        let json = serde_json::to_string(&cgroup).unwrap();
        assert!(json.starts_with(r#"{"":"/sys/fs/cgroup/unified/u/id","cpu":"#), "{json}");
        assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), cgroup);
        assert!(!cgroup.is_v2() && Cgroup::locate(&v2("/"), None, "id").unwrap().is_v2());
    }
}
