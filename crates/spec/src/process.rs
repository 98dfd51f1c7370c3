//! The process of a container, or of an `exec`, its values resolved.

use crate::bundle::from_json;
use crate::oci::{self, PosixRlimitType};
use crate::scheduling::{self, CpuAffinity, Scheduler};
use crate::{CapabilitySets, Error, Result, capability_bit};
use std::path::PathBuf;

/// Who the process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id inside the container's user namespace.
    pub uid: u32,
    /// Group id inside the container's user namespace.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// In their place those that the caller has: the container's annotation says it.
    pub keeps_groups: bool,
    /// File mode creation mask; None leaves 0022, as runc does.
    pub umask: Option<u32>,
}

/// One resource limit (setrlimit(2)); values in the limit's own unit, `u64::MAX` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub kind: PosixRlimitType,
    /// What is enforced now.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

/// A process to run in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Whether it gets a pseudo-terminal.
    pub terminal: bool,
    /// The terminal's first size in characters: (height, width).
    pub console_size: Option<(u16, u16)>,
    /// Who it runs as.
    pub user: User,
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory inside the container; absolute.
    pub cwd: PathBuf,
    /// Capability sets; None (no `capabilities` object) drops them all.
    pub capabilities: Option<CapabilitySets>,
    /// Names of capabilities that were asked for and are unknown: ignored, but worth a warning.
    pub unknown_capabilities: Vec<String>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Whether execve(2) can no longer grant privileges.
    pub no_new_privileges: bool,
    /// What to add to the badness by which the kernel picks a victim (-1000 to 1000).
    pub oom_score_adj: Option<i32>,
    /// The AppArmor profile that its program runs in.
    pub apparmor_profile: Option<String>,
    /// The SELinux label that its program runs with.
    pub selinux_label: Option<String>,
    /// Scheduling policy and parameters.
    pub scheduler: Option<Scheduler>,
    /// I/O priority, as ioprio_set(2) takes it.
    pub io_priority: Option<u16>,
    /// The processors of a process that joins the container; not for its init.
    pub exec_cpu_affinity: CpuAffinity,
}

impl Process {
    /// Checks and resolves a `process` object.
    pub fn of(process: &oci::Process) -> Result<Self> {
        let args = process.args().clone().unwrap_or_default();
        if args.first().is_none_or(String::is_empty) {
            return Err(Error::field("process.args", "must not be empty: it names the program to run"));
        }
        if !process.cwd().is_absolute() {
            return Err(Error::field("process.cwd", format!("{:?} must be an absolute path", process.cwd())));
        }
        strings(&args, process.env().as_deref().unwrap_or_default())?;
        Ok(Self {
            terminal: process.terminal().unwrap_or(false),
            console_size: process.console_size().map(|size| (clamp(size.height()), clamp(size.width()))),
            user: user(process.user())?,
            args,
            env: process.env().clone().unwrap_or_default(),
            cwd: process.cwd().clone(),
            capabilities: process.capabilities().as_ref().map(CapabilitySets::of),
            unknown_capabilities: Vec::new(),
            rlimits: rlimits(process)?,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            oom_score_adj: oom_score_adj(process)?,
            apparmor_profile: given(process.apparmor_profile()),
            selinux_label: given(process.selinux_label()),
            scheduler: process.scheduler().as_ref().map(Scheduler::of).transpose()?,
            io_priority: process.io_priority().map(scheduling::io_priority).transpose()?,
            exec_cpu_affinity: match process.exec_cpu_affinity() {
                Some(affinity) => CpuAffinity::of(affinity)?,
                None => CpuAffinity::default(),
            },
        })
    }

    /// Whether it, or a program that it starts, may come to have this capability (`CAP_...`).
    pub fn may_gain(&self, capability: &str) -> bool {
        let bounding = self.capabilities.map_or(0, |sets| sets.bounding);
        capability_bit(capability).is_some_and(|bit| bounding & 1 << bit != 0)
    }

