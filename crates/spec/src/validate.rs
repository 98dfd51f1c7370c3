//! What must hold of a config.json before anything is made from it.

use crate::oci::{Linux, LinuxIdMapping, LinuxIntelRdt, LinuxNamespaceType as Ns, Spec};
use crate::{Error, HookKind, MemoryPolicy, Namespaces, Process, Result, Seccomp, hooks};

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
    time_offsets(linux, namespaces)?;
    linux.intel_rdt().as_ref().map_or(Ok(()), intel_rdt)?;
    net_devices_are_sound(spec, namespaces)?;
    user_mappings(spec, namespaces)
}

/// The names and texts of `linux.intelRdt`: each schema is one line of a file, and the class one directory (or `/`, the default one).
fn intel_rdt(rdt: &LinuxIntelRdt) -> Result<()> {
    let class = rdt.clos_id().as_deref().unwrap_or_default();
    if matches!(class, "." | "..") || (class != "/" && class.contains(['/', '\n', '\0'])) {
        return Err(Error::field("linux.intelRdt.closID", format!("{class:?} is not the name of a class")));
    }
    for (i, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.contains('\n') {
            return Err(Error::field(format!("linux.intelRdt.schemata[{i}]"), "is more than one line"));
        }
    }
    let bandwidth = rdt.mem_bw_schema().as_deref().filter(|text| !text.is_empty());
    if bandwidth.is_some_and(|text| text.contains('\n') || !text.trim_start().starts_with("MB:")) {
        return Err(Error::field("linux.intelRdt.memBwSchema", "must be one line that starts with \"MB:\""));
    }
    Ok(())
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
        mapping_ranges(path, mappings.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// The kernel's rules for id maps (user_namespaces(7)): ranges are not empty, stay below the highest id, and do not overlap on either
/// side.
fn mapping_ranges(path: &str, mappings: &[LinuxIdMapping]) -> Result<()> {
    let sides: [fn(&LinuxIdMapping) -> u32; 2] = [LinuxIdMapping::container_id, LinuxIdMapping::host_id];
    for (i, mapping) in mappings.iter().enumerate() {
        if mapping.size() == 0 {
            return Err(Error::field(format!("{path}[{i}].size"), "is zero"));
        }
        for start in sides {
            let end = |mapping: &LinuxIdMapping| u64::from(start(mapping)) + u64::from(mapping.size());
            if end(mapping) > u64::from(u32::MAX) {
                return Err(Error::field(format!("{path}[{i}].size"), "reaches beyond the highest id"));
            }
            let overlaps = |other: &LinuxIdMapping| {
                u64::from(start(mapping)) < end(other) && u64::from(start(other)) < end(mapping)
            };
            if mappings[..i].iter().any(overlaps) {
                return Err(Error::field(format!("{path}[{i}]"), "overlaps with one before it"));
            }
        }
    }
    Ok(())
}

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

/// A sysctl belongs to a namespace; setting it without that namespace would change the host (sysctl/kernel.rst, net.rst).
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

    #[test]
    fn names_what_is_wrong_in_a_map() {
        let error = |first: &str, second: &str| {
            let map = |text: &str| {
                let [container, host, size] =
                    text.split(' ').collect::<Vec<_>>().try_into().expect("three numbers");
                format!(r#"{{"containerID":{container},"hostID":{host},"size":{size}}}"#)
            };
            let maps = format!("[{},{}]", map(first), map(second));
            error(&format!(
                r#"{{"namespaces":[{{"type":"mount"}},{{"type":"user"}}],"uidMappings":{maps},"gidMappings":{maps}}}"#
            ))
        };
        assert_eq!(error("0 1000 10", "10 0 1000"), "");
        for (second, path) in [
            ("10 0 0", "linux.uidMappings[1].size"),
            ("10 4294967290 6", "linux.uidMappings[1].size"),
            ("9 0 1", "linux.uidMappings[1]: overlaps"),
            ("10 1009 5", "linux.uidMappings[1]: overlaps"),
        ] {
            assert!(error("0 1000 10", second).contains(path), "{second}: {}", error("0 1000 10", second));
        }
    }

    #[test]
    fn names_what_is_wrong_in_intel_rdt() {
        let error = |rdt: &str| error(&format!(r#"{{"namespaces":[{{"type":"mount"}}],"intelRdt":{rdt}}}"#));
        for sound in [
            "{}",
            r#"{"closID":"/"}"#,
            r#"{"closID":"gold","schemata":["L3:0=f","MB:0=20"]}"#,
            r#"{"l3CacheSchema":"L3:0=f\nMB:0=10","memBwSchema":"MB:0=20","enableMonitoring":true}"#,
        ] {
            assert_eq!(error(sound), "", "{sound}");
        }
        for (wrong, path) in [
            (r#"{"closID":".."}"#, "linux.intelRdt.closID"),
            (r#"{"closID":"a/b"}"#, "linux.intelRdt.closID"),
            (r#"{"closID":7}"#, "linux.intelRdt.closID"),
            (r#"{"schemata":["L3:0=f","L3:1=f\nMB:0=1"]}"#, "linux.intelRdt.schemata[1]"),
            (r#"{"memBwSchema":"L3:0=f"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"memBwSchema":"MB:0=1\nMB:1=1"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"enableMonitoring":"yes"}"#, "linux.intelRdt.enableMonitoring"),
        ] {
            assert!(error(wrong).contains(path), "{wrong}: {}", error(wrong));
        }
    }
}
