//! What a program sees that looks around, in the bundle as `spec` writes it.

use crate::differences::{
    CALLERS_DESCRIPTORS, CGROUP_DIRECTORY, CGROUP_WRITE, MASKED_FILES, SIGNALS_AT_DEFAULT, SYSFS_PER_MOUNT,
};
use crate::engine::{Comparison, case};
use testkit::json;

pub(crate) fn cases() -> Vec<Comparison> {
    [kernel(), files(), processes()].into_iter().flatten().collect()
}

fn kernel() -> Vec<Comparison> {
    vec![
        case("status")
            .sh("grep -E '^(Uid|Gid|Groups|NStgid|NSpid|NSpgid|NSsid|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Umask|Sig...|\
                 Shd...|Speculation_Store_Bypass|Cpus_allowed|Mems_allowed|THP_enabled|CoreDumping|TracerPid|Threads):' \
                 /proc/1/status")
            .intended(&SIGNALS_AT_DEFAULT),
        case("limits").sh("cat /proc/1/limits"),
        case("scores_and_flags").sh(
            "cat /proc/1/oom_score_adj /proc/1/coredump_filter /proc/1/personality /proc/1/timerslack_ns /proc/1/loginuid",
        ),
        case("session_and_priorities").sh("cat /proc/1/stat | cut -d' ' -f2,4,5,6,7,8,18,19,41; echo $$ $PPID"),
        case("names").sh("hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/1/comm"),
        case("environment").sh("cat /proc/1/environ | tr '\\0' '\\n'; pwd; id; umask"),
        case("network").sh("ip addr | grep -v link/; ip route; ip link | wc -l"),
        case("cgroup").sh("cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/devices/devices.list").sorted(),
        case("cgroup_write").sh("touch /sys/fs/cgroup/x").intended(&CGROUP_WRITE),
        case("keyring").sh("cat /proc/keys | wc -l"),
        case("uptime_of_namespaces").sh("cat /proc/self/timens_offsets; ls /proc/self/ns"),
    ]
}

fn files() -> Vec<Comparison> {
    vec![
        case("mounts")
            .set("/root/readonly", json!(true))
            .sh("cat /proc/self/mountinfo")
            .mounts()
            .intended(&MASKED_FILES)
            .intended(&SYSFS_PER_MOUNT)
            .intended(&CGROUP_DIRECTORY),
        case("devices").sh(
            "cd /dev; for f in $(ls -A | sort); do stat -c '%n %F %a %u %g %t %T' $f; readlink $f; done; \
             stat -c '%n %a %u %g' /dev /dev/shm /dev/pts /dev/mqueue",
        ),
        case("devices_work").sh(
            "for f in null zero full random urandom tty; do head -c 1 /dev/$f >/dev/null 2>&1 </dev/null; echo $f $?; done; \
             echo x >/dev/full; : 3<>/dev/ptmx && echo opened; mknod /dev/shm/m b 8 0; echo $?",
        ),
        case("masked_and_read_only_paths").sh(
            "for p in acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi interrupts \
             sysrq-trigger bus fs irq sys/kernel/core_pattern sys/kernel/hostname; do p=/proc/$p; test -e $p || continue; \
             echo $p $(stat -c '%F %t,%T' $p) $(head -c 1 $p 2>&1 | wc -c) $(ls -A $p 2>/dev/null | wc -l); \
             test -d $p || { : 2>/dev/null >$p && echo writable; }; done; \
             for p in /sys/firmware /sys/devices/virtual/powercap; do echo $p $(ls -A $p 2>/dev/null | wc -l); done",
        ),
        case("root_read_only").set("/root/readonly", json!(true)).sh("touch /x; mkdir /tmp/y; touch /dev/z && echo dev"),
        case("root_writable").sh("touch /x && stat -c '%a %u %g' /x / /tmp"),
        case("parents_of_the_root").sh("ls -a / ; ls /.. | sort; cd /..; pwd"),
    ]
}

fn processes() -> Vec<Comparison> {
    vec![
        case("open_files").sh("ls /proc/1/fd /proc/self/fd"),
        case("flags_of_stdio")
            .sh("for n in 0 1 2; do grep flags /proc/1/fdinfo/$n; done")
            .intended(&CALLERS_DESCRIPTORS),
        case("capabilities_work").capability("CAP_NET_ADMIN").sh("ip link set lo mtu 9000; ip link | grep mtu"),
        case("capabilities_miss").sh("ip link set lo mtu 9000; mount -t tmpfs none /tmp; chown 5 /tmp; echo $?"),
        case("user_without_rights")
            .set("/process/user", json!({"uid": 1234, "gid": 5678, "additionalGids": [9, 10], "umask": 23}))
            .sh("grep -E '^(Uid|Gid|Groups|Cap...|Umask):' /proc/self/status; stat -c '%u %g' /proc/self/fd/1 /dev/pts; \
                 touch /x; kill -0 1; echo $?"),
        case("all_processes").sh("ps -o pid,comm"),
        case("exec")
            .sh("sleep 1000")
            .steps(
                "run -d --bundle $B $I
                 exec $I sh -c 'grep -E \"^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Umask|Sig(Blk|Ign|Cgt)):\" /proc/self/status'
                 exec $I cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup
                 exec $I env
                 exec $I sh -c 'pwd; ls /proc/self/fd'
                 exec $I ls -l /dev",
            )
            .intended(&SIGNALS_AT_DEFAULT),
    ]
}
