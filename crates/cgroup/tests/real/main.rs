//! The drivers against the kernel: as root, on this machine's own layout, and on cgroup2 alone in a private mount view.
//!
//! Without the usual harness, because fork wants one thread. Each case makes cgroups of its own name and removes them.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod fixture;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Error, Layout, State};
use fixture::{Fixture, locate, raw, resources, wait_until};
use rustix::process::Pid;
use spec::oci::LinuxResources;
use sys::process::{Exit, Forked, Namespaces, exit_now, fork, wait};

/// Set in the second run of this binary, where cgroup2 is alone.
const V2_RUN: &str = "RT_CGROUP_TEST_V2";
/// How to get there without touching what the machine has mounted.
const V2_VIEW: &str =
    "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$0\" --in-v2-view";

type Case = (&'static str, fn());

const EVERYWHERE: &[Case] = &[
    ("a life from create to remove", lifecycle),
    ("add moves a process that runs elsewhere", add_by_pid),
    ("a denied device fails and an allowed one opens", devices_bite),
    ("devices can be changed while it runs", devices_change),
    ("a change of devices shows no moment in between", devices_change_at_once),
    ("frozen processes can be killed", kill_frozen),
    ("nested cgroups are counted, killed and removed", nested),
    ("remove waits for processes that are dying", remove_right_after_kill),
    ("remove gives up on processes that live", remove_busy),
    ("an undone create leaves nothing", undo),
    ("an unused cgroup that is there already is taken", existing),
    ("a gone cgroup is no error where none is needed", gone),
];
const V1_ONLY: &[Case] = &[
    ("limits stand in the files", v1_limits),
    ("pids.max stops a fork", v1_pids),
    ("a missing controller and a wrong value are named", v1_errors),
    ("an update that fails leaves what was", v1_update_is_undone),
    ("memory below its use is refused", v1_memory_in_use),
    ("cgroup2 limits what v1 has no controller for", hybrid_hugetlb),
];
const V2_ONLY: &[Case] = &[("limits and missing controllers", v2_limits)];

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP cgroup drivers: root is needed");
        return ExitCode::SUCCESS;
    }
    let is_v2 = Layout::detect().unwrap().is_v2();
    let _subtree = is_v2.then(Subtree::remember);
    for (name, case) in EVERYWHERE.iter().chain(if is_v2 { V2_ONLY } else { V1_ONLY }) {
        case();
        println!("ok {} {name}", if is_v2 { "v2" } else { "v1" });
    }
    if std::env::var_os(V2_RUN).is_some() || is_v2 {
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", V2_VIEW])
        .arg(own)
        .env(V2_RUN, "1")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("SKIP cgroup2 alone: unshare: {error}");
            ExitCode::SUCCESS
        }
    }
}

/// What the root of cgroup2 hands down. The hierarchy is the machine's, although the mount is ours: what `create` enables
/// goes off again.
struct Subtree(String);

const SUBTREE: &str = "/sys/fs/cgroup/cgroup.subtree_control";

impl Subtree {
    fn remember() -> Self {
        Self(fs::read_to_string(SUBTREE).unwrap())
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let enabled = fs::read_to_string(SUBTREE).unwrap_or_default();
        for name in enabled.split_whitespace().filter(|name| !self.0.contains(name)) {
            let _ = fs::write(SUBTREE, format!("-{name}"));
        }
    }
}

fn spin() -> i32 {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {}
    0
}

fn sleep() -> i32 {
    std::thread::sleep(Duration::from_secs(60));
    0
}

