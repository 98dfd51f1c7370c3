//! Who the new process is before it has a file tree: its names and kernel parameters.

use super::failure::{During, Failure, Result};
use rustix::process::{Gid, Uid};
use spec::Config;
use spec::oci::LinuxNamespaceType as Ns;
use std::path::Path;
use sys::Context;
use sys::process::Namespaces;

/// Becomes root in the new user namespace, whose maps the parent has written.
pub(crate) fn become_root() -> Result<()> {
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .during("setgid(0) in the user namespace")?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .during("setuid(0) in the user namespace")
}

/// Host name, domain name, loopback device, sysctls and badness.
///
/// All of it goes through the host's /proc, before anything of the container is mounted: a sysctl's value belongs to the
/// namespaces of the process that writes it, so there is no need to trust a /proc that the image could have a say in
/// (CVE-2025-52881).
pub(super) fn apply(config: &Config, new: Namespaces) -> Result<()> {
    if new.contains(Namespaces::NETWORK) {
        sys::net::loopback_up().during("bring the loopback device up")?;
    }
    let text = |name: &Option<String>| name.clone().filter(|n| !n.is_empty());
    if let Some(name) = text(config.oci.hostname()) {
        rustix::system::sethostname(name.as_bytes()).during("sethostname")?;
    }
    if let Some(name) = text(config.oci.domainname()) {
        rustix::system::setdomainname(name.as_bytes()).during("setdomainname")?;
    }
    sysctls(config)?;
    oom_score_adj(config)
}

fn sysctls(config: &Config) -> Result<()> {
    let list = config.linux().and_then(|l| l.sysctl().as_ref());
    list.into_iter()
        .flatten()
        .try_for_each(|(key, value)| write_sysctl(key, value))
        .map_err(|e| Failure::new(e.to_string()))
}

/// Sets a kernel parameter of this process' namespaces.
pub(crate) fn write_sysctl(key: &str, value: &str) -> sys::Result<()> {
    // A slash stands for itself; then dots are part of a name, such as a network device's (sysctl(8)).
    let name = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    std::fs::write(Path::new("/proc/sys").join(name), value).call("sysctl", || format!("{key}={value}"))
}

fn oom_score_adj(config: &Config) -> Result<()> {
    let Some(value) = config.oci.process().as_ref().and_then(spec::oci::Process::oom_score_adj) else {
        return Ok(());
    };
    match std::fs::write("/proc/self/oom_score_adj", value.to_string()) {
        // A user namespace may not lower it; runc lets that pass, and so the caller's own value stays.
        Err(e)
            if matches!(e.raw_os_error(), Some(13 | 1))
                && config.namespaces().is_ok_and(|n| n.is_private(Ns::User)) =>
        {
            Ok(())
        }
        other => other.map_err(|e| Failure::new(format!("write oom_score_adj {value}: {}", text(&e)))),
    }
}

/// CVE-2024-21626: a working directory outside the container's root (reached through a leaked descriptor, say
/// /proc/self/fd/7) shows as unreachable to getcwd(2), which starts its answer with a slash otherwise.
pub(super) fn verify_cwd() -> Result<()> {
    let cwd = rustix::process::getcwd(Vec::new()).during("getcwd")?;
    if cwd.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::new(
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        ))
    }
}

fn text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror)
}
