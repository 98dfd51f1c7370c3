//! Handing a cgroup to a user, who may then divide it, and not widen it.

use std::path::Path;

use rustix::fs::{self, Uid};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};

/// Where the kernel lists the files that may be handed over (cgroups(7), "Delegating"; since 4.15).
const LIST: (&str, &str) = ("/sys/kernel/cgroup", "delegate");
/// What the list began with.
const FIRST: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

impl Cgroup {
    /// Gives cgroup2's directory, and those files in it that set no limit, to `uid`.
    pub fn give_to(&self, uid: u32) -> Result<()> {
        let Some(dir) = self.path(UNIFIED) else { return Ok(()) };
        let chown = |path: &Path| match fs::chown(path, Some(Uid::from_raw(uid)), None) {
            // Which files there are depends on kernel and controllers.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::file(UNIFIED, format!("chown to {uid}"), path, errno)),
        };
        let names = match files::read_list(UNIFIED, Path::new(LIST.0), LIST.1) {
            Err(error) if error.errno() == Some(Errno::NOENT) => FIRST.to_owned(),
            names => names?,
        };
        chown(dir)?;
        names.lines().try_for_each(|name| chown(&dir.join(name)))
    }
}
