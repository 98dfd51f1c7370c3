//! What every command needs of its surroundings.

use crate::cli::Global;
use anyhow::{Context as _, bail};
use container::Store;
use container::ops::Rootless;
use std::path::PathBuf;

/// The caller's surroundings, looked at once.
#[derive(Debug)]
pub(crate) struct Context {
    /// The state store.
    pub(crate) store: Store,
    criu: Option<PathBuf>,
    /// Whether containers can do without cgroups.
    pub(crate) rootless: Rootless,
}

impl Context {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        if global.systemd_cgroup {
            bail!("--systemd-cgroup is not supported yet; use the engine's cgroupfs driver");
        }
        let rootless = match global.rootless.as_str() {
            "true" => Rootless::True,
            "false" => Rootless::False,
            "auto" => Rootless::Auto,
            other => bail!("--rootless {other}: must be true, false or auto"),
        };
        let root = match &global.root {
            Some(root) if root.as_os_str().is_empty() => bail!("--root: the path is empty"),
            Some(root) => std::path::absolute(root).with_context(|| format!("--root {}", root.display()))?,
            None => default_root()?,
        };
        Ok(Self { store: Store::new(&root), criu: global.criu.clone(), rootless })
    }

    /// The criu program: that of `--criu` or $RT_CRIU, or the first in PATH, or the private one.
    pub(crate) fn criu(&self) -> anyhow::Result<PathBuf> {
        // A bare name, which older engines send, means the one in PATH.
        let given = self.criu.as_ref().filter(|path| path.components().count() > 1);
        let given = given.map(|path| path.clone().into_os_string()).or_else(|| std::env::var_os("RT_CRIU"));
        Ok(container::find_criu(given.as_deref(), std::env::var_os("PATH").as_deref())?)
    }
}

/// /run/rt; for an unprivileged user the place that the session gives (XDG base directory specification). Root of a user
/// namespace may be such a user; that `USER` says who is runc's rule.
fn default_root() -> anyhow::Result<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let is_user = || std::env::var_os("USER").is_some_and(|user| user != "root" && !user.is_empty());
    match runtime_dir {
        Some(dir) if !sys::is_root() || (is_user() && sys::is_in_user_namespace()) => {
            Ok(PathBuf::from(dir).join("rt"))
        }
        None if !sys::is_root() => {
            bail!(
                "XDG_RUNTIME_DIR is not set, so there is no place for the state of containers; set it, or pass --root"
            )
        }
        _ => Ok("/run/rt".into()),
    }
}

/// Goes on from where nobody can write to this program, for a command that lets a process enter a container.
pub(crate) fn seal(preserve_fds: u32) -> anyhow::Result<()> {
    sys::sealed::enter()?;
    own_descriptors(preserve_fds)
}

/// Keeps what this process inherited, but for stdio and what is to be preserved, from every program that it starts: hooks and
/// criu get what they are meant to have.
pub(crate) fn own_descriptors(preserve_fds: u32) -> anyhow::Result<()> {
    Ok(sys::process::close_on_exec_from(3 + preserve_fds)?)
}
