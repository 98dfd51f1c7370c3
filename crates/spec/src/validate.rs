//! What must hold of a config.json before anything is made from it.

use crate::oci::{Linux, LinuxNamespaceType as Ns, Spec};
use crate::{Error, HookKind, MemoryPolicy, Namespaces, Process, Result, Seccomp, hooks, scheduling};

/// Checks a document as a whole. Each error names the JSON path.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    version(spec.version())?;
    if let Some(process) = spec.process() {
        Process::of(process)?;
    }
    let namespaces = Namespaces::of(spec)?;
    hostname(spec, &namespaces)?;
    hook_paths(spec)?;
    linux(spec, &namespaces)
}

fn version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(Error::field("ociVersion", "is missing"));
    }
    if version.split('.').next() != Some("1") {
        return Err(Error::field("ociVersion", format!("{version:?} is not supported (1.0.0 to 1.x are)")));
    }
    Ok(())
}

fn hostname(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    for (path, value) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(value) = value.as_deref().filter(|v| !v.is_empty()) else { continue };
        if !namespaces.is_private(Ns::Uts) {
            return Err(Error::field(path, "unable to set it without a private UTS namespace"));
        }
        if value.len() > 64 {
            return Err(Error::field(path, "is longer than 64 bytes"));
        }
    }
    Ok(())
}

fn hook_paths(spec: &Spec) -> Result<()> {
    for kind in HookKind::ALL {
        for (i, hook) in hooks(spec, kind).iter().enumerate() {
            let path = |field: &str| format!("hooks.{}[{i}].{field}", kind.name());
            if !hook.path().is_absolute() {
                return Err(Error::field(
                    path("path"),
                    format!("{:?} must be an absolute path", hook.path()),
                ));
            }
            if hook.timeout().is_some_and(|t| t <= 0) {
                return Err(Error::field(path("timeout"), "must be greater than zero"));
            }
        }
    }
    Ok(())
}

fn linux(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    if !namespaces.is_private(Ns::Mount) {
        without_mount_namespace(linux, namespaces)?;
    }
    let masked =
        [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())];
    for (path, list) in masked {
        if let Some(relative) = list.iter().flatten().find(|p| !p.starts_with('/')) {
            return Err(Error::field(path, format!("{relative:?} must be an absolute path")));
        }
    }
    sysctl(spec, namespaces)?;
    linux.seccomp().as_ref().map(Seccomp::of).transpose()?;
    linux.memory_policy().as_ref().map(MemoryPolicy::of).transpose()?;
    linux.personality().as_ref().map(scheduling::personality).transpose()?;
    time_offsets(linux, namespaces)?;
    // Refused rather than ignored: a container must not run with less than its author asked for.
    if linux.intel_rdt().is_some() {
        return Err(Error::field("linux.intelRdt", "is not supported yet"));
    }
    net_devices_are_sound(spec, namespaces)?;
    user_mappings(spec, namespaces)
}

/// The network devices that move into the container: their names on the host and there, sorted.
pub fn net_devices(spec: &Spec) -> Vec<(String, String)> {
    let devices = spec.linux().as_ref().and_then(|l| l.net_devices().as_ref());
    let mut devices: Vec<_> = devices
        .into_iter()
        .flatten()
        .map(|(host, device)| {
            let name = device.name().as_deref().filter(|name| !name.is_empty());
            (host.clone(), name.unwrap_or(host).to_owned())
        })
        .collect();
    devices.sort();
    devices
}

fn net_devices_are_sound(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let devices = net_devices(spec);
    if !devices.is_empty() && !namespaces.is_private(Ns::Network) {
        return Err(Error::field(
            "linux.netDevices",
            "unable to move network devices without a NET namespace",
        ));
    }
    for (i, (host, name)) in devices.iter().enumerate() {
        let path = || format!("linux.netDevices[{host:?}]");
        if let Some(bad) = [host, name].into_iter().find(|name| !is_device_name(name)) {
            return Err(Error::field(path(), format!("invalid network device name {bad:?}")));
        }
        if devices[..i].iter().any(|(_, other)| other == name) {
            return Err(Error::field(path(), format!("two or more network devices with same name {name:?}")));
        }
    }
    Ok(())
}

/// The kernel's rule (dev_valid_name): IFNAMSIZ is 16, with the final NUL.
fn is_device_name(name: &str) -> bool {
    let is_odd = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace();
    (1..16).contains(&name.len()) && name != "." && name != ".." && !name.contains(is_odd)
}

