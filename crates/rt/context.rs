//! What every command needs of its surroundings.

use crate::cli::Global;
use anyhow::{Context as _, bail};
use container::ops::Rootless;
use container::{Store, SystemdHost};
use std::fs::File;
use std::path::PathBuf;

/// The caller's surroundings, looked at once.
#[derive(Debug)]
pub(crate) struct Context {
    /// The state store.
    pub(crate) store: Store,
    criu: Option<PathBuf>,
    /// Whether containers can do without cgroups.
    pub(crate) rootless: Rootless,
    /// The systemd that is to make the cgroups of new containers; later commands find it in the state.
    pub(crate) systemd: Option<SystemdHost>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
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
        let systemd = global.systemd_cgroup.then(|| systemd(rootless));
        Ok(Self { store: Store::new(&root), criu: global.criu.clone(), rootless, systemd })
    }

    /// The criu program: that of `--criu` or $RT_CRIU, or the first in PATH, or the private one.
    pub(crate) fn criu(&self) -> anyhow::Result<PathBuf> {
        // A bare name, which older engines send, means the one in PATH.
        let given = self.criu.as_ref().filter(|path| path.components().count() > 1);
        let given = given.map(|path| path.clone().into_os_string()).or_else(|| std::env::var_os("RT_CRIU"));
        Ok(container::find_criu(given.as_deref(), std::env::var_os("PATH").as_deref())?)
    }
}

/// The machine's systemd, or that of the user who cannot use it.
fn systemd(rootless: Rootless) -> SystemdHost {
    if !rootless.holds() {
        return SystemdHost::System;
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    SystemdHost::User {
        runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
        session_bus: variable("DBUS_SESSION_BUS_ADDRESS").and_then(|address| address.into_string().ok()),
    }
}

/// /run/rt; for an unprivileged user the place that the session gives (XDG base directory specification). Root of a user
/// namespace is such a user unless `USER` says root, which is runc's rule: an engine without root may start its runtime without
/// that variable (podman's conmon does).
fn default_root() -> anyhow::Result<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let is_user = || std::env::var_os("USER").is_none_or(|user| user != "root");
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

/// The service manager's socket, for what a container says of its readiness (sd_notify(3)).
pub(crate) fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// How many sockets this process was activated with (sd_listen_fds(3)): none, unless they are meant for it.
pub(crate) fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") == Some(std::process::id()) { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

/// The descriptor of `--status-fd`.
pub(crate) fn status_file(number: i32) -> anyhow::Result<File> {
    Ok(sys::process::inherited(number).with_context(|| format!("--status-fd {number}"))?.into())
}

/// Goes on from where nobody can write to this program, for a command that lets a process enter a container. From 3 on, the process
/// gets `listen_fds` and then `preserve_fds` descriptors, which must be there: a number of one that is not would
/// become a descriptor of ours.
pub(crate) fn seal(listen_fds: u32, preserve_fds: u32) -> anyhow::Result<()> {
    let first = listen_fds.saturating_add(3);
    if let Some(missing) =
        (3..first.saturating_add(preserve_fds)).find(|fd| !sys::process::has_inherited(*fd))
    {
        match missing.checked_sub(first) {
            Some(n) => bail!("--preserve-fds {preserve_fds}: descriptor {n} of them ({missing}) is not open"),
            None => bail!("LISTEN_FDS={listen_fds}: descriptor {missing} is not open"),
        }
    }
    sys::sealed::enter()?;
    own_descriptors(listen_fds + preserve_fds)
}

/// Keeps what this process inherited, but for stdio and what is to be preserved, from every program that it starts: hooks and
/// criu get what they are meant to have.
pub(crate) fn own_descriptors(preserve_fds: u32) -> anyhow::Result<()> {
    Ok(sys::process::close_on_exec_from(3 + preserve_fds)?)
}
