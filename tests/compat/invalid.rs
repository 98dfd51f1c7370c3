//! A config.json that asks for nonsense: both refuse it, or neither does.

use crate::differences::{CONFIG_FIRST, KEYS_BY_CASE, LISTS_AS_OBJECTS, VERSION_CHECKED};
use crate::engine::{Comparison, case};
use testkit::{Value, json};

pub(crate) fn cases() -> Vec<Comparison> {
    let mut all: Vec<_> =
        wrong_types().into_iter().map(|(name, pointer, value)| case(name).set(pointer, value)).collect();
    all.extend([
        case("type_of_hooks").set("/hooks", json!([])).intended(&LISTS_AS_OBJECTS),
        case("range_of_oom_score_adj").set("/process/oomScoreAdj", json!(1001)).intended(&CONFIG_FIRST),
        case("version_2").set("/ociVersion", json!("2.0.0")).intended(&VERSION_CHECKED),
        case("version_missing").without("", "ociVersion").intended(&VERSION_CHECKED),
        case("version_nonsense").set("/ociVersion", json!("nonsense")).intended(&VERSION_CHECKED),
        case("version_1_0_0").set("/ociVersion", json!("1.0.0")),
        case("version_1_3_0").set("/ociVersion", json!("1.3.0")),
        case("version_with_suffix").set("/ociVersion", json!("1.0.2-dev")),
        case("process_missing").without("", "process"),
        case("root_missing").without("", "root"),
        case("root_path_missing").set("/root/path", json!("no-such")).intended(&CONFIG_FIRST),
        case("root_path_is_a_file").set("/root/path", json!("rootfs/etc/passwd")).intended(&CONFIG_FIRST),
        case("root_path_empty").set("/root/path", json!("")).intended(&CONFIG_FIRST),
        case("cwd_empty").set("/process/cwd", json!("")),
        case("cwd_relative").set("/process/cwd", json!("tmp")),
        case("cwd_is_a_file").set("/process/cwd", json!("/etc/passwd")),
        case("rlimit_unknown").set("/process/rlimits/0/type", json!("RLIMIT_NONSENSE")),
        case("rlimit_twice")
            .push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "hard": 5, "soft": 5}))
            .intended(&CONFIG_FIRST),
        case("null_everywhere")
            .set("/annotations", Value::Null)
            .set("/process/rlimits", Value::Null)
            .set("/process/capabilities/ambient", Value::Null)
            .set("/process/user/additionalGids", Value::Null)
            .set("/linux/seccomp", Value::Null)
            .set("/linux/resources/memory", Value::Null)
            .set("/linux/devices", Value::Null)
            .set("/linux/uidMappings", Value::Null)
            .set("/mounts/0/options", Value::Null)
            .set("/root/readonly", Value::Null)
            .sh("echo ran"),
        case("null_where_a_value_is_needed")
            .set("/process/user/uid", Value::Null)
            .set("/process/user/gid", Value::Null)
            .set("/process/noNewPrivileges", Value::Null)
            .set("/process/terminal", Value::Null)
            .set("/mounts/0/source", Value::Null)
            .sh("id -u; id -g"),
        case("null_user").set("/process/user", Value::Null).sh("id -u"),
        case("key_twice").text("{\"hostname\": \"first\", ", "{").sh("hostname"),
        case("key_in_capitals")
            .without("", "hostname")
            .text("{\"HostName\": \"capitals\", ", "{")
            .sh("hostname")
            .intended(&KEYS_BY_CASE),
        case("nothing_behind").text("", "nothing").sh("echo ran"),
        case("trailing_text").tail(" nonsense").sh("echo ran"),
        case("trailing_brace").tail("}").sh("echo ran"),
        case("bom").text("\u{feff}{", "{").sh("echo ran"),
        case("not_json").text("nonsense", "{"),
        case("empty").steps("! : >$B/config.json\nrun --bundle $B $I"),
        case("a_list").steps("! echo '[]' >$B/config.json\nrun --bundle $B $I"),
        case("no_file").steps("! rm $B/config.json\nrun --bundle $B $I").intended(&CONFIG_FIRST),
        case("a_directory").steps("! rm $B/config.json; mkdir $B/config.json\nrun --bundle $B $I"),
        case("no_bundle").steps("run --bundle $D/none $I"),
        case("bundle_is_a_file").steps("run --bundle $B/config.json $I"),
        case("console_size_without_terminal")
            .set("/process/consoleSize", json!({"height": 10, "width": 20}))
            .sh("echo ran"),
        case("terminal_detached_without_socket")
            .set("/process/terminal", json!(true))
            .steps("run -d --bundle $B $I\n?state $I"),
        case("socket_without_terminal").steps("run -d --console-socket $D/none --bundle $B $I\n?state $I"),
        case("socket_in_the_foreground")
            .set("/process/terminal", json!(true))
            .steps("run --console-socket $D/none --bundle $B $I"),
    ]);
    all
}

fn wrong_types() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("type_of_version", "/ociVersion", json!(1)),
        ("type_of_uid", "/process/user/uid", json!("zero")),
        ("type_of_uid_fraction", "/process/user/uid", json!(0.5)),
        ("range_of_uid", "/process/user/uid", json!(-1)),
        ("range_of_gid", "/process/user/gid", json!(4_294_967_296_u64)),
        ("type_of_groups", "/process/user/additionalGids", json!("5")),
        ("type_of_args", "/process/args", json!("sh")),
        ("type_of_env", "/process/env", json!({"A": "1"})),
        ("type_of_cwd", "/process/cwd", json!(7)),
        ("type_of_terminal", "/process/terminal", json!("yes")),
        ("type_of_capabilities", "/process/capabilities", json!(["CAP_KILL"])),
        ("type_of_rlimit", "/process/rlimits/0/hard", json!("many")),
        ("range_of_rlimit", "/process/rlimits/0/soft", json!(-1)),
        ("type_of_oom_score_adj", "/process/oomScoreAdj", json!("low")),
        ("type_of_root", "/root", json!("rootfs")),
        ("type_of_readonly", "/root/readonly", json!(1)),
        ("type_of_hostname", "/hostname", json!(["a"])),
        ("type_of_mounts", "/mounts", json!({})),
        ("type_of_mount", "/mounts/0", json!("/proc")),
        ("type_of_mount_options", "/mounts/0/options", json!("ro")),
        ("type_of_annotations", "/annotations", json!({"a": 1})),
        ("type_of_namespaces", "/linux/namespaces", json!({"type": "pid"})),
        ("type_of_sysctl", "/linux/sysctl", json!({"net.ipv4.ip_forward": 1})),
        ("type_of_memory_limit", "/linux/resources/memory", json!({"limit": "1M"})),
        ("type_of_cpu_shares", "/linux/resources/cpu", json!({"shares": -1})),
        (
            "type_of_devices",
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": "1", "minor": 3}]),
        ),
        ("type_of_masked_paths", "/linux/maskedPaths", json!("/proc/kcore")),
        ("type_of_cgroups_path", "/linux/cgroupsPath", json!(1)),
    ]
}
