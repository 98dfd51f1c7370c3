//! `--systemd-cgroup`, with a systemd of each case's own: on cgroup2 alone, and on v1 with cgroup2 beside it.

use std::fs;
use std::path::PathBuf;

use testkit::{
    Bundle, BundleBuilder, Case, Cmd, Container, Fallible, Layout, Outcome, Output, Runtime, Systemd, Test,
    both, comparing, json, needs, rt_only, wait_until,
};

use super::counter::{COUNTER, counts_on, is_unbroken, stands_still};
use super::{SLEEPER, one_line, same};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        both("life_v2", |test| life(test, Layout::V2)),
        both("life_hybrid", |test| life(test, Layout::Hybrid)).needs(needs::hybrid),
        both("paths", paths),
        both("bad_paths", bad_paths),
        both("limits_outlive_a_reload", limits_outlive_a_reload).needs(needs::hybrid),
        both("a_limit_of_one_process", a_limit_of_one_process).needs(needs::hybrid),
        both("a_slice_has_limits_of_its_own", a_slice_has_limits_of_its_own).needs(needs::hybrid),
        both("annotations_become_properties", annotations_become_properties),
        rt_only(
            "annotations_that_reach_too_far",
            "runc passes every property on",
            annotations_that_reach_too_far,
        ),
        rt_only(
            "a_failed_unit_gives_way",
            "runc 1.1.5 does not look whether it has failed",
            a_failed_unit_gives_way,
        ),
        rt_only("a_unit_of_somebody_else", "runc stops somebody else's unit", a_unit_of_somebody_else),
        rt_only("stopped_by_systemd", "runc 1.1.5 leaves the failed unit", stopped_by_systemd),
        rt_only("slice_as_container", "runc wants to put a process into a slice", slice_as_container),
        both("ownership", ownership),
        both("over_a_bus", over_a_bus).needs(needs::dbus_daemon).needs(needs::hybrid),
        rt_only("a_limit_of_cgroup2_alone", "runc names no controller", a_limit_of_cgroup2_alone)
            .needs(needs::hybrid)
            .needs(needs::hugetlb_on_v2),
        rt_only(
            "killed_while_it_is_made",
            "runc does not recover from SIGKILL everywhere",
            killed_while_it_is_made,
        ),
        rt_only("without_systemd", "runc has much to say", without_systemd).needs(needs::unshare),
        comparing("unit_as_runcs", |test| unit_as_runcs(test, Layout::V2)),
        comparing("unit_as_runcs_hybrid", |test| unit_as_runcs(test, Layout::Hybrid)).needs(needs::hybrid),
    ];
    let why = "runc 1.1 now and then leaves criu frozen";
    cases.push(rt_only("checkpoint_v2", why, |test| checkpoint(test, Layout::V2)).needs(needs::criu));
    let hybrid = rt_only("checkpoint_hybrid", why, |test| checkpoint(test, Layout::Hybrid));
    cases.push(hybrid.needs(needs::criu).needs(needs::hybrid));
    cases.into_iter().map(|case| case.needs(needs::systemd)).collect()
}

/// A case's machine with systemd, and what can be done on it.
struct Bed<'test> {
    test: &'test Test,
    systemd: Systemd,
}

impl<'test> Bed<'test> {
    fn new(test: &'test Test, layout: Layout) -> Fallible<Self> {
        Ok(Self { test, systemd: Systemd::boot(test, layout)? })
    }

