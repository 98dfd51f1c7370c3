//! `process`: who runs, where, with which rights and limits.

use crate::differences::{
    CALLERS_DESCRIPTORS, CAPABILITIES_BY_NAME, CONFIG_FIRST, EXIT_CODES, LARGE_IDS, LATER_RUNC, OTHER_WORDS,
    SIGNALS_AT_DEFAULT, STRICTER,
};
use crate::engine::{Comparison, case};
use testkit::json;

const STATUS: &str =
    "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Umask|Sig(Blk|Ign|Cgt)):' /proc/self/status";
const CAPS: &str = "grep Cap /proc/self/status";

pub(crate) fn cases() -> Vec<Comparison> {
    [users(), surroundings(), limits(), rights(), filters(), programs()].into_iter().flatten().collect()
}

fn users() -> Vec<Comparison> {
    vec![
        case("status").sh(STATUS).intended(&SIGNALS_AT_DEFAULT),
        case("uid").set("/process/user/uid", json!(1000)).sh(STATUS).intended(&SIGNALS_AT_DEFAULT),
        case("uid_of_31_bits").set("/process/user/uid", json!(2_147_483_647_u32)).sh("id -u"),
        case("uid_too_large")
            .set("/process/user/uid", json!(4_294_967_294_u32))
            .sh("id -u")
            .intended(&LARGE_IDS),
        case("gid").set("/process/user/gid", json!(1000)).sh("id -u; id -g; id -G"),
        case("groups")
            .set("/process/user/additionalGids", json!([5, 7, 9]))
            .sh("id -G; grep Groups /proc/self/status"),
        case("groups_twice_the_same")
            .set("/process/user/additionalGids", json!([5, 5, 0]))
            .sh("grep Groups /proc/self/status"),
        case("umask").set("/process/user/umask", json!(0o77)).sh("umask; touch /tmp/f; stat -c %a /tmp/f"),
        case("umask_zero").set("/process/user/umask", json!(0)).sh("umask"),
        case("username_is_ignored").set("/process/user/username", json!("nobody")).sh("id -u"),
        case("user_owns_its_stdio")
            .set("/process/user/uid", json!(12))
            .sh("stat -L -c '%u %g %F' /proc/self/fd/0; : <&0 && echo readable")
            .intended(&CALLERS_DESCRIPTORS),
    ]
}

fn surroundings() -> Vec<Comparison> {
    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nseven:x:7:7::/home/seven:/bin/sh\n";
    vec![
        case("home_of_root").sh("echo $HOME"),
        case("home_of_passwd").file("etc/passwd", PASSWD).set("/process/user/uid", json!(7)).sh("echo $HOME"),
        case("home_without_entry").set("/process/user/uid", json!(77)).sh("echo $HOME"),
        case("home_without_passwd")
            .host("rm etc/passwd")
            .set("/process/user/uid", json!(77))
            .sh("echo $HOME"),
        case("home_given").push("/process/env", json!("HOME=/given")).sh("echo $HOME"),
        case("home_given_empty").push("/process/env", json!("HOME=")).sh("echo \"<$HOME>\""),
        case("env").push("/process/env", json!("A=1")).push("/process/env", json!("B= x y ")).sh("env"),
        case("env_twice")
            .push("/process/env", json!("A=1"))
            .push("/process/env", json!("A=2"))
            .sh("env | grep ^A"),
        case("env_empty").set("/process/env", json!([])).set("/process/args", json!(["/bin/env"])),
        case("env_none").without("/process", "env").set("/process/args", json!(["/bin/env"])),
        case("env_without_sign").push("/process/env", json!("NOSIGN")).sh("env").intended(&CONFIG_FIRST),
        case("env_order")
            .set("/process/env", json!(["Z=1", "PATH=/bin", "A=2"]))
            .set("/process/args", json!(["/bin/env"])),
        case("cwd").set("/process/cwd", json!("/tmp")).sh("pwd; readlink /proc/self/cwd"),
        case("cwd_made").set("/process/cwd", json!("/made/here")).sh("pwd; stat -c '%a %u' /made /made/here"),
        case("cwd_with_dots").set("/process/cwd", json!("/tmp/../etc/.")).sh("pwd"),
        case("cwd_is_a_link").host("ln -s tmp link").set("/process/cwd", json!("/link")).sh("pwd -P"),
        case("cwd_of_a_user")
            .set("/process/cwd", json!("/proc"))
            .set("/process/user/uid", json!(3))
            .sh("pwd"),
        case("cwd_not_for_the_user")
            .host("mkdir -m 700 private")
            .set("/process/cwd", json!("/private"))
            .set("/process/user/uid", json!(3))
            .sh("pwd"),
        case("domainname")
            .set("/domainname", json!("example"))
            .sh("cat /proc/sys/kernel/domainname")
            .intended(&LATER_RUNC),
        case("hostname").set("/hostname", json!("a-name")).sh("hostname; cat /proc/sys/kernel/hostname"),
        case("hostname_none").without("", "hostname").sh("hostname | wc -l"),
    ]
}

