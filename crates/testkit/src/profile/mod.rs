//! Seccomp profiles like those that engines give every container by default: a few hundred names, several architectures,
//! a few rules about arguments.

use serde_json::{Value, json};

/// What unprivileged programs need.
const ALLOWED: &str = include_str!("allowed.txt");
/// What is kept from them.
const DENIED: &str = include_str!("denied.txt");

/// Which calls a profile lets fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All that is not allowed fails with EPERM, as docker has it.
    Docker,
    /// The same without a word about the errno and about flags, as containerd has it.
    Containerd,
    /// What is denied fails with EPERM, and what is unknown with ENOSYS, as podman has it.
    Podman,
}

impl Profile {
    /// The `linux.seccomp` object.
    #[must_use]
    pub fn json(self) -> Value {
        let (default, denied) = match self {
            Self::Docker => (json!(1), None),
            Self::Containerd => (Value::Null, None),
            Self::Podman => (json!(38), Some(errno(&words(DENIED), 1))),
        };
        let rules = [allow(&words(ALLOWED))].into_iter().chain(rules_about_arguments()).chain(denied);
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": default,
            "architectures": architectures(),
            "syscalls": rules.collect::<Vec<_>>(),
        })
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn architectures() -> Value {
    if cfg!(target_arch = "x86_64") {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    } else {
        json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
    }
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

fn errno(names: &[&str], errno: u32) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// Known personalities only, no sockets to a hypervisor, no new namespaces; and a `clone3` whose flags no filter can
/// see, so that the C library falls back to `clone`.
fn rules_about_arguments() -> Vec<Value> {
    const NEW_NAMESPACES: u64 = 0x7e02_0000;
    let when = |name: &str, op: &str, value: u64| {
        json!({"names": [name], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value, "op": op}]})
    };
    let personalities = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    let clone = json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]});
    personalities
        .iter()
        .map(|known| when("personality", "SCMP_CMP_EQ", *known))
        .chain([when("socket", "SCMP_CMP_NE", 40), clone, errno(&["clone3"], 38)])
        .collect()
}
