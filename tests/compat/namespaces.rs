//! `linux.namespaces`, sysctls, masked paths, devices and what else `linux` holds.

use crate::differences::{
    CONFIG_FIRST, LATER_RUNC, NULL_OF_ITS_OWN, OWNER_AND_VERSION, ROOT_PROPAGATION, STRICTER,
};
use crate::engine::{Comparison, case};
use testkit::{Value, json};

pub(crate) fn cases() -> Vec<Comparison> {
    [namespaces(), sysctls(), paths(), devices()].into_iter().flatten().collect()
}

/// Removes a kind of namespace.
fn sharing(case: Comparison, kind: &'static str) -> Comparison {
    case.bundle(move |bundle| {
        bundle.edit(|config| {
            if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
                list.retain(|one| one["type"] != kind);
            }
        })
    })
}

fn namespaces() -> Vec<Comparison> {
    const MAP: fn() -> Value = || json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    vec![
        sharing(case("host_pid"), "pid").sh("test $$ -gt 2 && echo shared; set -- /proc/[0-9]*; test $# -gt 2 && echo many"),
        sharing(case("host_ipc"), "ipc").sh("readlink /proc/self/ns/ipc | wc -c"),
        sharing(case("host_uts"), "uts").without("", "hostname").sh("hostname"),
        sharing(case("host_uts_with_hostname"), "uts").sh("hostname"),
        sharing(case("host_mounts"), "mount").sh("echo ran"),
        sharing(case("host_network"), "network")
            .steps("! test \"$(readlink /proc/self/ns/net)\" && echo there")
            .sh("ls /sys/class/net | wc -l")
            .steps("run --bundle $B $I"),
        case("cgroup_namespace").push("/linux/namespaces", json!({"type": "cgroup"})).sh("cat /proc/self/cgroup").sorted(),
        case("new_namespaces_differ")
            .push("/linux/namespaces", json!({"type": "cgroup"}))
            .steps(
                "! for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done >$D/host
                 run --bundle $B $I",
            )
            .sh("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n | cut -d: -f1; done"),
        case("path_of_this_network").bundle(|b| b.namespace("network", "/proc/self/ns/net")).sh("ls /proc/self/ns | wc -l"),
        case("path_empty_is_new").bundle(|b| b.namespace("ipc", "")).sh("echo ran"),
        case("path_missing").bundle(|b| b.namespace("ipc", "/no/such/namespace")).intended(&CONFIG_FIRST),
        case("path_of_another_kind").bundle(|b| b.namespace("ipc", "/proc/self/ns/net")),
        case("path_relative").bundle(|b| b.namespace("ipc", "proc/self/ns/ipc")).intended(&CONFIG_FIRST),
        case("twice").push("/linux/namespaces", json!({"type": "pid"})),
        case("unknown").push("/linux/namespaces", json!({"type": "nonsense"})),
        case("user")
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", MAP())
            .set("/linux/gidMappings", MAP())
            .host("chmod 755 .")
            .sh("id -u; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Cap /proc/self/status"),
        case("user_without_mappings").push("/linux/namespaces", json!({"type": "user"})).intended(&CONFIG_FIRST),
        case("mappings_without_user").set("/linux/uidMappings", MAP()).intended(&LATER_RUNC),
        case("none_but_mount")
            .set("/linux/namespaces", json!([{"type": "mount"}]))
            .without("", "hostname")
            .sh("echo ran; test $$ -gt 2 && echo shared"),
    ]
}

fn sysctls() -> Vec<Comparison> {
    vec![
        case("sysctl_network")
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
            .sh("cat /proc/sys/net/ipv4/ip_forward"),
        case("sysctl_with_slashes")
            .set("/linux/sysctl", json!({"net/ipv4/ip_forward": "1"}))
            .sh("cat /proc/sys/net/ipv4/ip_forward"),
        case("sysctl_ipc")
            .set("/linux/sysctl", json!({"kernel.msgmax": "4096", "fs.mqueue.msg_max": "5"}))
            .sh("cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max"),
        case("sysctl_domainname")
            .set("/linux/sysctl", json!({"kernel.domainname": "example"}))
            .sh("cat /proc/sys/kernel/domainname"),
        case("sysctl_hostname")
            .set("/linux/sysctl", json!({"kernel.hostname": "other"}))
            .intended(&CONFIG_FIRST),
        case("sysctl_of_the_machine").set("/linux/sysctl", json!({"kernel.panic": "1"})),
        case("sysctl_unknown").set("/linux/sysctl", json!({"net.ipv4.nonsense": "1"})),
        case("sysctl_bad_value").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "nonsense"})),
        sharing(case("sysctl_of_a_shared_network").intended(&CONFIG_FIRST), "network")
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})),
        sharing(case("sysctl_of_a_shared_ipc").intended(&CONFIG_FIRST), "ipc")
            .set("/linux/sysctl", json!({"kernel.msgmax": "4096"})),
    ]
}

