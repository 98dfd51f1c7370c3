//! The plan of a file tree, which the effect puts into practice without a second thought.

use crate::{is_clean, one_line};
use rootfs::{CgroupView, Context, Hierarchy, Kind, MountStep, Plan};
use spec::oci;
use sys::mount::{AttrChange, attr};

/// Plans the file tree for each kind of container, and checks what the effect relies on.
pub(crate) fn check(spec: &oci::Spec) {
    for context in contexts() {
        match Plan::new(spec, &context) {
            Ok(plan) => planned(&plan),
            Err(error) => {
                let text = one_line(&error);
                assert!(text.starts_with("mounts[") || text.starts_with("linux."), "{text}");
            }
        }
    }
}

fn contexts() -> [Context; 3] {
    let hierarchy = Hierarchy { name: "cpu,cpuacct".into(), host_path: "/sys/fs/cgroup/cpu/id".into() };
    let links = vec![("cpu".into(), "cpu,cpuacct".into())];
    let context = |cgroup, private| Context {
        rootfs: "/bundle/rootfs".into(),
        bundle: "/bundle".into(),
        cgroup,
        mount_namespace: private,
        user_namespace: private,
        cgroup_namespace: private,
    };
    [
        context(CgroupView::None, true),
        context(CgroupView::V1 { hierarchies: vec![hierarchy], links }, false),
        context(CgroupView::V2 { host_path: "/sys/fs/cgroup/id".into() }, true),
    ]
}

fn planned(plan: &Plan) {
    plan.mounts.iter().for_each(step);
    for device in plan.devices.iter().flatten() {
        assert!(is_clean(&device.path) && device.path.parent().is_some(), "{device:?}");
        assert!(device.mode & !0o7777 == 0, "{device:?}");
    }
    assert!(plan.masked.iter().chain(&plan.readonly_paths).all(|path| is_clean(path)), "{plan:?}");
    assert!(plan.externals().iter().all(|external| external.source.is_absolute()), "{plan:?}");
}

fn step(step: &MountStep) {
    assert!(is_clean(&step.destination) && step.destination.parent().is_some(), "{step:?}");
    attributes(step.attrs);
    attributes(step.tree_attrs);
    match &step.kind {
        Kind::Bind(bind) => assert!(bind.source.is_absolute(), "{step:?}"),
        // CVE-2019-19921, CVE-2023-27561
        Kind::Fs(fs) if matches!(fs.fstype.as_str(), "proc" | "sysfs") => assert!(fs.real_directory),
        Kind::Within(within) => assert!(is_clean(&within.source), "{step:?}"),
        Kind::Fs(_) | Kind::CgroupV1(_) | Kind::Remount => {}
    }
}

/// mount_setattr(2): nothing is set and cleared at once, but the policy of access times, which is cleared whenever it is set.
pub(crate) fn attributes(change: AttrChange) {
    assert!(change.set & change.clear & !attr::ATIME_MASK == 0, "{change:?}");
    let cleared = change.clear & attr::ATIME_MASK;
    assert!(cleared == attr::ATIME_MASK || cleared == 0 && change.set & attr::ATIME_MASK == 0, "{change:?}");
}
