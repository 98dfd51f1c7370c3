#![allow(clippy::unwrap_used)]

use super::*;

fn unit(name: &str) -> Unit {
    Unit {
        name: name.into(),
        slice: "a.slice".into(),
        address: "unix:path=/run/systemd/private".into(),
        is_bus: false,
        is_users: false,
    }
}

fn text(properties: &[Property]) -> String {
    properties.iter().map(|property| format!("{} {:?}\n", property.name, property.value)).collect()
}

const HYBRID: &str = "\
    31 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
    33 1 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
    34 1 0:4 / /mnt/other rw - cgroup cgroup rw,name=other\n\
    35 1 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
const HYBRID_OWN: &str = "4:name=other:/\n3:name=systemd:/user.slice\n1:cpu,cpuacct:/\n0::/user.slice\n";

#[test]
fn a_unit_has_one_place_in_all_hierarchies_wherever_we_are() {
    let layout = Layout::parse(HYBRID, HYBRID_OWN).unwrap();
    let place = "/sys/fs/cgroup/{}/a.slice/x.scope";
    let expected = ["unified", "cpu,cpuacct", "cpu,cpuacct", "systemd"].map(|name| place.replace("{}", name));
    let found = directories(&layout, Path::new("/a.slice/x.scope"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["", "cpu", "cpuacct", "name=systemd"]);
    assert_eq!(found.values().map(|dir| dir.display().to_string()).collect::<Vec<_>>(), expected);
    // The root's ControlGroup is empty.
    assert_eq!(directories(&layout, Path::new("a.slice/x.scope")), found);
}

#[test]
fn a_user_has_a_place_of_his_own() {
    let layout = Layout::parse("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/x\n").unwrap();
    let own = Path::new("/user.slice/user-1000.slice/user@1000.service").join("user.slice/x.scope");
    let found = directories(&layout, &own);
    assert_eq!(found[UNIFIED], Path::new("/sys/fs/cgroup").join(own.strip_prefix("/").unwrap()));
    let mounts = "30 1 0:26 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let inside = Layout::parse(mounts, "0::/docker/c1/init.scope\n").unwrap();
    let found = directories(&inside, Path::new("/docker/c1/system.slice/x.scope"));
    assert_eq!(found[UNIFIED], Path::new("/sys/fs/cgroup/system.slice/x.scope"));
}

#[test]
fn where_systemd_is_looked_for() {
    let texts = |host: &Host| host.addresses().into_iter().map(|a| (a.text, a.is_bus)).collect::<Vec<_>>();
    assert_eq!(
        texts(&Host::System),
        [
            ("unix:path=/run/systemd/private".to_owned(), false),
            ("unix:path=/run/dbus/system_bus_socket".to_owned(), true)
        ]
    );
    let user =
        Host::User { runtime_dir: Some("/run/user/7".into()), session_bus: Some("unix:abstract=x".into()) };
    assert_eq!(
        texts(&user),
        [
            ("unix:path=/run/user/7/systemd/private".to_owned(), false),
            ("unix:abstract=x".to_owned(), true),
            ("unix:path=/run/user/7/bus".to_owned(), true)
        ]
    );
    let nowhere = Host::User { runtime_dir: None, session_bus: None };
    let layout = Layout::parse("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/x\n").unwrap();
    let error = Cgroup::locate_unit(&layout, None, "c", &nowhere).unwrap_err().to_string();
    assert!(error.contains("XDG_RUNTIME_DIR"), "{error}");
    let hybrid = Layout::parse(HYBRID, HYBRID_OWN).unwrap();
    let error = Cgroup::locate_unit(&hybrid, None, "c", &nowhere).unwrap_err().to_string();
    assert!(error.contains("cgroup v1"), "{error}");
}

#[test]
fn what_makes_a_unit_a_containers() {
    insta::assert_snapshot!(text(&unit("p-c.scope").own_properties(Version::V2)), @r#"
    Description Text("rt container p-c.scope")
    MemoryAccounting Bool(true)
    CPUAccounting Bool(true)
    IOAccounting Bool(true)
    TasksAccounting Bool(true)
    DefaultDependencies Bool(false)
    Slice Text("a.slice")
    Delegate Bool(true)
    "#);
    let slice = text(&unit("a-b.slice").own_properties(Version::V1));
    assert!(slice.contains("Wants") && !slice.contains("Delegate") && slice.contains("BlockIO"), "{slice}");
}

#[test]
fn devices_are_told_as_patterns() {
    let rules = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
        {"allow":true,"type":"b","minor":3,"access":"r"}]"#;
    let policy = Policy::new(&serde_json::from_str::<Vec<_>>(rules).unwrap()).unwrap();
    let (mode, entries) = policy.unit_entries();
    let entries: Vec<_> = entries.iter().map(|(device, access)| format!("{device} {access}")).collect();
    insta::assert_snapshot!(format!("{mode}\n{}", entries.join("\n")), @r"
    strict
    block-* m
    char-* m
    /dev/char/1:3 rwm
    /dev/char/1:5 rwm
    /dev/char/1:7 rwm
    /dev/char/1:8 rwm
    /dev/char/1:9 rwm
    /dev/char/5:0 rwm
    /dev/char/5:2 rwm
    /dev/char/10:200 rwm
    /dev/char/10:229 rw
    char-136 rwm
    ");
    let all =
        Policy::new(&serde_json::from_str::<Vec<_>>(r#"[{"allow":true,"access":"rwm"}]"#).unwrap()).unwrap();
    assert_eq!(all.unit_entries(), ("auto", vec![]));
    let told = text(&resource_properties(&[], Some(&all), Version::V2));
    assert_eq!(told, "DevicePolicy Text(\"auto\")\nDeviceAllow Array(\"(ss)\", [])\n");
    assert_eq!(resource_properties(&[], None, Version::V2), []);
}

#[test]
fn state_keeps_the_unit_and_an_older_state_has_none() {
    let paths: BTreeMap<_, _> =
        [(UNIFIED.to_owned(), PathBuf::from("/sys/fs/cgroup/a.slice/x.scope"))].into();
    let cgroup = Cgroup { paths: paths.clone(), unit: Some(unit("x.scope")) };
    let json = serde_json::to_string(&cgroup).unwrap();
    assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), cgroup);
    let plain = Cgroup { paths, unit: None };
    let json = serde_json::to_string(&plain).unwrap();
    assert_eq!(json, r#"{"":"/sys/fs/cgroup/a.slice/x.scope"}"#);
    assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), plain);
}
