//! The plan of a container's file tree: the same at creation, at a checkpoint and at a restore.

use crate::error::Result;
use crate::store::{Entry, Record};
use cgroup::{Cgroup, Layout, View};
use rootfs::{CgroupView, Context, Hierarchy, Plan};
use spec::Config;
use spec::oci::LinuxNamespaceType as Ns;

/// The plan for a container of this record and config.
pub(crate) fn plan(entry: &Entry, record: &Record, config: &Config) -> Result<Plan> {
    let namespaces = config.namespaces()?;
    let cgroup_namespace = namespaces.is_private(Ns::Cgroup);
    let context = Context {
        rootfs: record.rootfs.clone(),
        bundle: record.bundle.clone(),
        cgroup: cgroup_view(record, config, cgroup_namespace)?,
        mount_namespace: namespaces.is_private(Ns::Mount),
        user_namespace: namespaces.is_private(Ns::User),
        cgroup_namespace,
    };
    let Some(notify) = crate::notify::mount(entry) else { return Ok(Plan::new(&config.oci, &context)?) };
    let mut with_notify = config.oci.clone();
    with_notify.mounts_mut().get_or_insert_default().push(notify);
    Ok(Plan::new(&with_notify, &context)?)
}

/// What the container's cgroup mount shows, in the words of the crate that mounts it; nothing where there is no such mount.
fn cgroup_view(record: &Record, config: &Config, has_namespace: bool) -> Result<CgroupView> {
    let wanted = config
        .oci
        .mounts()
        .iter()
        .flatten()
        .any(|m| m.typ().as_deref().is_some_and(|t| t.starts_with("cgroup")));
    if !wanted {
        return Ok(CgroupView::None);
    }
    let layout = Layout::detect()?;
    let callers = record.cgroup.is_none().then(|| Cgroup::callers(&layout));
    let shown = callers.as_ref().unwrap_or(&record.cgroup);
    Ok(match shown.view(&layout, has_namespace) {
        View::V1 { mounts, links } => CgroupView::V1 {
            hierarchies: mounts
                .into_iter()
                .filter_map(|m| {
                    Some(Hierarchy {
                        host_path: shown.path(m.options.split(',').next()?)?.to_owned(),
                        name: m.name,
                    })
                })
                .collect(),
            links,
        },
        View::V2 { fallback, .. } => CgroupView::V2 { host_path: fallback },
    })
}