/// The time that a process was on a processor, in ns.
fn on_cpu(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn lifecycle() {
    let mut fixture = Fixture::new("life");
    fixture.cgroup.apply(&LinuxResources::default()).unwrap();
    let pid = fixture.run(spin);
    let name = format!("rt-test-{}-life", std::process::id());
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let known = |line: &&str| fixture.cgroup.path(line.split(':').nth(1).unwrap()).is_some();
    assert!(lines.lines().filter(known).all(|line| line.ends_with(&name)), "{lines}");
    assert!(matches!(fixture.cgroup.create(), Err(Error::NotEmpty { count: 1, .. })));

    assert_eq!(fixture.cgroup.state().unwrap(), State::Thawed);
    fixture.cgroup.thaw().unwrap();
    let started = Instant::now();
    fixture.cgroup.freeze().unwrap();
    println!("   frozen in {:?}", started.elapsed());
    assert_eq!(fixture.cgroup.state().unwrap(), State::Frozen);
    assert!(fixture.cgroup.is_frozen().unwrap());
    let before = on_cpu(pid);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(on_cpu(pid), before);
    fixture.cgroup.freeze().unwrap();
    fixture.cgroup.thaw().unwrap();
    assert!(!fixture.cgroup.is_frozen().unwrap());
    wait_until("it runs again", || on_cpu(pid) > before);

    fixture.cgroup.kill_all().unwrap();
    fixture.reap();
    let started = Instant::now();
    fixture.cgroup.remove().unwrap();
    println!("   removed in {:?}", started.elapsed());
    assert!(!fixture.cgroup.exists());
    assert!(fixture.dirs().iter().all(|dir| !dir.exists()));
    fixture.cgroup.remove().unwrap();
}

fn add_by_pid() {
    let mut fixture = Fixture::new("add");
    let Forked::Parent(child) = fork(Namespaces(0), None).unwrap() else { exit_now(sleep()) };
    let pid = raw(child.pid);
    fixture.children.push(child);
    fixture.cgroup.add(pid).unwrap();
    assert_eq!(fixture.cgroup.processes().unwrap(), [pid]);
}

fn open_code(path: &str) -> i32 {
    match fs::File::open(path) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap(),
    }
}

const EPERM: i32 = 1;

