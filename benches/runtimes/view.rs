//! A private view of the machine: where the bench works, and which cgroups it sees.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The hidden argument that says that we are in a mount namespace of our own already.
pub(crate) const FLAG: &str = "--in-view";

/// Replaces this program by itself in a new mount namespace, so that nothing it mounts or unmounts is seen outside and all
/// of it goes away with it, however it ends. Returns only the error.
pub(crate) fn enter(args: &[String]) -> anyhow::Error {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return error.into(),
    };
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(own)
        .arg(FLAG)
        .args(args)
        .exec();
    anyhow::Error::new(error).context("unshare (util-linux)")
}

/// The working directory: a tmpfs of our own, removed when dropped.
#[derive(Debug)]
pub(crate) struct Workdir(PathBuf);

impl Workdir {
    /// Mounts it. State, root file systems and images all lie here, so that no disk takes part.
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(name());
        fs::create_dir(&path).with_context(|| format!("{}", path.display()))?;
        let workdir = Self(path);
        sys::mount::mount_legacy("rt-bench", File::open(&workdir.0)?, "tmpfs", 0, "mode=755")?;
        Ok(workdir)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        // What cannot be removed is an empty directory: the mount ends with our namespace.
        let _ = sys::mount::detach(&self.0);
        let _ = fs::remove_dir(&self.0);
    }
}

/// The name of this run's working directory and of its containers' cgroup.
pub(crate) fn name() -> String {
    format!("rt-bench-{}", std::process::id())
}

const CGROUPS: &str = "/sys/fs/cgroup";

/// Makes every runtime see cgroups that it accepts, and says which: crun refuses v1 hierarchies with a v2 one beside them
/// ("hybrid"), so that one is unmounted, in our view. With `v2_only` the v1 hierarchies are hidden instead.
///
/// crun goes on to make directories where the v2 hierarchy was; a tmpfs takes them, so that the machine's own does not.
pub(crate) fn arrange_cgroups(v2_only: bool) -> Result<&'static str> {
    let pure = Path::new(CGROUPS).join("cgroup.controllers").exists();
    match (pure, v2_only) {
        (true, _) => Ok("v2"),
        (false, true) => {
            sys::mount::detach(Path::new(CGROUPS))?;
            sys::mount::mount_legacy("cgroup2", File::open(CGROUPS)?, "cgroup2", 0, "")?;
            Ok("v2 in a private view, without the controllers that v1 holds")
        }
        (false, false) => {
            let unified = Path::new(CGROUPS).join("unified");
            if unified.join("cgroup.controllers").exists() {
                sys::mount::detach(&unified)?;
                sys::mount::mount_legacy("rt-bench", File::open(&unified)?, "tmpfs", 0, "")?;
            }
            Ok("v1")
        }
    }
}

fn is_cgroup(dir: &Path) -> bool {
    /// linux/magic.h: CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC.
    const MAGICS: [i64; 2] = [0x27_e0eb, 0x6367_7270];
    dir.is_dir() && rustix::fs::statfs(dir).is_ok_and(|fs| MAGICS.contains(&fs.f_type))
}

/// Removes the containers' cgroup where a failed command left it behind.
pub(crate) fn remove_cgroups() -> Result<()> {
    let below = fs::read_dir(CGROUPS).context(CGROUPS)?.filter_map(Result::ok).map(|entry| entry.path());
    let hierarchies = below.chain([PathBuf::from(CGROUPS)]).filter(|dir| is_cgroup(dir));
    for path in hierarchies.map(|hierarchy| hierarchy.join(name())) {
        match fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