    /// `run --detach` on another runtime's or this test's behalf.
    fn run(&self, test: &'test Test, bundle: &Bundle) -> Fallible<Container<'test>> {
        let container = test.container(bundle);
        self.start(&container)?.succeeds()?;
        Ok(container)
    }

    fn start(&self, container: &Container<'_>) -> Fallible<Cmd> {
        let command = ["--systemd-cgroup", "run", "--detach", "--bundle", container.bundle.directory()];
        Ok(container.test.quiet(&command).arg(&container.id).in_systemd(&self.systemd))
    }

    /// `run` in the foreground of what prints something.
    fn output(&self, bundle: &Bundle) -> Fallible<Output> {
        let container = self.test.container(bundle);
        let command = ["--systemd-cgroup", "run", "--bundle", bundle.directory(), &container.id];
        self.test.cmd(&command).in_systemd(&self.systemd).output()
    }

    fn cmd(&self, container: &Container<'_>, command: &str, flags: &[&str]) -> Cmd {
        container.cmd(command, flags).in_systemd(&self.systemd)
    }

    fn delete(&self, container: &Container<'_>) -> Outcome {
        self.cmd(container, "delete", &["--force"]).succeeds().map(drop)
    }

    /// The unit's state in systemd's words: `active running`, `inactive dead`.
    fn unit_state(&self, unit: &str) -> Fallible<String> {
        let states = [self.systemd.property(unit, "ActiveState")?, self.systemd.property(unit, "SubState")?];
        Ok(states.join(" "))
    }

    /// Checks that neither a unit nor a cgroup of the name is left.
    fn nothing_is_left_of(&self, unit: &str) -> Outcome {
        assert_eq!(self.unit_state(unit)?, "inactive dead");
        let places = ["unified", "memory", "freezer"].map(|name| self.cgroup(name, unit));
        let left: Vec<_> = places.iter().filter(|path| path.exists()).collect();
        assert!(left.is_empty(), "{left:?}");
        Ok(())
    }

    fn cgroup(&self, hierarchy: &str, unit: &str) -> PathBuf {
        self.systemd.cgroup(hierarchy, &format!("system.slice/{unit}"))
    }
}

/// A bundle that sees its cgroup as the host does.
fn plain(test: &Test) -> Fallible<BundleBuilder> {
    Ok(test.bundle()?.without_namespace("cgroup"))
}

/// A bundle whose unit is `rtt-NAME.scope`; and that name.
fn bundle(test: &Test, script: &str) -> Fallible<(BundleBuilder, String)> {
    let name = test.new_id();
    let path = json!(format!("system.slice:rtt:{name}"));
    let builder = plain(test)?.script(script).set("/linux/cgroupsPath", path);
    Ok((builder, format!("rtt-{name}.scope")))
}

fn life(test: &Test, layout: Layout) -> Outcome {
    let bed = Bed::new(test, layout)?;
    let (builder, unit) = bundle(test, COUNTER)?;
    let container = bed.run(test, &builder.build()?)?;
    let log = &container.bundle;
    counts_on(log, "/log", 3)?;
    assert_eq!(bed.unit_state(&unit)?, "active running");
    assert_eq!(bed.systemd.property(&unit, "ControlGroup")?, format!("/system.slice/{unit}"));
    assert_eq!(bed.systemd.property(&unit, "Delegate")?, "yes");
    // Whoever comes later is in it, too.
    let output = bed.cmd(&container, "exec", &[]).args(["cat", "/proc/self/cgroup"]).succeeds()?;
    let last = output.stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with(&unit), "{output}");
    bed.cmd(&container, "pause", &[]).succeeds()?;
    stands_still(log, "/log")?;
    bed.cmd(&container, "resume", &[]).succeeds()?;
    counts_on(log, "/log", 3)?;
    bed.cmd(&container, "kill", &[]).arg("KILL").succeeds()?;
    wait_until("its end", || {
        bed.cmd(&container, "state", &[]).output().is_ok_and(|output| output.stdout.contains("stopped"))
    })?;
    bed.cmd(&container, "delete", &[]).succeeds()?;
    bed.nothing_is_left_of(&unit)
}

fn paths(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let own = test.new_id();
    let slice = own.replace('-', "_");
    for (path, expected) in [
        (format!(":p:{own}"), format!("system.slice/p-{own}.scope")),
        (format!("-.slice:p:{own}"), format!("p-{own}.scope")),
        (format!("{slice}.slice::c"), format!("{slice}.slice/-c.scope")),
        (
            format!("{slice}-b-c.slice:p:x"),
            format!("{slice}.slice/{slice}-b.slice/{slice}-b-c.slice/p-x.scope"),
        ),
    ] {
        let bundle = plain(test)?.set("/linux/cgroupsPath", json!(path)).args(&["cat", "/proc/self/cgroup"]);
        let output = bed.output(&bundle.build()?)?;
        assert_eq!(
            output.stdout.lines().last(),
            Some(format!("0::/{expected}").as_str()),
            "{path}: {output}"
        );
    }
    let default = plain(test)?.args(&["cat", "/proc/self/cgroup"]).build()?;
    let output = bed.output(&default)?;
    let prefix = test.runtime().name();
    assert!(output.stdout.contains(&format!("0::/system.slice/{prefix}-")), "{output}");
    Ok(())
}

