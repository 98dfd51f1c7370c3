//! AppArmor profile and SELinux label of the program: set for the next execve(2) of this process.

use super::failure::{During, Failure, Result};
use crate::error::{Error, Result as OperationResult};
use spec::Process;
use std::path::Path;
use sys::procfs::ThreadDir;

/// The label that new keys get.
const KEYS: &str = "attr/keycreate";

/// Refuses what this machine cannot do, before anything is made; looks at nothing unless asked for something.
pub(crate) fn check(process: &Process) -> OperationResult<()> {
    if process.selinux_label.is_some() && !Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::Request(
            "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported"
                .into(),
        ));
    }
    if let Some(profile) = &process.apparmor_profile
        && !apparmor_is_enabled()
    {
        return Err(Error::Request(format!(
            "process.apparmorProfile: unable to apply apparmor profile {profile:?}: apparmor is disabled or not supported"
        )));
    }
    Ok(())
}

/// Why a container with an SELinux label is not dumped.
pub(crate) const NOT_DUMPED: &str = "process.selinuxLabel: this criu was built without SELinux, so its images have no label, with which \
                                     the container could be restored";

/// Checks that a restored process has its SELinux label, or the one that `profile` (CRIU's `--lsm-profile`) names in its place: a CRIU
/// that was built without SELinux leaves it ours, and says nothing.
pub(crate) fn check_restored(process: &Process, profile: Option<&str>, pid: i32) -> OperationResult<()> {
    let wanted = profile.map_or(process.selinux_label.as_deref(), |profile| profile.strip_prefix("selinux:"));
    let Some(wanted) = wanted else { return Ok(()) };
    let found = std::fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    let found = found.trim_end_matches(['\n', '\0']);
    if is_label(found, wanted) {
        return Ok(());
    }
    Err(Error::Request(format!(
        "process.selinuxLabel: CRIU has restored the container with the label {found:?} instead of {wanted:?} (a criu that was built \
         without SELinux does that)"
    )))
}

fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// The process' labels, with the directory to write them through.
#[derive(Debug)]
pub(crate) struct Labels<'a> {
    dir: Option<ThreadDir>,
    process: &'a Process,
}

impl<'a> Labels<'a> {
    /// For init, to be called while /proc is the host's, before the container has a say in what is mounted. An executed process has
    /// but the container's, which cannot lead astray either ([`sys::procfs`]): what is mounted over it makes this fail.
    pub(crate) fn open(process: &'a Process) -> Result<Self> {
        let wanted = process.apparmor_profile.is_some() || process.selinux_label.is_some();
        let dir = wanted.then(ThreadDir::open).transpose().during("open /proc/thread-self")?;
        Ok(Self { dir, process })
    }

    /// Has `join` join a session keyring: a new one has the program's SELinux label instead of ours.
    pub(crate) fn of_keys(&self, join: impl FnOnce() -> sys::Result<()>) -> Result<()> {
        let join = || join().during("join the container's session keyring");
        let (Some(dir), Some(label)) = (&self.dir, &self.process.selinux_label) else { return join() };
        let step = || format!("unable to set selinux label {label:?} of keys");
        dir.write(KEYS, label).during(&step())?;
        join()?;
        // An empty line is no label.
        dir.write(KEYS, "\n").during(&step())
    }

    /// Sets them, and reads them back. Before no_new_privs, under which a profile might not be changed any more.
    pub(crate) fn apply(&self) -> Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if let Some(profile) = &self.process.apparmor_profile {
            // A kernel with several security modules has a directory for each; in the old file it may be another's turn.
            let new = "attr/apparmor/exec";
            let file = if dir.has(new) { new } else { "attr/exec" };
            let step = || format!("unable to apply apparmor profile {profile:?}");
            dir.write(file, &format!("exec {profile}")).during(&step())?;
            let found = dir.read(file).during(&step())?;
            if !is_profile(&found, profile) {
                return Err(Failure::new(format!("{}: the kernel has {found:?}", step())));
            }
        }
        if let Some(label) = &self.process.selinux_label {
            let step = || format!("unable to set selinux label {label:?}");
            dir.write("attr/exec", label).during(&step())?;
            let found = dir.read("attr/exec").during(&step())?;
            if !is_label(&found, label) {
                return Err(Failure::new(format!("{}: the kernel has {found:?}", step())));
            }
        }
        Ok(())
    }
}

/// Whether the kernel's answer ("docker-default (enforce)") is this profile. How it prints a profile of another namespace or a
/// stack of them depends on who looks; there any answer will do.
fn is_profile(found: &str, profile: &str) -> bool {
    let composed = profile.starts_with(['&', ':']) || profile.contains("//&");
    let name = found.rsplit_once(" (").map_or(found, |(name, _)| name);
    !found.is_empty() && (composed || name == profile)
}

/// Whether the kernel's answer is this label: user, role and type. It may write the level, which follows, in another way.
fn is_label(found: &str, label: &str) -> bool {
    !found.is_empty() && found.split(':').take(3).eq(label.split(':').take(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_is_what_was_written() {
        assert!(is_profile("docker-default (enforce)", "docker-default"));
        assert!(is_profile("unconfined", "unconfined"));
        assert!(is_profile("a//&b (enforce)", "&b"));
        assert!(!is_profile("", "docker-default") && !is_profile("other (enforce)", "docker-default"));
        let label = "system_u:system_r:container_t:s0:c2,c1";
        assert!(is_label("system_u:system_r:container_t:s0:c1,c2", label));
        assert!(!is_label("", label) && !is_label("system_u:system_r:unconfined_t:s0", label));
    }
}
