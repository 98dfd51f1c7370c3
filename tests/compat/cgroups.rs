//! `linux.cgroupsPath` and `linux.resources`, as the container and the host see them.

use crate::differences::{BOTH_GENERATIONS, CGROUP_PATH, CONFIG_FIRST, DENIED_ON_PURPOSE, STRICTER};
use crate::engine::{Comparison, case};
use testkit::{json, needs};

pub(crate) fn cases() -> Vec<Comparison> {
    [paths(), values(), other_values(), devices()].into_iter().flatten().collect()
}

/// What stands in these files of the container's own cgroup.
fn reading(
    name: &'static str,
    resource: &'static str,
    value: testkit::Value,
    script: &'static str,
) -> Comparison {
    case(name)
        .needs(needs::cgroup_v1)
        .bundle(move |bundle| bundle.set(&format!("/linux/resources/{resource}"), value.clone()))
        .sh(script)
}

/// Both leave the directories above the container's.
const RUN_AND_SWEEP: &str =
    "run --bundle $B $I\n! find /sys/fs/cgroup -depth -name $I-a -exec rmdir '{}' + 2>/dev/null; true";

fn paths() -> Vec<Comparison> {
    vec![
        case("path_default").sh("cat /proc/self/cgroup").sorted(),
        case("path_absolute").sh("cat /proc/self/cgroup").sorted().cgroup("/$I-a"),
        case("path_nested").sh("cat /proc/self/cgroup").sorted().cgroup("/$I-a/b").steps(RUN_AND_SWEEP),
        case("path_relative").sh("cat /proc/self/cgroup").sorted().cgroup("$I-a/b").steps(RUN_AND_SWEEP),
        case("path_with_dots")
            .sh("cat /proc/self/cgroup")
            .sorted()
            .cgroup("/$I/../$I-x")
            .intended(&CGROUP_PATH),
        case("path_removed_with_the_container").cgroup("/$I-a/b").steps(
            "run --bundle $B $I
             ! ls -d /sys/fs/cgroup/pids/$I-a /sys/fs/cgroup/pids/$I-a/b 2>/dev/null
             ! find /sys/fs/cgroup -depth -name $I-a -exec rmdir '{}' + 2>/dev/null; true",
        ),
    ]
}

fn values() -> Vec<Comparison> {
    const CPU: &str = "cd /sys/fs/cgroup/cpu; cat cpu.shares cpu.cfs_period_us cpu.cfs_quota_us";
    const MEMORY: &str = "cd /sys/fs/cgroup/memory; cat memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes";
    vec![
        reading("memory_limit", "memory", json!({"limit": 67_108_864}), MEMORY),
        reading(
            "memory_reservation",
            "memory",
            json!({"limit": 67_108_864, "reservation": 33_554_432}),
            MEMORY,
        ),
        reading("memory_swap", "memory", json!({"limit": 67_108_864, "swap": 134_217_728}), MEMORY),
        reading("memory_swap_unlimited", "memory", json!({"limit": 67_108_864, "swap": -1}), MEMORY),
        reading("memory_swap_below_limit", "memory", json!({"limit": 67_108_864, "swap": 1024}), MEMORY),
        reading("memory_swap_without_limit", "memory", json!({"swap": 67_108_864}), MEMORY),
        reading("memory_unlimited", "memory", json!({"limit": -1}), MEMORY),
        reading(
            "memory_swappiness",
            "memory",
            json!({"swappiness": 10}),
            "cat /sys/fs/cgroup/memory/memory.swappiness",
        ),
        reading("memory_swappiness_too_large", "memory", json!({"swappiness": 101}), "echo ran")
            .intended(&CONFIG_FIRST),
        reading(
            "memory_no_oom_kill",
            "memory",
            json!({"disableOOMKiller": true}),
            "cat /sys/fs/cgroup/memory/memory.oom_control",
        ),
        reading("memory_too_small", "memory", json!({"limit": 4096}), "echo ran"),
        reading("cpu_shares", "cpu", json!({"shares": 512}), CPU),
        reading("cpu_shares_lowest", "cpu", json!({"shares": 1}), CPU).intended(&CONFIG_FIRST),
        reading("cpu_quota", "cpu", json!({"quota": 50_000, "period": 100_000}), CPU),
        reading("cpu_quota_alone", "cpu", json!({"quota": 50_000}), CPU),
        reading("cpu_period_alone", "cpu", json!({"period": 50_000}), CPU),
        reading("cpu_quota_none", "cpu", json!({"quota": -1, "period": 100_000}), CPU),
        reading("cpu_period_too_long", "cpu", json!({"quota": 50_000, "period": 2_000_000}), CPU),
        reading(
            "cpuset",
            "cpu",
            json!({"cpus": "0", "mems": "0"}),
            "cd /sys/fs/cgroup/cpuset; cat cpuset.cpus cpuset.mems",
        ),
        reading("cpuset_too_many", "cpu", json!({"cpus": "0-4000"}), "echo ran"),
        reading("cpuset_nonsense", "cpu", json!({"cpus": "nonsense"}), "echo ran"),
    ]
}

