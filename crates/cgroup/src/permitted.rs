//! Cgroups of a caller without the right to make all of them: an unprivileged user's.
//!
//! What may not be made is left out, as long as nobody has asked for it: by a limit, or by a `linux.cgroupsPath`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::fs::{self, Access};
use rustix::io::Errno;
use spec::oci::LinuxResources;

use crate::driver;
use crate::error::{Error, Result};
use crate::group::{Cgroup, Created, UNIFIED};
use crate::layout::{Hierarchy, Layout};

impl Cgroup {
    /// The cgroup of a container that has none: its processes stay in their starter's.
    pub fn none() -> Self {
        Self { paths: BTreeMap::new(), unit: None }
    }

    /// The cgroups that the caller is in, which are what a container without its own can be shown.
    pub fn callers(layout: &Layout) -> Self {
        let own = |hierarchy: &Hierarchy| hierarchy.mountpoint.join(hierarchy.own_relative());
        let v1 = layout.hierarchies.iter().flat_map(|hierarchy| {
            hierarchy.controllers.iter().map(move |name| (name.clone(), own(hierarchy)))
        });
        let unified = layout.unified.iter().map(|hierarchy| (UNIFIED.to_owned(), own(hierarchy)));
        Self { paths: v1.chain(unified).collect(), unit: None }
    }

    /// Whether the container has no cgroup of its own.
    pub fn is_none(&self) -> bool {
        self.paths.is_empty()
    }

    /// As [`create`](Self::create), without those hierarchies in which the caller may not make anything.
    pub fn create_permitted(&mut self) -> Result<Created> {
        let mut created = Created::default();
        match self.create_some(&mut created.dirs) {
            Ok(()) => Ok(created),
            Err(error) => {
                created.undo();
                Err(error)
            }
        }
    }

    fn create_some(&mut self, made: &mut Vec<PathBuf>) -> Result<()> {
        let mut forbidden = Vec::new();
        for (controller, dir) in self.dirs() {
            match self.create_one(controller, dir, made) {
                Err(error) if error.is_forbidden() => forbidden.push(dir.to_owned()),
                other => other?,
            }
        }
        self.paths.retain(|_, path| !forbidden.contains(path));
        if self.is_none() {
            return Ok(());
        }
        match driver::prepare(self) {
            Err(error) if error.is_forbidden() => {
                self.paths.remove("cpuset");
                Ok(())
            }
            prepared => prepared,
        }
    }

    /// On a hybrid machine, does without cgroup2 where the caller may make a directory but not move a process there.
    ///
    /// That takes the right to write `cgroup.procs` of the common ancestor of where the process is and where it goes
    /// (cgroups(7), "Delegation containment"). The v1 hierarchies know no such rule, and it is they who govern there.
    pub fn leave_out_closed(&mut self, layout: &Layout) {
        let (false, Some(unified), Some(dir)) = (self.is_v2(), &layout.unified, self.path(UNIFIED)) else {
            return;
        };
        let own = unified.mountpoint.join(unified.own_relative());
        let common = own.ancestors().find(|ancestor| dir.starts_with(ancestor)).unwrap_or(&own);
        if fs::access(common.join("cgroup.procs"), Access::WRITE_OK).is_err() {
            // Empty, and ours.
            let _ = fs::rmdir(dir);
            self.paths.remove(UNIFIED);
        }
    }

    /// As [`apply`](Self::apply), for what [`create_permitted`](Self::create_permitted) has made.
    ///
    /// Devices are left to the kernel, which lets an unprivileged user open only what the host's permissions allow.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] names the first limit that cannot be had.
    pub fn apply_permitted(&self, resources: &LinuxResources) -> Result<()> {
        let settings = driver::settings(self, resources)?;
        self.tell(&settings, None)?;
        driver::write_all(self, &settings, None).map_err(Error::permission)
    }
}

impl Error {
    /// The same, where the reason is that the caller may have no more.
    pub(crate) fn permission(self) -> Self {
        match self {
            Self::MissingController { controller, file, value } => {
                Self::NotPermitted { controller, file, value }
            }
            other => other,
        }
    }

    /// Whether the caller lacks the permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }
}
