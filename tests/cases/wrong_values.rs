//! Every field of config.json of the wrong type or out of its range: the error names its JSON path, and nothing is left.

use testkit::{Bundle, Case, Fallible, Outcome, Test, Value, json, needs, rt_only};

const NO_PATHS: &str = "runc 1.1 names Go's types, or nothing";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        rt_only("types", NO_PATHS, |test| each_is_named(test, &types())),
        rt_only("ranges", NO_PATHS, |test| each_is_named(test, &ranges())),
        rt_only("of_linux", NO_PATHS, |test| each_is_named(test, &of_linux())),
        rt_only("of_resources", NO_PATHS, |test| each_is_named(test, &of_resources())),
        rt_only("of_too_few_shares", NO_PATHS, |test| each_is_named(test, &of_too_few_shares()))
            .needs(needs::cgroup_v1),
        rt_only("of_a_process_file", NO_PATHS, of_a_process_file),
    ]
}

/// Where the value is put (a JSON pointer), the value, and the path that the error must name.
type Wrong = (&'static str, Value, &'static str);

/// Runs the bundle with one value after the other.
fn each_is_named(test: &Test, table: &[Wrong]) -> Outcome {
    let bundle = test.bundle()?.script("true").build()?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(bundle.config())?)?;
    let mut unnamed = Vec::new();
    for (pointer, value, path) in table {
        let mut wrong = config.clone();
        put(&mut wrong, pointer, value.clone());
        if let Some(said) = unless_named(test, &bundle, &wrong, path)? {
            unnamed.push(format!("{pointer} = {value}: {said}"));
        }
    }
    if !unnamed.is_empty() {
        return Err(unnamed.join("\n").into());
    }
    test.leaves_nothing()
}

/// What was said instead, unless the one line on stderr names the path.
fn unless_named(test: &Test, bundle: &Bundle, config: &Value, path: &str) -> Fallible<Option<String>> {
    std::fs::write(bundle.config(), config.to_string())?;
    let output = test.container(bundle).run_foreground(&[]).output()?;
    let line = output.stderr.trim_end();
    let named = output.code != 0 && !line.contains('\n') && line.contains(&format!("{path}: "));
    Ok((!named).then(|| format!("status {}, {line}", output.code)))
}

/// Sets the value at a JSON pointer; what is missing on the way is made.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            _ => &mut place[key],
        };
    }
    *place = value;
}

fn types() -> Vec<Wrong> {
    vec![
        ("/ociVersion", json!(1), "ociVersion"),
        ("/root", json!("rootfs"), "root"),
        ("/root/path", json!(1), "root.path"),
        ("/root/readonly", json!("yes"), "root.readonly"),
        ("/hostname", json!([]), "hostname"),
        ("/domainname", json!({}), "domainname"),
        ("/annotations", json!([1]), "annotations"),
        ("/annotations", json!({"a": 1}), "annotations.a"),
        ("/hooks", json!("x"), "hooks"),
        ("/hooks", json!({"prestart": {}}), "hooks.prestart"),
        ("/hooks", json!({"poststop": [{"path": 1}]}), "hooks.poststop[0].path"),
        ("/hooks", json!({"poststart": [{"path": "/x", "env": "A"}]}), "hooks.poststart[0].env"),
        (
            "/hooks",
            json!({"createRuntime": [{"path": "/x", "timeout": "1s"}]}),
            "hooks.createRuntime[0].timeout",
        ),
        ("/mounts", json!({}), "mounts"),
        ("/mounts/0", json!("/proc"), "mounts[0]"),
        ("/mounts/1/destination", json!(3), "mounts[1].destination"),
        ("/mounts/1/options", json!("ro"), "mounts[1].options"),
        ("/mounts/1/options/0", json!(0), "mounts[1].options[0]"),
        ("/mounts/1/source", json!(false), "mounts[1].source"),
        ("/mounts/1/type", json!(1), "mounts[1].type"),
        ("/process", json!("sh"), "process"),
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args/0", json!(7), "process.args[0]"),
        ("/process/env", json!({}), "process.env"),
        ("/process/env/0", json!(1), "process.env[0]"),
        ("/process/cwd", json!(1), "process.cwd"),
        ("/process/terminal", json!("no"), "process.terminal"),
        ("/process/consoleSize", json!({"height": "x", "width": 1}), "process.consoleSize.height"),
        ("/process/user", json!("root"), "process.user"),
        ("/process/user/uid", json!("zero"), "process.user.uid"),
        ("/process/user/gid", json!(1.5), "process.user.gid"),
        ("/process/user/umask", json!("022"), "process.user.umask"),
        ("/process/user/additionalGids", json!([1, "2"]), "process.user.additionalGids[1]"),
        ("/process/capabilities", json!("all"), "process.capabilities"),
        ("/process/capabilities/bounding", json!("CAP_KILL"), "process.capabilities.bounding"),
        ("/process/rlimits", json!({}), "process.rlimits"),
        ("/process/rlimits/0/hard", json!("many"), "process.rlimits[0].hard"),
        ("/process/noNewPrivileges", json!(1), "process.noNewPrivileges"),
        ("/process/oomScoreAdj", json!("low"), "process.oomScoreAdj"),
        ("/process/apparmorProfile", json!(1), "process.apparmorProfile"),
        ("/linux", json!("x"), "linux"),
    ]
}