fn other_values() -> Vec<Comparison> {
    vec![
        reading("pids", "pids", json!({"limit": 17}), "cat /sys/fs/cgroup/pids/pids.max"),
        reading("pids_unlimited", "pids", json!({"limit": -1}), "cat /sys/fs/cgroup/pids/pids.max"),
        reading("pids_zero", "pids", json!({"limit": 0}), "cat /sys/fs/cgroup/pids/pids.max"),
        reading(
            "blkio_weight",
            "blockIO",
            json!({"weight": 300}),
            "cat /sys/fs/cgroup/blkio/blkio.weight /sys/fs/cgroup/blkio/blkio.bfq.weight",
        ),
        reading(
            "network_class",
            "network",
            json!({"classID": 1_048_577}),
            "cat /sys/fs/cgroup/net_cls/net_cls.classid",
        ),
        reading(
            "network_priorities",
            "network",
            json!({"priorities": [{"name": "lo", "priority": 3}]}),
            "cat /sys/fs/cgroup/net_prio/net_prio.ifpriomap",
        ),
        reading(
            "hugetlb",
            "hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 4_194_304}]),
            "cat /sys/fs/cgroup/unified/hugetlb.2MB.max /sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes",
        )
        .intended(&BOTH_GENERATIONS),
        reading(
            "hugetlb_nonsense",
            "hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 4_194_304}]),
            "echo ran",
        )
        .intended(&BOTH_GENERATIONS),
        reading("unified_on_v1", "unified", json!({"memory.high": "1000000"}), "echo ran")
            .intended(&CONFIG_FIRST),
    ]
}

fn devices() -> Vec<Comparison> {
    const RULES: &str = "cat /sys/fs/cgroup/devices/devices.list";
    let rules = |name, value| reading(name, "devices", value, RULES).sorted();
    vec![
        rules("devices_default", json!([{"allow": false, "access": "rwm"}])),
        rules("devices_all", json!([{"allow": true, "access": "rwm"}])),
        rules("devices_none_given", json!([])),
        rules("devices_one", json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}])),
        rules("devices_a_major", json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "access": "r"}])),
        rules("devices_taken_back", json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}])),
        rules("devices_denied_default", json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "rwm"}])).intended(&DENIED_ON_PURPOSE),
        rules("devices_bad_access", json!([{"allow": true, "type": "c", "access": "x"}])).intended(&STRICTER),
        rules("devices_bad_type", json!([{"allow": true, "type": "q", "access": "r"}])),
        case("devices_of_the_list")
            .push("/linux/devices", json!({"path": "/dev/mine", "type": "c", "major": 10, "minor": 229}))
            .needs(needs::cgroup_v1)
            .sh(RULES)
            .sorted(),
    ]
}