fn bad_paths(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let form =
        r#"expected cgroupspath to be of format "slice:prefix:name" for systemd cgroups, got "/a" instead"#;
    for (path, words) in [
        ("/a", form),
        ("a.slice:b", "expected cgroupspath"),
        ("a:b:c", "invalid slice name: a"),
        ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
        ("a.slice:b:../../x", "invalid unit name"),
    ] {
        let bundle = test.bundle()?.set("/linux/cgroupsPath", json!(path)).args(&["true"]).build()?;
        let output = bed.output(&bundle)?;
        assert_ne!(output.code, 0, "{path}: {output}");
        one_line(test, &output, &[words])?;
    }
    Ok(())
}

/// Limits of v1 that this machine has, natively too.
fn limited(builder: BundleBuilder) -> BundleBuilder {
    builder.set(
        "/linux/resources",
        json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 64 << 20, "reservation": 32 << 20},
            "pids": {"limit": 77},
            "cpu": {"shares": 512, "quota": 33_333, "period": 100_000},
        }),
    )
}

fn limits_outlive_a_reload(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::Hybrid)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    let container = bed.run(test, &limited(builder).build()?)?;
    for (name, value) in [
        ("MemoryLimit", "67108864"),
        ("TasksMax", "77"),
        ("CPUShares", "512"),
        ("CPUQuotaPerSecUSec", "340ms"),
        ("CPUQuotaPeriodUSec", "100ms"),
        ("DevicePolicy", "strict"),
    ] {
        assert_eq!(bed.systemd.property(&unit, name)?, value, "{name}");
    }
    let files = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("pids", "pids.max", "77"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ];
    let stand = || -> Outcome {
        for (hierarchy, file, value) in files {
            let path = bed.cgroup(hierarchy, &unit).join(file);
            assert_eq!(fs::read_to_string(&path)?.trim_end(), value, "{}", path.display());
        }
        let devices = fs::read_to_string(bed.cgroup("devices", &unit).join("devices.list"))?;
        assert!(devices.contains("c 1:3 rwm") && devices.contains("c 136:* rwm"), "{devices}");
        Ok(())
    };
    stand()?;
    let quota = bed.cgroup("cpu", &unit).join("cpu.cfs_quota_us");
    assert_eq!(fs::read_to_string(&quota)?, "33333\n");
    bed.systemd.systemctl(&["daemon-reload"]).succeeds()?;
    // Something for systemd to do about this unit.
    bed.systemd.systemctl(&["set-property", "--runtime", &unit, "IPAccounting=yes"]).succeeds()?;
    stand()?;
    assert_eq!(bed.unit_state(&unit)?, "active running");
    bed.delete(&container)?;
    bed.nothing_is_left_of(&unit)
}

/// The process that a scope starts with is the container's own: no other takes up the room.
fn a_limit_of_one_process(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::Hybrid)?;
    let (builder, unit) = bundle(test, "")?;
    let bundle =
        builder.args(&["cat", "/sys/fs/cgroup/pids/pids.max"]).set("/linux/resources/pids/limit", json!(1));
    let output = bed.output(&bundle.build()?)?;
    // runc's own process is made of several threads, which count until they are gone.
    if test.is_rt() {
        assert_eq!((output.code, output.stdout.as_str()), (0, "1\n"), "{output}");
    }
    bed.nothing_is_left_of(&unit)
}