fn ranges() -> Vec<Wrong> {
    vec![
        ("/ociVersion", json!(""), "ociVersion"),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/root/path", json!(""), "root.path"),
        ("/root/path", json!("no-such"), "root.path"),
        ("/hostname", json!("x".repeat(65)), "hostname"),
        ("/hooks", json!({"prestart": [{"path": "x"}]}), "hooks.prestart[0].path"),
        ("/hooks", json!({"prestart": [{"path": "/x", "timeout": 0}]}), "hooks.prestart[0].timeout"),
        ("/mounts/1/destination", json!(""), "mounts[1].destination"),
        ("/mounts/1/destination", json!("/"), "mounts[1].destination"),
        ("/mounts/1/type", json!(""), "mounts[1].type"),
        ("/process/args", json!([]), "process.args"),
        ("/process/args", json!(["a\u{0}b"]), "process.args[0]"),
        ("/process/env/1", json!("NOSIGN"), "process.env[1]"),
        ("/process/env/1", json!("=x"), "process.env[1]"),
        ("/process/env/1", json!("A=\u{0}"), "process.env[1]"),
        ("/process/cwd", json!("tmp"), "process.cwd"),
        ("/process/cwd", json!(""), "process.cwd"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/user/uid", json!(u32::MAX), "process.user.uid"),
        ("/process/user/gid", json!(u32::MAX), "process.user.gid"),
        ("/process/user/gid", json!(1_u64 << 32), "process.user.gid"),
        ("/process/user/additionalGids", json!([1, u32::MAX]), "process.user.additionalGids[1]"),
        ("/process/rlimits/0/type", json!("RLIMIT_NOSUCH"), "process.rlimits[0].type"),
        ("/process/rlimits/0/soft", json!(-1), "process.rlimits[0].soft"),
        ("/process/rlimits/0/soft", json!(2048), "process.rlimits[0]"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/oomScoreAdj", json!(-1001), "process.oomScoreAdj"),
    ]
}

fn of_linux() -> Vec<Wrong> {
    let device = |key: &str, value: Value| {
        let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
        device[key] = value;
        json!([device])
    };
    vec![
        ("/linux/namespaces", json!({}), "linux.namespaces"),
        ("/linux/namespaces/0/type", json!(1), "linux.namespaces[0].type"),
        ("/linux/namespaces/0/type", json!("nosuch"), "linux.namespaces[0].type"),
        ("/linux/namespaces/1/type", json!("pid"), "linux.namespaces[1]"),
        ("/linux/namespaces/1/path", json!(1), "linux.namespaces[1].path"),
        ("/linux/namespaces/1/path", json!("x"), "linux.namespaces[1].path"),
        ("/linux/uidMappings", json!({}), "linux.uidMappings"),
        (
            "/linux/uidMappings",
            json!([{"containerID": "0", "hostID": 1, "size": 1}]),
            "linux.uidMappings[0].containerID",
        ),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]), "linux.uidMappings"),
        ("/linux/sysctl", json!([]), "linux.sysctl"),
        ("/linux/sysctl", json!({"kernel.panic": "1"}), "linux.sysctl[\"kernel.panic\"]"),
        ("/linux/sysctl", json!({"kernel.hostname": "x"}), "linux.sysctl[\"kernel.hostname\"]"),
        ("/linux/maskedPaths", json!("/proc"), "linux.maskedPaths"),
        ("/linux/maskedPaths", json!(["proc"]), "linux.maskedPaths"),
        ("/linux/readonlyPaths", json!([1]), "linux.readonlyPaths[0]"),
        ("/linux/readonlyPaths", json!(["x"]), "linux.readonlyPaths"),
        ("/linux/rootfsPropagation", json!(1), "linux.rootfsPropagation"),
        ("/linux/rootfsPropagation", json!("nosuch"), "linux.rootfsPropagation"),
        ("/linux/mountLabel", json!(1), "linux.mountLabel"),
        ("/linux/cgroupsPath", json!(1), "linux.cgroupsPath"),
        ("/linux/devices", json!({}), "linux.devices"),
        ("/linux/devices", device("type", json!("x")), "linux.devices[0].type"),
        ("/linux/devices", device("path", json!(1)), "linux.devices[0].path"),
        ("/linux/devices", device("major", json!("1")), "linux.devices[0].major"),
        ("/linux/devices", device("fileMode", json!("0666")), "linux.devices[0].fileMode"),
        ("/linux/devices", device("uid", json!(-1)), "linux.devices[0].uid"),
    ]
}

