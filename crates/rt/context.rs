//! What every command needs of its surroundings.

use crate::cli::Global;
use anyhow::{Context as _, bail};
use container::Store;
use std::path::PathBuf;

/// The caller's surroundings, looked at once.
#[derive(Debug)]
pub(crate) struct Context {
    /// The state store.
    pub(crate) store: Store,
    criu: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        if global.systemd_cgroup {
            bail!("--systemd-cgroup is not supported yet; use the engine's cgroupfs driver");
        }
        if !matches!(global.rootless.as_str(), "true" | "false" | "auto") {
            bail!("--rootless {}: must be true, false or auto", global.rootless);
        }
        let root = match &global.root {
            Some(root) if root.as_os_str().is_empty() => bail!("--root: the path is empty"),
            Some(root) => std::path::absolute(root).with_context(|| format!("--root {}", root.display()))?,
            None => default_root(),
        };
        Ok(Self { store: Store::new(&root), criu: global.criu.clone() })
    }

    /// The criu program: that of `--criu` or $RT_CRIU, or the first in PATH, or the private one.
    pub(crate) fn criu(&self) -> anyhow::Result<PathBuf> {
        // A bare name, which older engines send, means the one in PATH.
        let given = self.criu.as_ref().filter(|path| path.components().count() > 1);
        let given = given.map(|path| path.clone().into_os_string()).or_else(|| std::env::var_os("RT_CRIU"));
        Ok(container::find_criu(given.as_deref(), std::env::var_os("PATH").as_deref())?)
    }
}

fn default_root() -> PathBuf {
    let for_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !sys::is_root());
    for_user.map_or_else(|| "/run/rt".into(), |dir| PathBuf::from(dir).join("rt"))
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