fn a_slice_has_limits_of_its_own(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::Hybrid)?;
    let slice = format!("{}.slice", test.new_id().replace('-', "_"));
    let path = json!(format!("{slice}:p:c"));
    let start = |script: &str| -> Fallible<Output> {
        bed.output(&test.bundle()?.set("/linux/cgroupsPath", path.clone()).script(script).build()?)
    };
    let many = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all";
    assert!(start(many)?.stdout.contains("all"));
    bed.systemd.systemctl(&["start", &slice]).succeeds()?;
    bed.systemd.systemctl(&["set-property", "--runtime", &slice, "TasksMax=7"]).succeeds()?;
    let output = start(many)?;
    assert!(output.stderr.contains("fork"), "{output}");
    Ok(())
}

fn annotations_become_properties(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    let annotations = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.KillSignal": "int32 10",
        "org.systemd.property.After": "['basic.target']",
        "org.systemd.property.RuntimeMaxSec": "uint64 900",
        "org.example.other": "untouched",
    });
    let container = bed.run(test, &builder.set("/annotations", annotations).build()?)?;
    for (name, value) in [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
        ("KillSignal", "10"),
        ("RuntimeMaxUSec", "15min"),
    ] {
        assert_eq!(bed.systemd.property(&unit, name)?, value, "{name}");
    }
    assert!(bed.systemd.property(&unit, "After")?.contains("basic.target"));
    bed.delete(&container)
}

fn annotations_that_reach_too_far(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    for (name, value) in [
        ("SuccessAction", "'poweroff-force'"),
        ("Conflicts", "['init.scope']"),
        ("OnFailure", "['rescue.service']"),
        ("Slice", "'-.slice'"),
        ("DevicePolicy", "'auto'"),
        ("TimeoutStopUSec", "'soon'"),
    ] {
        let (builder, unit) = bundle(test, "true")?;
        let annotations = json!({format!("org.systemd.property.{name}"): value});
        let output = bed.output(&builder.set("/annotations", annotations).build()?)?;
        assert_ne!(output.code, 0, "{output}");
        one_line(test, &output, &[&format!("annotation org.systemd.property.{name}: ")])?;
        bed.nothing_is_left_of(&unit)?;
    }
    Ok(())
}

/// Of somebody who left a failed unit behind.
fn a_failed_unit_gives_way(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    let name = format!("--unit={unit}");
    let command = ["--quiet", "--scope", &name, "-p", "RuntimeMaxSec=1", "sleep", "1000"];
    Cmd::new("systemd-run").args(command).in_systemd(&bed.systemd).fails()?;
    wait_until("the unit to fail", || bed.unit_state(&unit).is_ok_and(|state| state == "failed failed"))?;
    let container = bed.run(test, &builder.build()?)?;
    assert_eq!(bed.unit_state(&unit)?, "active running");
    bed.delete(&container)?;
    bed.nothing_is_left_of(&unit)
}

fn a_unit_of_somebody_else(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let (builder, unit) = bundle(test, "true")?;
    let name = format!("--unit={unit}");
    let command = ["--quiet", "--scope", &name, "sleep", "1000"];
    let mut other = Cmd::new("systemd-run").args(command).in_systemd(&bed.systemd).spawn()?;
    wait_until("the unit", || bed.unit_state(&unit).is_ok_and(|state| state == "active running"))?;
    let bundle = builder.build()?;
    let output = bed.output(&bundle)?;
    one_line(test, &output, &["container's cgroup is not empty"])?;
    // In another slice its cgroup would be a new one, but there is one unit of a name.
    let path = json!(format!("other.slice:rtt:{}", unit["rtt-".len()..].trim_end_matches(".scope")));
    let bundle = test.bundle()?.set("/linux/cgroupsPath", path).args(&["true"]).build()?;
    let output = bed.output(&bundle)?;
    one_line(test, &output, &[&format!("unit {unit} exists already")])?;
    assert_eq!(bed.unit_state(&unit)?, "active running");
    assert!(other.is_running());
    Ok(())
}

fn stopped_by_systemd(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    // An init without handlers takes no SIGTERM.
    let timeout = json!({"org.systemd.property.TimeoutStopUSec": "uint64 300000"});
    let container = bed.run(test, &builder.set("/annotations", timeout).build()?)?;
    bed.systemd.systemctl(&["stop", &unit]).succeeds()?;
    let state = bed.cmd(&container, "state", &[]).succeeds()?;
    assert!(state.stdout.contains("stopped"), "{state}");
    bed.cmd(&container, "delete", &[]).succeeds()?;
    bed.nothing_is_left_of(&unit)
}

