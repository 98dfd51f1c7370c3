//! What a process is allowed: limits, ids, capabilities. In the order in which init applies them.

use super::failure::{During, Failure, Result};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit as KernelLimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets as KernelSets};
use spec::oci::PosixRlimitType as Kind;
use spec::{CapabilitySets, Process, Rlimit, User};
use std::os::fd::BorrowedFd;

/// Sets the resource limits, which needs CAP_SYS_RESOURCE where a hard limit is to be raised.
pub(crate) fn rlimits(limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let value = |v: u64| (v != u64::MAX).then_some(v);
        let new = KernelLimit { current: value(limit.soft), maximum: value(limit.hard) };
        rustix::process::setrlimit(resource(limit.kind), new).map_err(|e| {
            Failure::new(format!(
                "error setting rlimit {} to {}:{}: {}",
                limit.kind,
                limit.soft,
                limit.hard,
                text(e)
            ))
        })?;
    }
    Ok(())
}

fn resource(kind: Kind) -> Resource {
    match kind {
        Kind::RlimitCpu => Resource::Cpu,
        Kind::RlimitFsize => Resource::Fsize,
        Kind::RlimitData => Resource::Data,
        Kind::RlimitStack => Resource::Stack,
        Kind::RlimitCore => Resource::Core,
        Kind::RlimitRss => Resource::Rss,
        Kind::RlimitNproc => Resource::Nproc,
        Kind::RlimitNofile => Resource::Nofile,
        Kind::RlimitMemlock => Resource::Memlock,
        Kind::RlimitAs => Resource::As,
        Kind::RlimitLocks => Resource::Locks,
        Kind::RlimitSigpending => Resource::Sigpending,
        Kind::RlimitMsgqueue => Resource::Msgqueue,
        Kind::RlimitNice => Resource::Nice,
        Kind::RlimitRtprio => Resource::Rtprio,
        Kind::RlimitRttime => Resource::Rttime,
    }
}

/// Capabilities that are to be given up later; what stays was computed before, so that one system call does it.
#[derive(Debug)]
#[must_use = "nobody else gives them up"]
pub(crate) struct Surplus {
    stays: KernelSets,
}

impl Surplus {
    /// Keeps what was asked for and nothing else.
    pub(crate) fn give_up(self) -> rustix::io::Result<()> {
        rustix::thread::set_capabilities(None, self.stays)
    }
}

/// Becomes the user, and keeps exactly the given capabilities; and for the time being `longer`, if the process has it.
///
/// The bounding set goes first, while CAP_SETPCAP is still there; keepcaps carries the permitted set over the change of uid
/// (prctl(2) PR_SET_KEEPCAPS); the rest is set last, since the change of uid clears the effective set.
pub(crate) fn become_user(process: &Process, longer: CapabilitySet) -> Result<Option<Surplus>> {
    let caps = process.capabilities.unwrap_or_default();
    drop_bounding(caps.bounding)?;
    rustix::thread::set_keep_capabilities(true).during("prctl(PR_SET_KEEPCAPS)")?;
    user(&process.user)?;
    rustix::thread::set_keep_capabilities(false).during("prctl(PR_SET_KEEPCAPS)")?;
    capabilities(&caps, longer)
}

fn drop_bounding(keep: u64) -> Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep & 1 << bit != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(e) => {
                return Err(Failure::new(format!(
                    "unable to drop capability {bit} from the bounding set: {}",
                    text(e)
                )));
            }
        }
    }
    Ok(())
}

fn user(user: &User) -> Result<()> {
    if !user.keeps_groups {
        groups(&user.groups)?;
    }
    let gid = Gid::from_raw(user.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| refused("gid", user.gid, e))?;
    let uid = Uid::from_raw(user.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| refused("uid", user.uid, e))
}

fn groups(ids: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = ids.iter().map(|g| Gid::from_raw(*g)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) if groups.is_empty() || groups_are_denied() => Ok(()),
        Err(e) => Err(Failure::new(format!("setgroups({ids:?}): {}", text(e)))),
    }
}

/// Whether this is a user namespace whose owner may not change groups (user_namespaces(7)): then there is nothing to be done
/// about them, and runc lets them go without a word.
fn groups_are_denied() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

fn refused(kind: &str, id: u32, errno: Errno) -> Failure {
    Failure::new(match errno {
        Errno::INVAL => format!("cannot set{kind} to unmapped {kind} {id} in user namespace"),
        _ => format!("set{kind}({id}): {}", text(errno)),
    })
}

fn capabilities(caps: &CapabilitySets, longer: CapabilitySet) -> Result<Option<Surplus>> {
    let current = rustix::thread::capabilities(None).during("capget")?;
    let wanted = KernelSets {
        // What this process does not have it cannot give; a runtime should not fail then (runtime-spec, config.md). The
        // parent has warned of it.
        permitted: CapabilitySet::from_bits_retain(caps.permitted) & current.permitted,
        effective: CapabilitySet::from_bits_retain(caps.effective)
            & current.permitted
            & CapabilitySet::from_bits_retain(caps.permitted),
        inheritable: CapabilitySet::from_bits_retain(caps.inheritable)
            & (current.permitted | current.inheritable),
    };
    let longer = longer & current.permitted;
    let now =
        KernelSets { permitted: wanted.permitted | longer, effective: wanted.effective | longer, ..wanted };
    rustix::thread::set_capabilities(None, now).during("capset")?;
    let _ = rustix::thread::clear_ambient_capability_set();
    for bit in 0..64 {
        if caps.ambient & 1 << bit != 0 {
            // Only what is permitted and inheritable can be ambient (capabilities(7)); the rest is left out, as in runc.
            let one = CapabilitySet::from_bits_retain(1 << bit);
            let _ = rustix::thread::configure_capability_in_ambient_set(one, true);
        }
    }
    Ok((now != wanted).then_some(Surplus { stays: wanted }))
}

/// Hands stdio to the user, who could not open `/dev/stdout` otherwise; what is no file of ours is left alone.
pub(crate) fn own_stdio(uid: u32) {
    let null = rustix::fs::makedev(1, 3);
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        chown_unless(fd, uid, null);
    }
}

fn chown_unless(fd: BorrowedFd<'_>, uid: u32, device: u64) {
    let Ok(stat) = rustix::fs::fstat(fd) else { return };
    if stat.st_rdev != device && stat.st_uid != uid {
        // A socket or a read-only file system refuses, and needs no owner.
        let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None);
    }
}

fn text(errno: Errno) -> String {
    sys::strerror(errno.raw_os_error())
}