fn limits() -> Vec<Comparison> {
    const LIMITS: &str = "cat /proc/self/limits";
    vec![
        case("rlimits_default").sh(LIMITS),
        case("rlimits_none").set("/process/rlimits", json!([])).sh("ulimit -c; ulimit -t"),
        case("rlimits_several")
            .set(
                "/process/rlimits",
                json!([{"type": "RLIMIT_CORE", "hard": 10, "soft": 5}, {"type": "RLIMIT_CPU", "hard": 100, "soft": 50},
                       {"type": "RLIMIT_STACK", "hard": 8_388_608, "soft": 4_194_304},
                       {"type": "RLIMIT_NPROC", "hard": 100, "soft": 100}]),
            )
            .sh(LIMITS),
        case("rlimits_every_kind")
            .set(
                "/process/rlimits",
                ["AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC",
                 "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"]
                .iter()
                .map(|kind| match *kind {
                    "NICE" | "RTPRIO" => json!({"type": format!("RLIMIT_{kind}"), "hard": 0, "soft": 0}),
                    "NOFILE" | "NPROC" | "SIGPENDING" => json!({"type": format!("RLIMIT_{kind}"), "hard": 64, "soft": 60}),
                    "MEMLOCK" | "MSGQUEUE" => json!({"type": format!("RLIMIT_{kind}"), "hard": 8192, "soft": 4096}),
                    _ => json!({"type": format!("RLIMIT_{kind}"), "hard": 4_294_967_296_u64, "soft": 2_147_483_648_u64}),
                })
                .collect(),
            )
            .sh(LIMITS),
        case("rlimit_infinite")
            .set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": u64::MAX, "soft": u64::MAX}]))
            .sh(LIMITS),
        case("rlimit_soft_above_hard")
            .set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}])).intended(&CONFIG_FIRST),
        case("oom_score_adj").set("/process/oomScoreAdj", json!(500)).sh("cat /proc/self/oom_score_adj"),
        case("oom_score_adj_zero").set("/process/oomScoreAdj", json!(0)).sh("cat /proc/self/oom_score_adj"),
        case("oom_score_adj_none").sh("cat /proc/self/oom_score_adj"),
    ]
}

