use std::path::Path;

use serde_json::{Value, json};
use spec::oci;
use sys::mount::attr;

use super::*;
use crate::{ExternalKind, FsOption};

fn context() -> Context {
    let hierarchy = |name: &str| Hierarchy { name: name.into(), host_path: format!("/cg/{name}/c1").into() };
    Context {
        rootfs: "/bundle/rootfs".into(),
        bundle: "/bundle".into(),
        cgroup: CgroupView::V1 {
            hierarchies: vec![hierarchy("cpu,cpuacct"), hierarchy("systemd")],
            links: vec![("cpu".into(), "cpu,cpuacct".into())],
        },
        mount_namespace: true,
        user_namespace: false,
        cgroup_namespace: false,
    }
}

#[allow(clippy::needless_pass_by_value)] // reads better at the calls
fn config(mounts: Value) -> oci::Spec {
    let linux = json!({ "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/../proc/sys"] });
    let process = json!({ "user": { "uid": 0, "gid": 0 }, "args": ["sh"], "cwd": "/" });
    let root = json!({ "path": "rootfs", "readonly": true });
    let config =
        json!({ "ociVersion": "1.0.2", "process": process, "root": root, "mounts": mounts, "linux": linux });
    serde_json::from_value(config).unwrap()
}

fn plan(mounts: Value) -> Plan {
    Plan::new(&config(mounts), &context()).unwrap()
}

fn error(mounts: Value) -> String {
    Plan::new(&config(mounts), &context()).unwrap_err().to_string()
}

#[test]
fn a_source_that_an_earlier_mount_brings_is_looked_for_in_the_container() {
    let bind = |source: &str, to: &str| json!({ "destination": to, "source": source, "options": ["bind"] });
    let plan = plan(json!([
        bind("rootfs/mnt/early", "/early"),
        { "destination": "/mnt", "type": "tmpfs" },
        bind("rootfs/mnt/x", "/within"),
        bind("/bundle/rootfs/mnt", "/all"),
        bind("rootfs/mntx", "/beside"),
        bind("/mnt/x", "/host"),
    ]));
    let within = plan.mounts.iter().filter_map(|step| match &step.kind {
        Kind::Within(within) => Some((step.destination.to_str()?, within.source.to_str()?)),
        _ => None,
    });
    assert_eq!(within.collect::<Vec<_>>(), [("/within", "/mnt/x"), ("/all", "/mnt")]);
}

#[test]
fn the_frame() {
    let plan = plan(json!([]));
    assert_eq!(plan.propagation, (Propagation::Slave, Depth::Tree));
    assert_eq!(plan.readonly_paths, [PathBuf::from("/proc/sys")]);
    assert!(plan.readonly_root);
    assert_eq!(plan.umask, 0o022);
    let names: Vec<_> = plan.devices.iter().flatten().map(|node| node.path.to_str().unwrap()).collect();
    assert_eq!(names, ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]);
}

#[test]
fn a_tmpfs_stays_writable_until_the_end() {
    let plan = plan(json!([
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "ro", "mode=755"] },
        { "destination": "/run/", "type": "tmpfs", "source": "tmpfs" },
    ]));
    let dev = &plan.mounts[0];
    assert!(dev.late_readonly);
    assert_eq!(dev.attrs.set, attr::NOSUID);
    let Kind::Fs(fs) = &dev.kind else { panic!("{dev:?}") };
    assert_eq!(fs.options, [FsOption::Value("mode".into(), "755".into())]);
    assert!(!fs.inherit_mode);
    let Kind::Fs(run) = &plan.mounts[1].kind else { panic!() };
    assert!(run.inherit_mode);
    assert_eq!(plan.mounts[1].destination, PathBuf::from("/run"));
}

