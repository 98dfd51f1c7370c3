//! The config.json that `rt spec` writes: runc's, so that a bundle made with either runs on both.

use serde_json::{Value, json};

/// The version that has all that the document uses, and no later one: a runtime refuses what it does not know.
const DOCUMENT_VERSION: &str = "1.0.2";

/// What of the host shapes the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Whether the cgroup hierarchy is the unified one alone; then the container gets a cgroup namespace.
    pub cgroup2_only: bool,
    /// The caller's uid and gid when the document is for a rootless container.
    pub rootless: Option<(u32, u32)>,
}

/// The default document.
pub fn default_config(host: Host) -> Value {
    let mut document = base();
    if host.cgroup2_only {
        push(&mut document, "/linux/namespaces", json!({"type": "cgroup"}));
    }
    if let Some((uid, gid)) = host.rootless {
        make_rootless(&mut document, uid, gid);
    }
    document
}

fn base() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": DOCUMENT_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "rt",
        "mounts": mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
    ])
}

/// runc's rules for `spec --rootless`: a user namespace with the caller as root, no network namespace of its own, and no
/// mount options that need ids which are not mapped.
fn make_rootless(document: &mut Value, uid: u32, gid: u32) {
    let linux = &mut document["linux"];
    linux["namespaces"].as_array_mut().into_iter().for_each(|list| list.retain(|n| n["type"] != "network"));
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    linux.as_object_mut().into_iter().for_each(|l| drop(l.remove("resources")));
    push(document, "/linux/namespaces", json!({"type": "user"}));
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|o| !o.as_str().is_some_and(|o| o.starts_with("gid=") || o.starts_with("uid=")));
        }
    }
}

fn push(document: &mut Value, pointer: &str, value: Value) {
    if let Some(list) = document.pointer_mut(pointer).and_then(Value::as_array_mut) {
        list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn every_variant_passes_our_own_checks() {
        for cgroup2_only in [false, true] {
            for rootless in [None, Some((1000, 1000))] {
                let document = default_config(Host { cgroup2_only, rootless });
                Config::parse(document.to_string().into_bytes(), "default").unwrap();
            }
        }
    }

    #[test]
    fn rootless_maps_the_caller_and_keeps_the_hosts_network() {
        let document = default_config(Host { cgroup2_only: false, rootless: Some((7, 8)) });
        assert_eq!(document["linux"]["uidMappings"][0]["hostID"], 7);
        assert!(!document["linux"]["namespaces"].to_string().contains("network"));
    }
}