fn rights() -> Vec<Comparison> {
    vec![
        case("capabilities").sh(CAPS),
        case("capabilities_none").without("/process", "capabilities").sh(CAPS),
        case("capabilities_empty").set("/process/capabilities", json!({})).sh(CAPS),
        case("capabilities_more").capability("CAP_CHOWN").capability("CAP_SYS_ADMIN").sh(CAPS),
        case("capabilities_inheritable")
            .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
            .sh(CAPS),
        case("capabilities_ambient")
            .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
            .set("/process/capabilities/ambient", json!(["CAP_KILL"]))
            .sh(CAPS),
        case("capabilities_ambient_of_a_user")
            .set("/process/user/uid", json!(5))
            .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
            .set("/process/capabilities/ambient", json!(["CAP_KILL"]))
            .sh(CAPS),
        case("capabilities_of_a_user").set("/process/user/uid", json!(5)).sh(CAPS),
        case("capabilities_effective_alone")
            .set("/process/capabilities", json!({"effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}))
            .sh(CAPS),
        case("capabilities_bounding_alone")
            .set("/process/capabilities", json!({"bounding": ["CAP_KILL"]}))
            .sh(CAPS),
        case("capability_unknown").push("/process/capabilities/bounding", json!("CAP_NO_SUCH")).sh(CAPS),
        case("capability_in_small_letters")
            .push("/process/capabilities/bounding", json!("cap_chown"))
            .push("/process/capabilities/permitted", json!("Chown"))
            .sh(CAPS)
            .intended(&CAPABILITIES_BY_NAME),
        case("no_new_privileges_off")
            .set("/process/noNewPrivileges", json!(false))
            .sh("grep NoNew /proc/self/status"),
        case("no_new_privileges_none")
            .without("/process", "noNewPrivileges")
            .sh("grep NoNew /proc/self/status"),
        case("apparmor_missing")
            .set("/process/apparmorProfile", json!("none-such"))
            .sh("echo ran")
            .intended(&OTHER_WORDS),
        case("selinux_missing")
            .set("/process/selinuxLabel", json!("a:b:c:d"))
            .sh("echo ran")
            .intended(&CONFIG_FIRST),
    ]
}

fn filters() -> Vec<Comparison> {
    let filter = |name, seccomp| {
        case(name).set("/linux/seccomp", seccomp).sh(
            "grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status; mkdir /tmp/d; echo $?; hostname x; echo $?",
        )
    };
    let forbidding = |action: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
               "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]})
    };
    vec![
        filter("seccomp_errno", forbidding("SCMP_ACT_ERRNO")),
        filter("seccomp_kill", forbidding("SCMP_ACT_KILL_PROCESS")),
        filter("seccomp_trap", forbidding("SCMP_ACT_TRAP")),
        filter(
            "seccomp_errno_given",
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                   "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}),
        ),
        filter(
            "seccomp_by_argument",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                   "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_EQ"}]}]}),
        ),
        filter("seccomp_unknown_action", forbidding("SCMP_ACT_NONSENSE")),
        filter(
            "seccomp_unknown_call",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["nonsense"], "action": "SCMP_ACT_ERRNO"}]}),
        ),
        filter("seccomp_default_none", json!({})).intended(&STRICTER),
    ]
}

fn programs() -> Vec<Comparison> {
    vec![
        case("program_status").sh("exit 42"),
        case("program_killed").sh("kill -9 $$"),
        case("program_by_path").set("/process/args", json!(["/bin/echo", "hello", "", "a b"])),
        case("program_in_path").set("/process/args", json!(["echo", "-n", "x"])),
        case("program_in_given_path")
            .host("mkdir here; ln -s ../bin/busybox here/tac")
            .set("/process/env", json!(["PATH=/nowhere:/here"]))
            .set("/process/args", json!(["tac", "/etc/group"])),
        case("program_missing").set("/process/args", json!(["no-such-program"])).intended(&EXIT_CODES),
        case("program_missing_by_path")
            .set("/process/args", json!(["/no/such/program"]))
            .intended(&EXIT_CODES),
        case("program_is_a_directory").set("/process/args", json!(["/etc"])).intended(&EXIT_CODES),
        case("program_not_executable").set("/process/args", json!(["/etc/passwd"])).intended(&EXIT_CODES),
        case("program_without_format")
            .host("printf '\\0\\0' >bin/nothing; chmod 755 bin/nothing")
            .set("/process/args", json!(["nothing"]))
            .intended(&EXIT_CODES),
        case("program_relative")
            .set("/process/args", json!(["./busybox", "echo", "x"]))
            .set("/process/cwd", json!("/bin")),
        case("program_is_a_script_without_interpreter")
            .host("printf '#!/no/such\\n' >bin/script; chmod 755 bin/script")
            .set("/process/args", json!(["script"]))
            .intended(&EXIT_CODES),
        case("args_none").without("/process", "args"),
        case("args_empty").set("/process/args", json!([])),
        case("args_first_empty").set("/process/args", json!([""])).intended(&CONFIG_FIRST),
        case("stdin_is_the_callers").sh("cat; echo end"),
        case("background_children_end").sh("sleep 100 & echo done"),
    ]
}