fn slice_as_container(test: &Test) -> Outcome {
    for layout in [Layout::V2, Layout::Hybrid] {
        if layout == Layout::Hybrid && needs::hybrid().is_err() {
            continue;
        }
        let bed = Bed::new(test, layout)?;
        let slice = format!("{}.slice", test.new_id().replace('-', "_"));
        let path = json!(format!("system.slice:p:{slice}"));
        let container =
            bed.run(test, &test.bundle()?.set("/linux/cgroupsPath", path).script(SLEEPER).build()?)?;
        assert_eq!(bed.unit_state(&slice)?, "active active");
        assert!(!fs::read_to_string(bed.systemd.cgroup("unified", &slice).join("cgroup.procs"))?.is_empty());
        bed.delete(&container)?;
        assert_eq!(bed.unit_state(&slice)?, "inactive dead");
    }
    Ok(())
}

/// A container with its own user and cgroup namespaces gets its cgroup to divide further; the limits stay root's.
fn ownership(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
    let (builder, unit) = bundle(test, SLEEPER)?;
    let builder = builder
        .push("/linux/namespaces", json!({"type": "user"}))
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .edit(|config| {
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if mount["destination"] == "/sys/fs/cgroup" {
                    mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
                }
            }
        });
    let bundle = builder.build()?;
    Cmd::new("chown").args(["-R", "200000:200000", &bundle.path("/")]).succeeds()?;
    let container = bed.run(test, &bundle)?;
    let place = bed.cgroup("unified", &unit);
    let owner = |file: &str| -> Fallible<u32> {
        Ok(std::os::unix::fs::MetadataExt::uid(&fs::metadata(place.join(file))?))
    };
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(owner(file)?, 200_000, "{file}");
    }
    assert_eq!((owner("cgroup.freeze")?, owner("cgroup.max.depth")?), (0, 0));
    let made = bed.cmd(&container, "exec", &[]).args(["mkdir", "/sys/fs/cgroup/mine"]);
    made.succeeds()?;
    bed.delete(&container)?;
    bed.nothing_is_left_of(&unit)
}

/// Whoever comes next stops the unit of a container that was never finished.
fn killed_while_it_is_made(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::V2)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]});
    let bundle = builder.push("/hooks/prestart", hook).build()?;
    let container = test.container(&bundle);
    bed.start(&container)?.fails()?;
    let state = bed.cmd(&container, "state", &[]).fails()?;
    one_line(test, &state, &["does not exist"])?;
    bed.nothing_is_left_of(&unit)
}

/// A dbus-daemon as the bus of the machine, which lets everybody do everything.
const BUS: &str = r#"
set -e
cat >/etc/bus.conf <<END
<busconfig>
  <type>system</type>
  <user>root</user>
  <listen>systemd:</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
END
cat >/etc/systemd/system/dbus.socket <<END
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
END
cat >/etc/systemd/system/dbus.service <<END
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
ExecStart=/usr/bin/dbus-daemon --config-file=/etc/bus.conf --nofork --nopidfile --systemd-activation
END
systemctl daemon-reload
systemctl start dbus.socket dbus.service
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.05; done
"#;

/// Where systemd's own socket is out of reach, as in a container that got the host's bus.
fn over_a_bus(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::Hybrid)?;
    Cmd::new("sh").args(["-c", BUS]).in_systemd(&bed.systemd).succeeds()?;
    let on_bus = |command: Cmd| {
        command.in_private_mounts("mount --bind /dev/null /run/systemd/private").in_systemd(&bed.systemd)
    };
    let (builder, unit) = bundle(test, SLEEPER)?;
    let container = test.container(&builder.set("/linux/resources/pids", json!({"limit": 22})).build()?);
    let run =
        ["--systemd-cgroup", "run", "--detach", "--bundle", container.bundle.directory(), &container.id];
    on_bus(test.quiet(&run)).succeeds()?;
    assert_eq!(bed.unit_state(&unit)?, "active running");
    assert_eq!(bed.systemd.property(&unit, "TasksMax")?, "22");
    on_bus(container.cmd("update", &["--pids-limit", "33"])).succeeds()?;
    assert_eq!(bed.systemd.property(&unit, "TasksMax")?, "33");
    on_bus(container.cmd("delete", &["--force"])).succeeds()?;
    bed.nothing_is_left_of(&unit)
}

