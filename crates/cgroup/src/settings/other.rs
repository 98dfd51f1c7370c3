//! The small ones: pids, hugetlb, network, rdma, and cgroup2's files by name.

use std::collections::HashMap;

use spec::oci::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma};

use super::{List, Version, or_max, write};
use crate::error::{Error, Result};

pub(super) fn pids(pids: &LinuxPids, list: &mut List) {
    // 0 and below are no limit, in both generations; then the controller is not missed.
    let limit = pids.limit();
    let value = if limit == 0 { or_max(-1) } else { or_max(limit) };
    list.push("pids", vec![write("pids.max", &value)], limit <= 0);
}

pub(super) fn hugepages(limits: &[LinuxHugepageLimit], list: &mut List) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        let size = limit.page_size();
        if size.is_empty() || size.contains('/') {
            return Err(Error::resource(
                format!("hugepageLimits[{index}].pageSize"),
                format!("{size:?} is no page size"),
            ));
        }
        let (suffix, value) = match list.version {
            Version::V1 => ("limit_in_bytes", limit.limit().to_string()),
            Version::V2 => ("max", or_max(limit.limit())),
        };
        list.push("hugetlb", vec![write(format!("hugetlb.{size}.{suffix}"), &value)], false);
        // Reservations are counted apart since kernel 5.7.
        list.push("hugetlb", vec![write(format!("hugetlb.{size}.rsvd.{suffix}"), &value)], true);
    }
    Ok(())
}

pub(super) fn network(network: &LinuxNetwork, list: &mut List) {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        list.put(Some(("net_cls", "net_cls.classid")), None, &class);
    }
    for priority in network.priorities().iter().flatten() {
        let value = format!("{} {}", priority.name(), priority.priority());
        list.put(Some(("net_prio", "net_prio.ifpriomap")), None, &value);
    }
}

pub(super) fn rdma(devices: &HashMap<String, LinuxRdma>, list: &mut List) {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let mut value = name.clone();
        for (key, count) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(count) = count {
                value.push_str(&format!(" {key}={count}"));
            }
        }
        list.put(Some(("rdma", "rdma.max")), Some(("rdma", "rdma.max")), &value);
    }
}

/// cgroup2's files by name, verbatim; last, so that they win over what the other fields say.
pub(super) fn unified(files: &HashMap<String, String>, list: &mut List) -> Result<()> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_unstable();
    if list.version == Version::V1 && !files.is_empty() {
        return Err(Error::resource("unified", "invalid configuration: cannot use unified on cgroup v1"));
    }
    for (file, value) in files {
        let field = || format!("unified[{file:?}]");
        if file.contains('/') {
            return Err(Error::resource(field(), "must be a file name (no slashes)"));
        }
        let Some((controller, _)) = file.split_once('.') else {
            return Err(Error::resource(field(), "must be in the form CONTROLLER.PARAMETER"));
        };
        // The kernel takes one line at a time, also where it shows many (io.max).
        for line in value.strip_suffix('\n').unwrap_or(value).split('\n') {
            list.push(controller.to_owned(), vec![write(file.clone(), line)], false);
        }
    }
    Ok(())
}
