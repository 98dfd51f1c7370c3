//! Capabilities by name and by number (capabilities(7)).

use crate::oci::{Capabilities, Capability, LinuxCapabilities};

use Capability::{
    AuditControl, AuditRead, AuditWrite, BlockSuspend, Bpf, CheckpointRestore, Chown, DacOverride,
    DacReadSearch, Fowner, Fsetid, IpcLock, IpcOwner, Kill, Lease, LinuxImmutable, MacAdmin, MacOverride,
    Mknod, NetAdmin, NetBindService, NetBroadcast, NetRaw, Perfmon, Setfcap, Setgid, Setpcap, Setuid,
    SysAdmin, SysBoot, SysChroot, SysModule, SysNice, SysPacct, SysPtrace, SysRawio, SysResource, SysTime,
    SysTtyConfig, Syslog, WakeAlarm,
};

/// In the kernel's order (linux/capability.h): a capability's number is its place here.
const ORDER: [Capability; 41] = [
    Chown,
    DacOverride,
    DacReadSearch,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
    Setpcap,
    LinuxImmutable,
    NetBindService,
    NetBroadcast,
    NetAdmin,
    NetRaw,
    IpcLock,
    IpcOwner,
    SysModule,
    SysRawio,
    SysChroot,
    SysPtrace,
    SysPacct,
    SysAdmin,
    SysBoot,
    SysNice,
    SysResource,
    SysTime,
    SysTtyConfig,
    Mknod,
    Lease,
    AuditWrite,
    AuditControl,
    Setfcap,
    MacOverride,
    MacAdmin,
    Syslog,
    WakeAlarm,
    BlockSuspend,
    AuditRead,
    Perfmon,
    Bpf,
    CheckpointRestore,
];

/// The five sets of a process as bit masks (bit n: capability number n).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What can ever be gained by execve(2).
    pub bounding: u64,
    /// What the kernel checks.
    pub effective: u64,
    /// What may be put into the effective set.
    pub permitted: u64,
    /// What survives execve(2) of a file with inheritable capabilities. CVE-2022-29162: left as the spec says, empty by default.
    pub inheritable: u64,
    /// What survives execve(2) of an ordinary file.
    pub ambient: u64,
}

impl CapabilitySets {
    pub(crate) fn of(caps: &LinuxCapabilities) -> Self {
        let mask = |set: &Option<Capabilities>| {
            set.iter().flatten().filter_map(|c| bit(*c)).fold(0, |mask, bit| mask | 1 << bit)
        };
        Self {
            bounding: mask(caps.bounding()),
            effective: mask(caps.effective()),
            permitted: mask(caps.permitted()),
            inheritable: mask(caps.inheritable()),
            ambient: mask(caps.ambient()),
        }
    }

    /// Adds a capability as `exec --cap` does: to every set but the inheritable one (CVE-2022-29162), and to the ambient one
    /// only where it is inheritable, without which it could not be ambient (capabilities(7)).
    pub fn add(&mut self, bit: u32) {
        for set in [&mut self.bounding, &mut self.effective, &mut self.permitted] {
            *set |= 1 << bit;
        }
        self.ambient |= self.inheritable & 1 << bit;
    }
}

fn bit(capability: Capability) -> Option<u32> {
    ORDER.iter().position(|c| *c == capability).map(|n| n as u32)
}

/// The number of a capability by its name, with or without `CAP_`, in any case.
pub fn capability_bit(name: &str) -> Option<u32> {
    let name = name.to_uppercase();
    let name = name.trim_start_matches("CAP_");
    ORDER.iter().position(|c| c.to_string() == name).map(|n| n as u32)
}

/// All capability names ("CAP_CHOWN", ...) in the kernel's order.
pub fn capability_names() -> impl Iterator<Item = String> {
    ORDER.iter().map(|c| format!("CAP_{c}"))
}

/// The names of the capabilities of a set, in the kernel's order.
pub fn capability_list(set: u64) -> String {
    let named = capability_names().enumerate().filter(|(bit, _)| set & 1 << bit != 0);
    named.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in
            [("CAP_CHOWN", 0), ("sys_admin", 21), ("CAP_AUDIT_READ", 37), ("CAP_CHECKPOINT_RESTORE", 40)]
        {
            assert_eq!(capability_bit(name), Some(number), "{name}");
        }
        assert_eq!(capability_bit("CAP_NONSENSE"), None);
        assert_eq!(capability_bit("CAP_CAP_KILL"), Some(5), "as oci-spec reads it");
        assert_eq!(capability_names().count(), 41);
    }

    #[test]
    fn an_added_capability_is_ambient_only_where_it_is_inheritable() {
        let mut sets = CapabilitySets { inheritable: 1 << 5, ..CapabilitySets::default() };
        sets.add(5);
        sets.add(7);
        let both = 1 << 5 | 1 << 7;
        assert_eq!((sets.bounding, sets.effective, sets.permitted), (both, both, both));
        assert_eq!((sets.inheritable, sets.ambient), (1 << 5, 1 << 5));
        assert_eq!(capability_list(both), "CAP_KILL CAP_SETUID");
    }
}