#[test]
fn of_two_mounts_at_one_place_the_upper_is_the_external() {
    let two = |upper: Value| {
        let lower = json!({ "destination": "/data", "source": "/lower", "options": ["bind"] });
        let externals = plan(json!([lower, upper])).externals();
        externals.into_iter().filter(|e| e.name == "/data").map(|e| e.source).collect::<Vec<_>>()
    };
    let upper = json!({ "destination": "/data/.", "source": "/upper", "options": ["bind"] });
    assert_eq!(two(upper), [PathBuf::from("/upper")]);
    assert!(two(json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs" })).is_empty());
}

#[test]
fn binds_and_their_externals() {
    let plan = plan(json!([
        { "destination": "/etc/./hosts", "type": "bind", "source": "hosts", "options": ["bind", "ro"] },
        { "destination": "/data", "source": "/srv", "options": ["rbind", "rprivate"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] },
    ]));
    let externals: Vec<_> =
        plan.externals().into_iter().map(|e| (e.name, e.source.display().to_string(), e.kind)).collect();
    let expected = [
        ("/etc/hosts", "/bundle/hosts", ExternalKind::Bind),
        ("/data", "/srv", ExternalKind::Bind),
        ("/sys/fs/cgroup/cpu,cpuacct", "/cg/cpu,cpuacct/c1", ExternalKind::CgroupV1),
        ("/sys/fs/cgroup/systemd", "/cg/systemd/c1", ExternalKind::CgroupV1),
        ("/dev/null", "/dev/null", ExternalKind::MaskedFile),
    ];
    assert_eq!(externals, expected.map(|(name, source, kind)| (name.into(), source.into(), kind)));
}

#[test]
fn cgroup2_is_bound_unless_the_container_has_a_namespace_for_it() {
    let mounts = json!([{ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"] }]);
    let view = CgroupView::V2 { host_path: "/cg/c1".into() };
    let bound = Plan::new(&config(mounts.clone()), &Context { cgroup: view.clone(), ..context() }).unwrap();
    assert!(matches!(&bound.mounts[0].kind, Kind::Bind(bind) if bind.source == Path::new("/cg/c1")));
    assert_eq!(bound.mounts[0].attrs.set & attr::RDONLY, attr::RDONLY);
    let own = Context { cgroup: view, cgroup_namespace: true, ..context() };
    let own = Plan::new(&config(mounts.clone()), &own).unwrap();
    assert!(matches!(&own.mounts[0].kind, Kind::Fs(fs) if fs.fstype == "cgroup2"));
    let none = Plan::new(&config(mounts), &Context { cgroup: CgroupView::None, ..context() }).unwrap();
    assert!(none.mounts.is_empty());
}

#[test]
fn a_bound_dev_is_left_alone() {
    let plan = plan(json!([{ "destination": "/dev/", "source": "/dev", "options": ["rbind"] }]));
    assert_eq!(plan.devices, None);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let cases = [
        (json!({ "destination": "/", "type": "tmpfs" }), "mounts[0].destination: "),
        (json!({ "destination": "/a/..", "type": "tmpfs" }), "mounts[0].destination: "),
        (json!({ "destination": "/a" }), "mounts[0].type: missing"),
        (json!({ "destination": "/a", "options": ["bind"] }), "mounts[0].source: "),
        (
            json!({ "destination": "/a", "source": "b", "options": ["bind", "size=1"] }),
            "mounts[0].options: bind mounts",
        ),
        (json!({ "destination": "/proc", "type": "tmpfs" }), "mounts[0].type: \"/proc\" cannot be mounted"),
        (
            json!({ "destination": "/a", "source": "b", "options": ["bind", "idmap"] }),
            "mounts[0].options: idmap",
        ),
        (
            json!({ "destination": "/a", "type": "tmpfs", "options": ["idmap"] }),
            "mounts[0].options: id-mapped mounts are only",
        ),
    ];
    for (mount, expected) in cases {
        let error = error(json!([mount]));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn labels_go_where_the_kernel_takes_them() {
    let mounts = json!([
        { "destination": "/proc", "type": "proc" }, { "destination": "/run", "type": "tmpfs" },
        { "destination": "/dev/mqueue", "type": "mqueue" },
    ]);
    let mut spec = config(mounts);
    spec.linux_mut().as_mut().unwrap().set_mount_label(Some("u:o:t:s0:c1,c2".into()));
    let plan = Plan::new(&spec, &context()).unwrap();
    let fs = |index: usize| match &plan.mounts[index].kind {
        Kind::Fs(fs) => (fs.options.clone(), fs.label.clone()),
        other => panic!("{other:?}"),
    };
    let label = "u:o:t:s0:c1,c2".to_owned();
    assert_eq!(fs(0), (vec![], None));
    assert_eq!(fs(1), (vec![FsOption::Value("context".into(), label.clone())], None));
    assert_eq!(fs(2), (vec![], Some(label)));
}