    /// Takes what this process does not say of itself from the container's own, as runc does: a process that joins a container
    /// is confined no less than its init. Limits and no_new_privs are its own to say.
    #[must_use]
    pub fn or(self, container: Self) -> Self {
        let own_affinity = self.exec_cpu_affinity != CpuAffinity::default();
        Self {
            capabilities: self.capabilities.or(container.capabilities),
            oom_score_adj: self.oom_score_adj.or(container.oom_score_adj),
            apparmor_profile: self.apparmor_profile.or(container.apparmor_profile),
            selinux_label: self.selinux_label.or(container.selinux_label),
            scheduler: self.scheduler.or(container.scheduler),
            io_priority: self.io_priority.or(container.io_priority),
            exec_cpu_affinity: if own_affinity {
                self.exec_cpu_affinity
            } else {
                container.exec_cpu_affinity
            },
            user: User {
                umask: self.user.umask.or(container.user.umask),
                keeps_groups: container.user.keeps_groups,
                ..self.user
            },
            ..self
        }
    }

    /// Parses the `process` object that `exec --process FILE` reads.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let (process, unknown_capabilities) = from_json(bytes, file)?;
        Ok(Self { unknown_capabilities, ..Self::of(&process)? })
    }
}

/// No string can hold a zero, with which the kernel ends them; a variable needs a name.
fn strings(args: &[String], env: &[String]) -> Result<()> {
    for (list, texts) in [("args", args), ("env", env)] {
        for (i, text) in texts.iter().enumerate() {
            let path = || format!("process.{list}[{i}]");
            if text.contains('\0') {
                return Err(Error::field(path(), format!("{text:?} holds a NUL byte")));
            }
            if list == "env" && !is_variable(text) {
                return Err(Error::field(path(), format!("{text:?} must be NAME=value")));
            }
        }
    }
    Ok(())
}

/// Whether a text sets an environment variable.
pub fn is_variable(text: &str) -> bool {
    text.find('=').is_some_and(|end| end > 0)
}

fn user(user: &oci::User) -> Result<User> {
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    let of_groups = groups.iter().enumerate().map(|(i, gid)| (format!("additionalGids[{i}]"), *gid));
    let ids = [("uid".to_owned(), user.uid()), ("gid".to_owned(), user.gid())];
    for (field, id) in ids.into_iter().chain(of_groups) {
        // "Leave it as it is" to setresuid(2): the process would stay root.
        if id == u32::MAX {
            return Err(Error::field(format!("process.user.{field}"), format!("{id} is not an id")));
        }
    }
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups.dedup();
    Ok(User { uid: user.uid(), gid: user.gid(), groups, keeps_groups: false, umask: user.umask() })
}

fn oom_score_adj(process: &oci::Process) -> Result<Option<i32>> {
    match process.oom_score_adj() {
        Some(score) if !(-1000..=1000).contains(&score) => Err(Error::field(
            "process.oomScoreAdj",
            format!("{score} is not in the range from -1000 to 1000"),
        )),
        score => Ok(score),
    }
}

fn clamp(characters: u64) -> u16 {
    u16::try_from(characters).unwrap_or(u16::MAX)
}

fn rlimits(process: &oci::Process) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (i, limit) in process.rlimits().iter().flatten().enumerate() {
        let path = || format!("process.rlimits[{i}]");
        if limits.iter().any(|l| l.kind == limit.typ()) {
            return Err(Error::field(path(), format!("{} is given twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::field(
                path(),
                format!("soft limit {} is above hard limit {}", limit.soft(), limit.hard()),
            ));
        }
        limits.push(Rlimit { kind: limit.typ(), soft: limit.soft(), hard: limit.hard() });
    }
    Ok(limits)
}

fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Process {
        let json = format!(r#"{{"args":["x"],"cwd":"/","user":{{"uid":0,"gid":0}}{rest}}}"#);
        Process::parse(json.as_bytes(), "p").unwrap()
    }

    #[test]
    fn a_joining_process_is_confined_as_the_container_is() {
        let container =
            parse(r#","apparmorProfile":"a","oomScoreAdj":5,"noNewPrivileges":true,"capabilities":{}"#);
        let joined = parse("").or(container.clone());
        assert_eq!(joined.apparmor_profile.as_deref(), Some("a"));
        assert_eq!((joined.oom_score_adj, joined.capabilities.is_some()), (Some(5), true));
        assert!(!joined.no_new_privileges, "its own to say");
        assert_eq!(parse(r#","apparmorProfile":"b""#).or(container).apparmor_profile.as_deref(), Some("b"));
    }
}
