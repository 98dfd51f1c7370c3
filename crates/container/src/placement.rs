//! The cgroup of a container whose first process is there: made around it, where systemd makes it, and handed over.

use crate::error::Result;
use crate::store::{Entry, Record};
use cgroup::{Cgroup, UnitPlan};
use spec::oci::{LinuxIdMapping, Mount};
use spec::{Config, Namespace};
use std::path::Path;

/// Has systemd make the cgroup around a process that waits for it. One that turns out to be somebody else's is forgotten, so
/// that the undo leaves it alone.
pub(crate) fn start_unit(entry: &Entry, record: &mut Record, plan: &UnitPlan, pid: i32) -> Result<()> {
    let started = record.cgroup.start_unit(plan, pid);
    if let Err(cgroup::Error::UnitExists(_)) = &started {
        record.cgroup = Cgroup::none();
        entry.save(record)?;
    }
    started?;
    log::debug!("{}: systemd has made the cgroup, limits set", entry.id);
    Ok(())
}

/// Gives the cgroup to the user whom the container's process runs as, for containers that may divide it further.
pub(crate) fn hand_over(cgroup: &Cgroup, config: &Config) -> Result<()> {
    match owner(config)? {
        Some(uid) if cgroup.is_v2() && sys::is_root() => Ok(cgroup.give_to(uid)?),
        _ => Ok(()),
    }
}

/// Who is to own the cgroup, unless it is root (runtime-spec, config-linux.md, "Cgroup ownership"): only where the container
/// sees its own cgroup alone, and may write to it.
fn owner(config: &Config) -> Result<Option<u32>> {
    let namespaces = config.namespaces()?;
    let mounts = config.oci.mounts().iter().flatten();
    if !namespaces.is_new(Namespace::Cgroup) || !mounts.into_iter().any(is_writable_cgroup) {
        return Ok(None);
    }
    let uid = config.process()?.user.uid;
    let host = if namespaces.is_private(Namespace::User) {
        let mappings = config.linux().and_then(|linux| linux.uid_mappings().as_ref()).into_iter().flatten();
        mappings.into_iter().find_map(|mapping| on_host(mapping, uid))
    } else {
        Some(uid)
    };
    Ok(host.filter(|uid| *uid != 0))
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let kind = mount.typ().as_deref();
    let is_readonly = mount.options().iter().flatten().any(|option| option == "ro");
    mount.destination() == Path::new("/sys/fs/cgroup")
        && matches!(kind, Some("cgroup" | "cgroup2"))
        && !is_readonly
}

fn on_host(mapping: &LinuxIdMapping, uid: u32) -> Option<u32> {
    let offset = uid.checked_sub(mapping.container_id()).filter(|offset| *offset < mapping.size())?;
    mapping.host_id().checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(uid: u32, namespaces: &str, options: &str) -> Option<u32> {
        let json = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},
            "process":{{"args":["x"],"cwd":"/","user":{{"uid":{uid},"gid":0}}}},
            "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":[{options}]}}],
            "linux":{{"namespaces":[{{"type":"mount"}}{namespaces}]"#
        );
        let maps = r#","uidMappings":[{"containerID":0,"hostID":5000,"size":10},{"containerID":10,"hostID":90,"size":1}],
            "gidMappings":[{"containerID":0,"hostID":5000,"size":10}]}}"#;
        let end = if namespaces.contains("user") { maps } else { "}}" };
        owner(&Config::parse(format!("{json}{end}").into_bytes(), "c").unwrap()).unwrap()
    }

    #[test]
    fn who_sees_its_own_cgroup_alone_and_may_write_to_it_owns_it() {
        let both = r#",{"type":"cgroup"},{"type":"user"}"#;
        assert_eq!(owner_of(0, both, ""), Some(5000));
        assert_eq!(owner_of(7, both, r#""nosuid""#), Some(5007));
        assert_eq!(owner_of(10, both, ""), Some(90));
        assert_eq!(owner_of(11, both, ""), None);
        assert_eq!(owner_of(0, both, r#""nosuid","ro""#), None);
        assert_eq!(owner_of(0, r#",{"type":"user"}"#, ""), None);
        assert_eq!(owner_of(7, r#",{"type":"cgroup"}"#, ""), Some(7));
        assert_eq!(owner_of(0, r#",{"type":"cgroup"}"#, ""), None);
    }
}