/// systemd enables no controllers on cgroup2 beside v1, and what is below it is its own.
fn a_limit_of_cgroup2_alone(test: &Test) -> Outcome {
    let bed = Bed::new(test, Layout::Hybrid)?;
    let (builder, unit) = bundle(test, SLEEPER)?;
    let limits = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
    let container = test.container(&builder.set("/linux/resources/hugepageLimits", limits).build()?);
    let output = bed.start(&container)?.fails()?;
    one_line(test, &output, &["hugetlb", "not available"])?;
    bed.nothing_is_left_of(&unit)
}

fn without_systemd(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["true"]).build()?;
    let id = test.new_id();
    let command = test.cmd(&["--systemd-cgroup", "run", "--bundle", bundle.directory(), &id]);
    let output = command.in_private_mounts("mount -t tmpfs tmpfs /run").fails()?;
    one_line(test, &output, &["systemd: connect", "unix:path=/run/systemd/private", "no such file"])?;
    test.leaves_nothing()
}

fn checkpoint(test: &Test, layout: Layout) -> Outcome {
    let bed = Bed::new(test, layout)?;
    let (builder, unit) = bundle(test, COUNTER)?;
    let builder = builder.push("/linux/namespaces", json!({"type": "cgroup"}));
    let container = bed.run(test, &builder.build()?)?;
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..2 {
        let images = test.new_path("images");
        bed.cmd(&container, "checkpoint", &["--image-path", &images]).succeeds()?;
        stands_still(&container.bundle, "/log")?;
        bed.nothing_is_left_of(&unit)?;
        let command = ["--systemd-cgroup", "restore", "--detach", "--image-path", &images, "--bundle"];
        let restore = test.quiet(&command).args([container.bundle.directory(), &container.id]);
        restore.in_systemd(&bed.systemd).succeeds()?;
        counts_on(&container.bundle, "/log", 3)?;
        assert_eq!(bed.unit_state(&unit)?, "active running");
    }
    is_unbroken(&container.bundle, "/log")?;
    bed.delete(&container)?;
    bed.nothing_is_left_of(&unit)
}

/// The same bundle on both: the unit and the cgroup files in the same state.
fn unit_as_runcs(test: &Test, layout: Layout) -> Outcome {
    let bed = Bed::new(test, layout)?;
    let seen = |test: &Test| -> Fallible<String> {
        let (builder, unit) = bundle(test, SLEEPER)?;
        let builder = if layout == Layout::Hybrid { limited(builder) } else { builder };
        let annotations = json!({"org.systemd.property.TimeoutStopUSec": "uint64 7000000"});
        let container = test.container(&builder.set("/annotations", annotations).build()?);
        bed.start(&container)?.succeeds()?;
        let shown = bed.systemd.systemctl(&["show", &unit]).succeeds()?.stdout;
        let pid = bed.cmd(&container, "state", &[]).succeeds()?;
        assert!(pid.stdout.contains("running"), "{pid}");
        bed.delete(&container)?;
        Ok(comparable(&shown.replace(&unit, "UNIT").replace("char-136", "char-pts")))
    };
    let ours = seen(test)?;
    let theirs = test.with_runtime(Runtime::runc(), |runc| seen(runc))?;
    same("the unit", &ours, &theirs)
}

/// Without what is another each time: moments, ids, usage; and without the text that says whose unit it is.
fn comparable(shown: &str) -> String {
    const VARYING: [&str; 9] = [
        "Timestamp",
        "InvocationID",
        "Description",
        "Usage",
        "Current",
        "Available",
        "ControlGroupId",
        // runc sets the limits afterwards, each in a file of its own.
        "DropInPaths",
        "NeedDaemonReload",
    ];
    let mut lines: Vec<_> =
        shown.lines().filter(|line| !VARYING.iter().any(|word| line.contains(word))).collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}
