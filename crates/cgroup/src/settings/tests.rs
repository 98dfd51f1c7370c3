#![allow(clippy::unwrap_used)]
use super::*;

fn list(json: &str, version: Version) -> std::result::Result<Vec<String>, String> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let settings = settings(&resources, version).map_err(|error| error.to_string())?;
    let text = |setting: &Setting| {
        let choices: Vec<_> =
            setting.choices.iter().map(|write| format!("{}={}", write.file, write.value)).collect();
        let mark = if setting.optional { "?" } else { "" };
        format!("{}{mark}", choices.join(" | "))
    };
    Ok(settings.iter().map(text).collect())
}

/// A row: resources, what v1 gets, what v2 gets.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const TABLE: &[Row] = &[
    ("{}", &[], &[]),
    // cpu
    (r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024"], &["cpu.weight=100"]),
    (r#"{"cpu":{"shares":2}}"#, &["cpu.shares=2"], &["cpu.weight=1"]),
    (r#"{"cpu":{"shares":262144}}"#, &["cpu.shares=262144"], &["cpu.weight=10000"]),
    (r#"{"cpu":{"shares":2000}}"#, &["cpu.shares=2000"], &["cpu.weight=170"]),
    (r#"{"cpu":{"shares":3}}"#, &["cpu.shares=3"], &["cpu.weight=2"]),
    (r#"{"cpu":{"shares":0}}"#, &[], &[]),
    (r#"{"cpu":{"quota":50000}}"#, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]),
    (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]),
    (r#"{"cpu":{"quota":0,"period":0}}"#, &[], &[]),
    (r#"{"cpu":{"period":20000}}"#, &["cpu.cfs_period_us=20000"], &["cpu.max=max 20000"]),
    (
        r#"{"cpu":{"quota":5000,"period":20000,"burst":1000}}"#,
        &["cpu.cfs_period_us=20000", "cpu.cfs_quota_us=5000", "cpu.cfs_burst_us=1000"],
        &["cpu.max=5000 20000", "cpu.max.burst=1000"],
    ),
    (r#"{"cpu":{"burst":0}}"#, &["cpu.cfs_burst_us=0"], &["cpu.max.burst=0"]),
    (r#"{"cpu":{"idle":1,"shares":100}}"#, &["cpu.idle=1"], &["cpu.idle=1"]),
    (
        r#"{"cpu":{"idle":0,"shares":100}}"#,
        &["cpu.idle=0", "cpu.shares=100"],
        &["cpu.idle=0", "cpu.weight=17"],
    ),
    (
        r#"{"cpu":{"realtimeRuntime":95000,"realtimePeriod":100000}}"#,
        &["cpu.rt_period_us=100000", "cpu.rt_runtime_us=95000"],
        &[],
    ),
    (
        r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
    ),
    (r#"{"cpu":{"cpus":"","mems":""}}"#, &[], &[]),
    // memory
    (r#"{"memory":{"limit":1048576}}"#, &["memory.limit_in_bytes=1048576"], &["memory.max=1048576"]),
    (
        r#"{"memory":{"limit":1048576,"swap":3145728}}"#,
        &["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=3145728"],
        &["memory.swap.max=2097152", "memory.max=1048576"],
    ),
    (
        r#"{"memory":{"limit":1048576,"swap":1048576}}"#,
        &["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=1048576"],
        &["memory.swap.max=0?", "memory.max=1048576"],
    ),
    (
        r#"{"memory":{"limit":1048576,"swap":-1}}"#,
        &["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.swap.max=max?", "memory.max=1048576"],
    ),
    (
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.swap.max=max?", "memory.max=max"],
    ),
    (
        r#"{"memory":{"limit":-1,"swap":4096}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=4096"],
        &["memory.swap.max=4096", "memory.max=max"],
    ),
    (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, &[], &[]),
    (r#"{"memory":{"reservation":4096}}"#, &["memory.soft_limit_in_bytes=4096"], &["memory.low=4096"]),
    (r#"{"memory":{"reservation":-1}}"#, &["memory.soft_limit_in_bytes=-1"], &["memory.low=max"]),
    (r#"{"memory":{"disableOOMKiller":true}}"#, &["memory.oom_control=1"], &[]),
    (r#"{"memory":{"disableOOMKiller":false}}"#, &[], &[]),
    (r#"{"memory":{"swappiness":0}}"#, &["memory.swappiness=0"], &[]),
    (r#"{"memory":{"swappiness":100}}"#, &["memory.swappiness=100"], &[]),
    (r#"{"memory":{"kernel":4096,"kernelTCP":4096,"useHierarchy":true}}"#, &[], &[]),
    // pids
    (r#"{"pids":{"limit":7}}"#, &["pids.max=7"], &["pids.max=7"]),
    (r#"{"pids":{"limit":0}}"#, &["pids.max=max?"], &["pids.max=max?"]),
    (r#"{"pids":{"limit":-1}}"#, &["pids.max=max?"], &["pids.max=max?"]),
    // block io
    (
        r#"{"blockIO":{"weight":500}}"#,
        &["blkio.weight=500 | blkio.bfq.weight=500"],
        &["io.bfq.weight=500 | io.weight=4950"],
    ),
    (r#"{"blockIO":{"weight":0,"leafWeight":300}}"#, &["blkio.leaf_weight=300"], &[]),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":600,"leafWeight":300}]}}"#,
        &[
            "blkio.weight_device=8:0 600 | blkio.bfq.weight_device=8:0 600",
            "blkio.leaf_weight_device=8:0 300",
        ],
        &["io.bfq.weight=8:0 600?"],
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":600}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
        &["blkio.throttle.read_bps_device=8:16 600", "blkio.throttle.write_iops_device=8:16 0"],
        &["io.max=8:16 rbps=600", "io.max=8:16 wiops=max"],
    ),
    (
        r#"{"blockIO":{"throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":5}],
            "throttleReadIOPSDevice":[{"major":8,"minor":16,"rate":6}]}}"#,
        &["blkio.throttle.write_bps_device=8:16 5", "blkio.throttle.read_iops_device=8:16 6"],
        &["io.max=8:16 wbps=5", "io.max=8:16 riops=6"],
    ),
    // the rest
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304?"],
        &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304?"],
    ),
    (
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}}"#,
        &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 500"],
        &[],
    ),
    (
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1}}}"#,
        &["rdma.max=mlx4_0 hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        &["rdma.max=mlx4_0 hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
    ),
    (r#"{"unified":{}}"#, &[], &[]),
];

#[test]
fn both_generations_get_what_runc_would_write() {
    for (json, v1, v2) in TABLE {
        assert_eq!(list(json, Version::V1).unwrap(), *v1, "v1: {json}");
        assert_eq!(list(json, Version::V2).unwrap(), *v2, "v2: {json}");
    }
}

#[test]
fn unified_is_verbatim_sorted_and_last() {
    let json = r#"{"unified":{"memory.high":"5","cpu.weight":"7"},"memory":{"limit":9}}"#;
    assert_eq!(list(json, Version::V2).unwrap(), ["memory.max=9", "cpu.weight=7", "memory.high=5"]);
}

#[test]
fn what_lies_beyond_the_ends_of_the_weights_is_taken_for_them() {
    for (shares, weight) in [(1, 1), (262_145, 10_000), (u64::MAX, 10_000)] {
        let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        assert_eq!(list(&json, Version::V2).unwrap(), [format!("cpu.weight={weight}")]);
    }
}

#[test]
fn a_unified_value_of_several_lines_is_several_writes() {
    let json = r#"{"unified":{"io.max":"8:0 rbps=1\n8:16 wbps=2\n","memory.high":""}}"#;
    assert_eq!(list(json, Version::V2).unwrap(), ["io.max=8:0 rbps=1", "io.max=8:16 wbps=2", "memory.high="]);
}

#[test]
fn on_a_hybrid_machine_cgroup2_has_what_v1_lacks() {
    let json = r#"{"pids":{"limit":7},"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"blockIO":{"weight":500}}"#;
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let files = |is_only_in_v2: fn(&str) -> bool| -> Vec<String> {
        let settings = hybrid(&resources, is_only_in_v2).unwrap();
        settings.iter().map(|s| format!("{:?} {}", s.version, s.choices[0].file)).collect()
    };
    assert_eq!(
        files(|_| false),
        [
            "V1 pids.max",
            "V1 blkio.weight",
            "V1 hugetlb.2MB.limit_in_bytes",
            "V1 hugetlb.2MB.rsvd.limit_in_bytes"
        ]
    );
    assert_eq!(
        files(|name| matches!(name, "hugetlb" | "io" | "blkio")),
        ["V1 pids.max", "V2 io.bfq.weight", "V2 hugetlb.2MB.max", "V2 hugetlb.2MB.rsvd.max"]
    );
}

#[test]
fn nonsense_is_refused_with_the_field() {
    for (json, version, expected) in [
        (
            r#"{"cpu":{"shares":1}}"#,
            Version::V1,
            "linux.resources.cpu.shares: the minimum allowed cpu-shares is 2",
        ),
        (
            r#"{"cpu":{"shares":262145}}"#,
            Version::V1,
            "linux.resources.cpu.shares: the maximum allowed cpu-shares is 262144",
        ),
        (
            r#"{"memory":{"swappiness":101}}"#,
            Version::V1,
            "linux.resources.memory.swappiness: invalid memory swappiness value 101: valid range is 0-100",
        ),
        (
            r#"{"memory":{"swap":5}}"#,
            Version::V2,
            "linux.resources.memory.swap: unable to set swap limit without memory limit",
        ),
        (
            r#"{"memory":{"limit":6,"swap":5}}"#,
            Version::V2,
            "linux.resources.memory.swap: memory+swap limit should be >= memory limit",
        ),
        (
            r#"{"blockIO":{"weight":5}}"#,
            Version::V2,
            "linux.resources.blockIO.weight: 5 is out of range, valid range is 10-1000",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
            Version::V1,
            "linux.resources.hugepageLimits[0].pageSize: \"../x\" is no page size",
        ),
        (
            r#"{"unified":{"memory.high":"5"}}"#,
            Version::V1,
            "linux.resources.unified: invalid configuration: cannot use unified on cgroup v1",
        ),
        (
            r#"{"unified":{"a/b.c":"5"}}"#,
            Version::V2,
            "linux.resources.unified[\"a/b.c\"]: must be a file name (no slashes)",
        ),
        (
            r#"{"unified":{"weird":"5"}}"#,
            Version::V2,
            "linux.resources.unified[\"weird\"]: must be in the form CONTROLLER.PARAMETER",
        ),
    ] {
        assert_eq!(list(json, version).unwrap_err(), expected, "{json}");
    }
}