/// The clocks that a time namespace can shift (time_namespaces(7)).
fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    let offsets = linux.time_offsets().iter().flatten();
    for (clock, offset) in offsets {
        let path = format!("linux.timeOffsets.{clock}");
        if !namespaces.is_private(Ns::Time) {
            return Err(Error::field(
                path,
                "time namespace offsets specified, but time namespace isn't enabled in the config",
            ));
        }
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::field(path, "is not a clock with an offset (monotonic and boottime are)"));
        }
        if offset.nanosecs().is_some_and(|nanoseconds| nanoseconds >= 1_000_000_000) {
            return Err(Error::field(format!("{path}.nanosecs"), "is a second or more"));
        }
    }
    Ok(())
}

fn user_mappings(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    for (path, mappings) in
        [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())]
    {
        let given = mappings.as_ref().is_some_and(|m| !m.is_empty());
        if given && !namespaces.is_private(Ns::User) {
            return Err(Error::field(
                path,
                "user namespace mappings specified, but user namespace isn't enabled in the config",
            ));
        }
        if !given && namespaces.is_new(Ns::User) {
            return Err(Error::field(path, "a new user namespace needs mappings"));
        }
    }
    Ok(())
}

/// A sysctl belongs to a namespace; setting it without that namespace would change the host (sysctl/kernel.rst, net.rst).
/// What would change the host's own file tree.
fn without_mount_namespace(linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    let hidden =
        [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())];
    for (path, list) in hidden {
        if list.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Error::field(path, "unable to restrict sys entries without a private MNT namespace"));
        }
    }
    if linux.rootfs_propagation().as_deref().is_some_and(|name| name.ends_with("shared")) {
        return Err(Error::field(
            "linux.rootfsPropagation",
            "unable to share the root without a private MNT namespace",
        ));
    }
    if namespaces.is_private(Ns::User) {
        let reason =
            "a user namespace may mount nothing without a mount namespace; add {\"type\": \"mount\"}";
        return Err(Error::field("linux.namespaces", reason));
    }
    Ok(())
}

fn sysctl(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let Some(list) = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref()) else { return Ok(()) };
    for key in list.keys() {
        let path = || format!("linux.sysctl[{key:?}]");
        let name = key.replace('/', ".");
        if name == "kernel.hostname" {
            return Err(Error::field(path(), "is not allowed: use the field hostname"));
        }
        let needs = if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            Ns::Ipc
        } else if name.starts_with("net.") {
            Ns::Network
        } else if name == "kernel.domainname" {
            Ns::Uts
        } else {
            return Err(Error::field(path(), "is not in a separate kernel namespace"));
        };
        if name.split('.').any(|part| part.is_empty()) || name.contains("..") {
            return Err(Error::field(path(), "is not a sysctl name"));
        }
        if !namespaces.is_private(needs) {
            return Err(Error::field(path(), format!("is not allowed without a private {needs} namespace")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn error(linux: &str) -> String {
        let json = format!(r#"{{"ociVersion":"1.0.2","root":{{"path":"rootfs"}},"linux":{linux}}}"#);
        match Config::parse(json.into_bytes(), "config.json") {
            Ok(_) => String::new(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn names_what_is_wrong_in_linux() {
        assert_eq!(error("{}"), "");
        assert!(error(r#"{"maskedPaths":["/proc/kcore"]}"#).contains("linux.maskedPaths"));
        assert!(error(r#"{"rootfsPropagation":"rshared"}"#).contains("linux.rootfsPropagation"));
        assert!(error(r#"{"namespaces":[{"type":"user"}]}"#).contains("linux.namespaces"));
        assert!(
            error(r#"{"namespaces":[{"type":"mount"},{"type":"mount"}]}"#).contains("linux.namespaces[1]")
        );
        assert!(
            error(r#"{"namespaces":[{"type":"mount","path":"x"}]}"#).contains("linux.namespaces[0].path")
        );
        assert!(
            error(r#"{"namespaces":[{"type":"mount"}],"sysctl":{"net.a.b":"1"}}"#).contains("private net")
        );
        assert!(
            error(r#"{"namespaces":[{"type":"mount"}],"sysctl":{"kernel.panic":"1"}}"#)
                .contains("separate kernel namespace")
        );
        assert!(
            error(r#"{"namespaces":[{"type":"mount"}],"maskedPaths":["proc"]}"#)
                .contains("linux.maskedPaths")
        );
        assert_eq!(error(r#"{"namespaces":[{"type":"mount"}]}"#), "");
    }
}