/// On v2 any number of them becomes some weight.
fn of_too_few_shares() -> Vec<Wrong> {
    vec![("/linux/resources/cpu", json!({"shares": 1}), "linux.resources.cpu.shares")]
}

fn of_resources() -> Vec<Wrong> {
    let of_device = |value: Value| json!([{"allow": false, "access": "rwm"}, value]);
    vec![
        ("/linux/resources", json!("x"), "linux.resources"),
        ("/linux/resources/memory", json!({"limit": "1M"}), "linux.resources.memory.limit"),
        ("/linux/resources/memory", json!({"swappiness": 101}), "linux.resources.memory.swappiness"),
        (
            "/linux/resources/memory",
            json!({"disableOOMKiller": "no"}),
            "linux.resources.memory.disableOOMKiller",
        ),
        ("/linux/resources/cpu", json!({"shares": -1}), "linux.resources.cpu.shares"),
        ("/linux/resources/cpu", json!({"quota": 0.5}), "linux.resources.cpu.quota"),
        ("/linux/resources/cpu", json!({"cpus": 0}), "linux.resources.cpu.cpus"),
        ("/linux/resources/pids", json!({"limit": "max"}), "linux.resources.pids.limit"),
        ("/linux/resources/blockIO", json!({"weight": 70000}), "linux.resources.blockIO.weight"),
        (
            "/linux/resources/blockIO",
            json!({"weightDevice": [{"major": "8", "minor": 0}]}),
            "linux.resources.blockIO.weightDevice[0].major",
        ),
        ("/linux/resources/hugepageLimits", json!({}), "linux.resources.hugepageLimits"),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": 2, "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        ("/linux/resources/network", json!({"classID": "1"}), "linux.resources.network.classID"),
        (
            "/linux/resources/network",
            json!({"priorities": [{"name": 1}]}),
            "linux.resources.network.priorities[0].name",
        ),
        ("/linux/resources/rdma", json!([]), "linux.resources.rdma"),
        ("/linux/resources/unified", json!({"memory.high": 1}), "linux.resources.unified.memory.high"),
        ("/linux/resources/devices", json!({}), "linux.resources.devices"),
        ("/linux/resources/devices", of_device(json!({"allow": "yes"})), "linux.resources.devices[1].allow"),
        (
            "/linux/resources/devices",
            of_device(json!({"allow": true, "type": "q"})),
            "linux.resources.devices[1].type",
        ),
        (
            "/linux/resources/devices",
            of_device(json!({"allow": true, "type": "c", "access": "x"})),
            "linux.resources.devices[1]",
        ),
    ]
}

fn of_a_process_file(test: &Test) -> Outcome {
    let container = test.run_script(super::SLEEPER)?;
    let file = test.new_path("process");
    for (key, value, path) in [
        ("args", json!([]), "process.args"),
        ("args", json!(["x", 1]), "args[1]"),
        ("cwd", json!("x"), "process.cwd"),
        ("user", json!({"uid": -1}), "user.uid"),
        ("user", json!({"uid": u32::MAX}), "process.user.uid"),
        ("env", json!(["A"]), "process.env[0]"),
    ] {
        let mut process = json!({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
        process[key] = value;
        std::fs::write(&file, process.to_string())?;
        let output = test.cmd(&["exec", "--process", &file, &container.id]).fails()?;
        super::one_line(test, &output, &[&format!("{path}: ")])?;
    }
    Ok(())
}