fn devices_bite() {
    let fixture = Fixture::new("dev");
    assert_eq!(fixture.result(|| open_code("/dev/kmsg")), 0, "before there is a policy");
    fixture.cgroup.apply(&resources(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#)).unwrap();
    assert_eq!(fixture.result(|| open_code("/dev/null")), 0);
    assert_eq!(fixture.result(|| open_code("/dev/urandom")), 0);
    assert_eq!(fixture.result(|| open_code("/dev/kmsg")), EPERM);
}

fn devices_change() {
    let fixture = Fixture::new("devchange");
    let change = |fixture: &Fixture, json| {
        fixture.cgroup.update(&resources(json)).unwrap();
    };
    change(&fixture, r#"{"devices":[]}"#);
    assert_eq!(fixture.result(|| open_code("/dev/kmsg")), EPERM);
    change(&fixture, r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#);
    assert_eq!(fixture.result(|| open_code("/dev/kmsg")), 0);
    let write =
        || fs::File::options().write(true).open("/dev/kmsg").err().map_or(0, |e| e.raw_os_error().unwrap());
    assert_eq!(fixture.result(write), EPERM);
    change(
        &fixture,
        r#"{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"w"}]}"#,
    );
    assert_eq!(fixture.result(write), EPERM);
    assert_eq!(fixture.result(|| open_code("/dev/kmsg")), 0);
    change(&fixture, r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert_eq!(fixture.result(write), 0);
    if fixture.cgroup.is_v2() {
        let dir = fs::File::open(fixture.cgroup.path("").unwrap()).unwrap();
        assert!(sys::bpf::device_filters(&dir).unwrap().is_empty(), "allowing all needs no program");
    }
}

/// While the policy changes back and forth, a device that both allow opens every time, and one that neither allows never.
fn devices_change_at_once() {
    let fixture = Fixture::new("devatonce");
    let json = |device: &str| {
        format!(
            r#"{{"devices":[{{"allow":false,"access":"rwm"}},{{"allow":true,"type":"c","major":{device},"access":"rwm"}}]}}"#
        )
    };
    let (one, other) = (json("10,\"minor\":229"), json("10,\"minor\":237"));
    fixture.cgroup.apply(&resources(&one)).unwrap();
    let child = fixture.start(|| {
        let end = Instant::now() + Duration::from_millis(300);
        let mut code = 0;
        while Instant::now() < end && code == 0 {
            code = i32::from(open_code("/dev/null") != 0) + 2 * i32::from(open_code("/dev/kmsg") != EPERM);
        }
        code
    });
    let end = Instant::now() + Duration::from_millis(250);
    let mut changes = 0;
    while Instant::now() < end {
        for json in [&other, &one] {
            fixture.cgroup.update(&resources(json)).unwrap();
            changes += 1;
        }
    }
    assert_eq!(wait(child.pid).unwrap(), Exit::Code(0), "after {changes} changes");
    assert!(changes >= 10, "{changes}");
}

fn kill_frozen() {
    let mut fixture = Fixture::new("killfrozen");
    fixture.run(sleep);
    fixture.cgroup.freeze().unwrap();
    fixture.cgroup.kill_all().unwrap();
    let child = fixture.children.pop().unwrap();
    assert_eq!(wait(child.pid).unwrap(), Exit::Signal(9));
}

fn nested() {
    let mut fixture = Fixture::new("nested");
    let pid = fixture.run(sleep);
    let mut dirs = fixture.dirs();
    dirs.dedup();
    for dir in &dirs {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        if dir.starts_with("/sys/fs/cgroup/cpuset") {
            for (level, file) in
                [("a", "cpuset.cpus"), ("a", "cpuset.mems"), ("a/b", "cpuset.cpus"), ("a/b", "cpuset.mems")]
            {
                fs::write(dir.join(level).join(file), "0").unwrap();
            }
        }
        fs::write(dir.join("a/b/cgroup.procs"), raw(pid).to_string()).unwrap();
    }
    assert_eq!(fixture.cgroup.processes().unwrap(), [raw(pid)]);
    fixture.cgroup.freeze().unwrap();
    assert_eq!(fixture.cgroup.state().unwrap(), State::Frozen);
    fixture.cgroup.kill_all().unwrap();
    fixture.reap();
    fixture.cgroup.remove().unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
}

fn remove_right_after_kill() {
    let mut fixture = Fixture::new("dying");
    fixture.run(spin);
    fixture.cgroup.kill_all().unwrap();
    let started = Instant::now();
    fixture.cgroup.remove().unwrap();
    println!("   killed and removed in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_millis(500));
}

fn remove_busy() {
    let mut fixture = Fixture::new("busy");
    fixture.run(sleep);
    let started = Instant::now();
    let error = fixture.cgroup.remove().unwrap_err().to_string();
    assert!(error.contains("rmdir") && error.ends_with("device or resource busy"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

fn undo() {
    let layout = Layout::detect().unwrap();
    let path = format!("rt-test-{}-undo/x/y", std::process::id());
    let cgroup = Cgroup::locate(&layout, Some(Path::new(&path)), "unused").unwrap();
    let created = cgroup.create().unwrap();
    assert!(cgroup.exists());
    let top = created.dirs.clone();
    created.undo();
    assert!(!top.is_empty() && top.iter().all(|dir| !dir.exists()));
}

fn existing() {
    let fixture = Fixture::new("again");
    let again = fixture.cgroup.create().unwrap();
    assert!(again.dirs.is_empty());
    fixture.cgroup.freeze().unwrap();
    assert!(matches!(fixture.cgroup.create(), Err(Error::Frozen { .. })));
    fixture.cgroup.thaw().unwrap();
}

fn gone() {
    let cgroup = locate("never");
    assert!(!cgroup.exists());
    assert!(!cgroup.is_frozen().unwrap());
    assert!(cgroup.processes().unwrap().is_empty());
    cgroup.kill_all().unwrap();
    cgroup.remove().unwrap();
}

fn v1_limits() {
    let fixture = Fixture::new("limits");
    let set = |json| fixture.cgroup.apply(&resources(json)).unwrap();
    set(r#"{"cpu":{"shares":512,"period":50000,"quota":25000,"cpus":"0","mems":"0"},"pids":{"limit":77},
        "memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"swappiness":10}}"#);
    for (controller, file, expected) in [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_quota_us", "25000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "77"),
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "10"),
    ] {
        assert_eq!(fixture.text(controller, file), expected, "{file}");
    }
    // Memory and memory with swap bound each other: up, down, and away.
    for (json, limit, swap) in [
        (r#"{"memory":{"limit":268435456,"swap":536870912}}"#, "268435456", "536870912"),
        (r#"{"memory":{"limit":33554432,"swap":33554432}}"#, "33554432", "33554432"),
        (r#"{"memory":{"limit":-1}}"#, "9223372036854771712", "9223372036854771712"),
    ] {
        fixture.cgroup.update(&resources(json)).unwrap();
        assert_eq!(fixture.text("memory", "memory.limit_in_bytes"), limit);
        assert_eq!(fixture.text("memory", "memory.memsw.limit_in_bytes"), swap);
    }
    assert!(fixture.text("devices", "devices.list").starts_with("b *:* m\nc *:* m\nc 1:3 rwm\n"));
}

fn v1_pids() {
    let fixture = Fixture::new("pids");
    fixture.cgroup.apply(&resources(r#"{"pids":{"limit":1}}"#)).unwrap();
    let fork_once = || match fork(Namespaces(0), None) {
        Ok(Forked::Child) => exit_now(0),
        Ok(Forked::Parent(_)) => 0,
        Err(error) => error.errno,
    };
    const EAGAIN: i32 = 11;
    assert_eq!(fixture.result(fork_once), EAGAIN);
    fixture.cgroup.update(&resources(r#"{"pids":{"limit":0}}"#)).unwrap();
    assert_eq!(fixture.result(fork_once), 0);
}

fn v1_errors() {
    let fixture = Fixture::new("errors");
    let fail = |json| fixture.cgroup.apply(&resources(json)).unwrap_err().to_string();
    assert_eq!(
        fail(r#"{"rdma":{"mlx5_0":{"hcaHandles":1}}}"#),
        "cgroup rdma: controller is not available here, cannot set rdma.max to \"mlx5_0 hca_handle=1\""
    );
    let dir = fixture.cgroup.path("cpuset").unwrap().display();
    let error = fail(r#"{"cpu":{"mems":"7-5"}}"#);
    assert_eq!(error, format!("cgroup cpuset: write \"7-5\" to \"{dir}/cpuset.mems\": invalid argument"));
    let error = fail(r#"{"cpu":{"idle":7}}"#);
    assert!(error.starts_with("cgroup cpu: write \"7\" to "), "{error}");
}

fn v1_update_is_undone() {
    let fixture = Fixture::new("undone");
    let before = r#"{"cpu":{"shares":512,"period":50000,"quota":25000},"pids":{"limit":77},
        "memory":{"limit":67108864,"swap":67108864}}"#;
    fixture.cgroup.apply(&resources(before)).unwrap();
    let json = r#"{"cpu":{"shares":2048,"period":20000,"quota":5000},"pids":{"limit":5},
        "memory":{"limit":268435456,"swap":536870912},
        "blockIO":{"throttleReadBpsDevice":[{"major":4095,"minor":4095,"rate":7}]}}"#;
    let error = fixture.cgroup.update(&resources(json)).unwrap_err().to_string();
    assert!(error.contains("cgroup blkio: write") && error.contains("no such device"), "{error}");
    for (controller, file, expected) in [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_quota_us", "25000"),
        ("pids", "pids.max", "77"),
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "67108864"),
    ] {
        assert_eq!(fixture.text(controller, file), expected, "{file}");
    }
}

fn v1_memory_in_use() {
    let mut fixture = Fixture::new("inuse");
    fixture.run(|| {
        let memory = vec![1u8; 32 << 20];
        std::hint::black_box(&memory);
        sleep()
    });
    let used = || fixture.text("memory", "memory.usage_in_bytes").parse::<u64>().unwrap();
    wait_until("the memory is used", || used() > 30 << 20);
    let json = r#"{"memory":{"limit":1048576}}"#;
    let error = fixture.cgroup.update(&resources(json)).unwrap_err().to_string();
    assert!(
        error.starts_with("cgroup memory: unable to set memory limit to 1048576 (current usage: "),
        "{error}"
    );
}

fn hybrid_hugetlb() {
    let offered = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    if !offered.contains("hugetlb") || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        eprintln!("SKIP cgroup2 limits what v1 has no controller for: it has no hugetlb controller here");
        return;
    }
    let fixture = Fixture::new("hybrid");
    let set = |limit: u64| {
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":"2MB","limit":{limit}}}]}}"#);
        fixture.cgroup.update(&resources(&json)).unwrap();
        assert_eq!(fixture.text("", "hugetlb.2MB.max"), limit.to_string());
        assert_eq!(fixture.text("", "hugetlb.2MB.rsvd.max"), limit.to_string());
    };
    set(4 << 20);
    set(2 << 20);
}

fn v2_limits() {
    let fixture = Fixture::new("limits");
    let fail = |json| fixture.cgroup.apply(&resources(json)).unwrap_err().to_string();
    let available = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert_eq!(fixture.text("", "cgroup.controllers"), available.trim());
    if !available.contains("memory") {
        assert_eq!(
            fail(r#"{"memory":{"limit":1048576}}"#),
            "cgroup memory: controller is not available here, cannot set memory.max to \"1048576\""
        );
        fixture.cgroup.apply(&resources(r#"{"pids":{"limit":-1},"memory":{"limit":0}}"#)).unwrap();
    }
    assert!(
        fail(r#"{"unified":{"cgroup.nothing":"1"}}"#)
            .ends_with("cgroup.nothing\": no such file or directory")
    );
    fixture.cgroup.apply(&resources(r#"{"unified":{"cgroup.max.depth":"3"}}"#)).unwrap();
    assert_eq!(fixture.text("", "cgroup.max.depth"), "3");
    if available.contains("hugetlb") && fixture.cgroup.path("").unwrap().join("hugetlb.2MB.max").exists() {
        fixture
            .cgroup
            .apply(&resources(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#))
            .unwrap();
        assert_eq!(fixture.text("", "hugetlb.2MB.max"), "4194304");
        assert_eq!(fixture.text("", "hugetlb.2MB.rsvd.max"), "4194304");
    }
}
