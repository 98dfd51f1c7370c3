use crate::exit::Exit;
use crate::output;
use clap::Args;
use serde_json::{Value, json};

/// Print what this runtime supports as JSON
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> anyhow::Result<Exit> {
    output::line(&serde_json::to_string_pretty(&document())?)?;
    Ok(Exit::Success)
}

/// The words of `linux.memoryPolicy`.
const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];
const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// The features document (runtime-spec, features.md): what is truly there, and nothing else.
fn document() -> Value {
    let hooks = ::spec::HookKind::ALL.map(::spec::HookKind::name);
    json!({
        "ociVersionMin": ::spec::OCI_VERSION_MIN,
        "ociVersionMax": ::spec::OCI_VERSION,
        "hooks": hooks,
        "mountOptions": container::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": ::spec::capability_names().collect::<Vec<_>>(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": MEMORY_MODES, "flags": MEMORY_FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true}
        },
        "annotations": {
            "io.github.seccomp.libseccomp.version": container::libseccomp_version(),
            "org.opencontainers.runc.checkpoint.enabled": "true",
            "dev.rt.version": env!("CARGO_PKG_VERSION"),
            "dev.rt.commit": env!("RT_COMMIT")
        },
        "potentiallyUnsafeConfigAnnotations": ["org.criu.config", "org.systemd.property."]
    })
}

fn seccomp() -> Value {
    match container::seccomp_features() {
        None => json!({"enabled": false}),
        Some(features) => json!({
            "enabled": true,
            "actions": features.actions,
            "operators": features.operators,
            "archs": features.architectures,
            "knownFlags": features.known_flags,
            "supportedFlags": features.supported_flags
        }),
    }
}