fn paths() -> Vec<Comparison> {
    vec![
        case("masked_none")
            .set("/linux/maskedPaths", json!([]))
            .sh("test -s /proc/timer_list && echo seen; ls /proc/scsi | wc -l"),
        case("masked_file")
            .push("/linux/maskedPaths", json!("/etc/passwd"))
            .sh("wc -c </etc/passwd; stat -c %F /etc/passwd"),
        case("masked_directory").push("/linux/maskedPaths", json!("/etc")).sh("ls /etc; touch /etc/x"),
        case("masked_missing").push("/linux/maskedPaths", json!("/no/such")).sh("ls -d /no"),
        case("masked_relative").push("/linux/maskedPaths", json!("etc")).sh("ls /etc").intended(&STRICTER),
        case("read_only_file")
            .push("/linux/readonlyPaths", json!("/etc/passwd"))
            .sh("echo >/etc/passwd; touch /etc/x && echo y"),
        case("read_only_directory")
            .push("/linux/readonlyPaths", json!("/etc"))
            .sh("echo >/etc/passwd; touch /etc/x"),
        case("read_only_missing").push("/linux/readonlyPaths", json!("/no/such")).sh("echo ran"),
        case("read_only_none")
            .set("/linux/readonlyPaths", json!([]))
            .sh("grep -c '/proc/sys ' /proc/self/mountinfo"),
        case("propagation_slave")
            .set("/linux/rootfsPropagation", json!("slave"))
            .sh("grep ' / / ' /proc/self/mountinfo | cut -d' ' -f7"),
        case("propagation_private")
            .set("/linux/rootfsPropagation", json!("private"))
            .sh("grep -c -E 'shared:|master:' /proc/self/mountinfo"),
        case("propagation_shared")
            .set("/linux/rootfsPropagation", json!("shared"))
            .sh("grep -c shared: /proc/self/mountinfo")
            .intended(&ROOT_PROPAGATION),
        case("propagation_unbindable")
            .set("/linux/rootfsPropagation", json!("unbindable"))
            .sh("grep -c unbindable /proc/self/mountinfo")
            .intended(&ROOT_PROPAGATION),
        case("propagation_unknown").set("/linux/rootfsPropagation", json!("nonsense")).sh("echo ran"),
        case("annotations")
            .set("/annotations", json!({"a": "b", "c": ""}))
            .sh("sleep 1000")
            .steps(
                "run -d --bundle $B $I
             state $I",
            )
            .intended(&OWNER_AND_VERSION),
        case("unknown_fields")
            .set("/nonsense", json!({"x": 1}))
            .set("/linux/nonsense", json!(1))
            .set("/process/nonsense", json!([]))
            .sh("echo ran"),
        case("without_linux").without("", "linux").sh("echo ran"),
        case("personality_with_flags")
            .set("/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}))
            .sh("cat /proc/self/personality"),
        case("personality")
            .set("/linux/personality", json!({"domain": "LINUX32"}))
            .sh("uname -m")
            .intended(&LATER_RUNC),
    ]
}

fn devices() -> Vec<Comparison> {
    const LOOK: &str = "stat -c '%F %a %u %g %t %T' /dev/mine";
    let device = |change: fn(&mut Value)| {
        let mut device = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6});
        change(&mut device);
        device
    };
    vec![
        case("device").push("/linux/devices", device(|_| ())).sh(LOOK),
        case("device_without_mode").push("/linux/devices", device(|d| d["fileMode"] = Value::Null)).sh(LOOK),
        case("device_without_owner")
            .push(
                "/linux/devices",
                json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}),
            )
            .sh(LOOK),
        case("device_block").push("/linux/devices", device(|d| d["type"] = json!("b"))).sh(LOOK),
        case("device_unbuffered").push("/linux/devices", device(|d| d["type"] = json!("u"))).sh(LOOK),
        case("device_fifo")
            .push("/linux/devices", json!({"path": "/dev/mine", "type": "p", "fileMode": 0o600}))
            .sh(LOOK),
        case("device_below_a_new_directory")
            .push("/linux/devices", device(|d| d["path"] = json!("/dev/a/b")))
            .sh("stat -c '%F %a' /dev/a /dev/a/b"),
        case("device_outside_of_dev")
            .push("/linux/devices", device(|d| d["path"] = json!("/tmp/mine")))
            .sh("stat -c '%F %a %t %T' /tmp/mine"),
        case("device_in_place_of_a_default")
            .push("/linux/devices", device(|d| d["path"] = json!("/dev/null")))
            .sh("stat -c '%a %u %g' /dev/null")
            .intended(&NULL_OF_ITS_OWN),
        case("device_of_unknown_type").push("/linux/devices", device(|d| d["type"] = json!("x"))),
        case("device_twice")
            .push("/linux/devices", device(|_| ()))
            .push("/linux/devices", device(|_| ()))
            .sh(LOOK),
    ]
}
