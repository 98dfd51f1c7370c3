//! The same bundle on rt and on runc: the program inside must not be able to tell which one started it.

use testkit::{Bundle, Case, Fallible, Outcome, Runtime, Test, needs, rt_only};

use super::same;

pub(crate) fn cases() -> Vec<Case> {
    [
        ("process_status", process_status as testkit::Body),
        ("limits", limits),
        ("mounts", mounts),
        ("devices", devices),
        ("masked_and_read_only_paths", masked_and_read_only_paths),
        ("identity", identity),
        ("cgroups", cgroups),
        ("open_files", open_files),
        ("network", network),
        ("keyring_and_oom", keyring_and_oom),
        ("exec_world", exec_world),
        ("more_capabilities", more_capabilities),
        ("user_without_rights", user_without_rights),
    ]
    .into_iter()
    .map(|(name, body)| rt_only(name, "it compares with runc", body).needs(needs::runc))
    .collect()
}

/// What `script` prints in the bundles that either runtime's `spec` writes must be the same on both.
fn alike(
    test: &Test,
    script: &str,
    change: impl Fn(testkit::BundleBuilder) -> testkit::BundleBuilder,
) -> Outcome {
    alike_after(test, script, change, normal_ids)
}

fn alike_after(
    test: &Test,
    script: &str,
    change: impl Fn(testkit::BundleBuilder) -> testkit::BundleBuilder,
    normal: fn(&str) -> String,
) -> Outcome {
    test.with_runtime(Runtime::runc(), |runc| {
        for (whose, writer) in [("rt", test), ("runc", runc)] {
            let builder = writer.bundle_as_written()?.set("/process/terminal", false.into()).script(script);
            let bundle = change(builder).build()?;
            let (ours, its) = (normal(&printed(test, &bundle)?), normal(&printed(runc, &bundle)?));
            same(&format!("the bundle of {whose}'s spec: rt (first) from runc (second)"), &ours, &its)?;
        }
        Ok(())
    })
}

fn printed(test: &Test, bundle: &Bundle) -> Fallible<String> {
    let output = test.container(bundle).run_foreground(&[]).output()?;
    Ok(format!("{}{}status {}\n", output.stdout, output.stderr, output.code))
}

/// Where rt differs on purpose: why, and how a line that shows it reads on both runtimes once that difference, and nothing
/// else, is taken out of it.
type Intended = (&'static str, fn(&str) -> Option<String>);

const INTENDED_MOUNTS: &[Intended] = &[
    (
        "masked directories are binds of one empty directory, where runc mounts a tmpfs each: a dump then has none to pack",
        |line| {
            let (root, rest) = line.split_once(' ')?;
            let (point, rest) = rest.split_once(' ')?;
            let ours =
                root.ends_with("/<ID>/empty") && rest.starts_with("ro,nosuid,nodev,noexec,relatime - ");
            let its = root == "/" && rest == "ro,relatime - tmpfs tmpfs ro";
            (ours || its).then(|| format!("nothing {point} ro"))
        },
    ),
    (
        "masked files are the host's /dev/null, where runc takes the container's: an image may have put another file there \
      (CVE-2025-31133)",
        |line| {
            let (root, rest) = line.split_once(' ')?;
            let (point, _) = rest.split_once(' ')?;
            (root.ends_with("/null") && point.starts_with("/proc/")).then(|| format!("null {point}"))
        },
    ),
    ("sysfs is read-only per mount, not also per super block", |line| {
        line.starts_with("/ /sys ro,").then(|| line.replace("- sysfs sysfs ro", "- sysfs sysfs rw"))
    }),
    (
        "the directory of the v1 hierarchies is read-only as the bundle asks, where runc leaves it writable",
        |line| {
            line.starts_with("/ /sys/fs/cgroup r")
                .then(|| line.replacen("/ /sys/fs/cgroup rw,", "/ /sys/fs/cgroup ro,", 1))
        },
    ),
];

const INTENDED_CGROUPS: &[Intended] =
    &[("the same directory: a write finds it read-only, where runc's lacks a capability", |line| {
        let known = ["Read-only file system", "Permission denied"];
        known
            .iter()
            .any(|end| line == format!("touch: /sys/fs/cgroup/x: {end}"))
            .then(|| "touch refused".to_owned())
    })];

const INTENDED_SIGNALS: &[Intended] = &[(
    "all signals are at their default; Go leaves 32 and 33, which libc hides, as the caller had them, \
     and glibc's posix_spawn has them ignored",
    |line| {
        let mask = u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()?;
        Some(format!("SigIgn:\t{:016x}", mask & !(3 << 31)))
    },
)];

const INTENDED_FILES: &[Intended] = &[(
    "without a terminal the program gets the caller's own descriptors, as crun does it, where runc copies \
     through pipes: the flags are those of the caller's files",
    |line| line.starts_with("flags").then(|| "flags".to_owned()),
)];

fn without(table: &[Intended], text: &str) -> String {
    let normal = |line: &str| table.iter().find_map(|(_, normal)| normal(line));
    text.lines().map(|line| normal(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Replaces the words that hold this case's ids.
fn normal_ids(text: &str) -> String {
    let tag = format!("rtt-{}-", std::process::id());
    text.lines()
        .map(|line| {
            let words = line.split('/').map(|part| if part.contains(&tag) { "<ID>" } else { part });
            words.collect::<Vec<_>>().join("/") + "\n"
        })
        .collect()
}

/// Of a mountinfo line, what does not change from run to run: the root within the filesystem, the mount point,
/// its options, whether it propagates, type and filesystem options.
///
/// Sorted, as the kernel lists mounts in the order in which they were made, and rt makes some of them before it puts any
/// in its place (`open_tree`); no two are on one mount point, so the order tells nothing else.
fn normal_mounts(text: &str) -> String {
    let normal = |line: &str| {
        let words = line.split(' ').skip(3);
        let words: Vec<_> = words.map(|word| word.split_once(':').map_or(word, |(kind, _)| kind)).collect();
        normal_ids(&words.join(" "))
    };
    let mut lines: Vec<_> = text.lines().map(normal).collect();
    lines.sort_unstable_by(|left, right| left.split(' ').nth(1).cmp(&right.split(' ').nth(1)));
    lines.concat()
}

fn unchanged(builder: testkit::BundleBuilder) -> testkit::BundleBuilder {
    builder
}

fn process_status(test: &Test) -> Outcome {
    let script = "grep -E '^(Uid|Gid|Groups|NStgid|NSpid|NSpgid|NSsid|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Umask|Sig...|Shd...|\
        Speculation_Store_Bypass|Cpus_allowed|Mems_allowed|THP_enabled|CoreDumping|TracerPid|Threads):' /proc/1/status";
    alike_after(test, script, unchanged, |text| without(INTENDED_SIGNALS, &normal_ids(text)))
}

fn limits(test: &Test) -> Outcome {
    alike(test, "cat /proc/1/limits", unchanged)
}

fn mounts(test: &Test) -> Outcome {
    alike_after(test, "cat /proc/self/mountinfo", unchanged, |text| {
        without(INTENDED_MOUNTS, &normal_mounts(text))
    })
}

fn devices(test: &Test) -> Outcome {
    let script = "cd /dev; for f in $(ls -A | sort); do stat -c '%n %F %a %u %g %t %T' $f; readlink $f; done; \
        stat -c '%n %a %u %g' /dev /dev/shm /dev/pts /dev/mqueue; for f in null zero full random urandom tty; do \
        head -c 1 /dev/$f >/dev/null 2>&1 </dev/null; echo $f $?; done; echo x >/dev/full; : 3<>/dev/ptmx && echo opened; mknod /dev/shm/m b 8 0; echo $?";
    alike(test, script, unchanged)
}

fn masked_and_read_only_paths(test: &Test) -> Outcome {
    let script = "for p in acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi interrupts \
        sysrq-trigger bus fs irq sys/kernel/core_pattern sys/kernel/hostname; do p=/proc/$p; test -e $p || continue; \
        echo $p $(stat -c '%F %t,%T' $p) $(head -c 1 $p 2>&1 | wc -c) $(ls -A $p 2>/dev/null | wc -l); \
        test -d $p || { : 2>/dev/null >$p && echo writable; }; done 2>&1; \
        for p in /sys/firmware /sys/devices/virtual/powercap; do echo $p $(ls -A $p 2>/dev/null | wc -l); done";
    alike(test, script, unchanged)
}

fn identity(test: &Test) -> Outcome {
    let script = "env | sort; pwd; id; cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/1/comm; umask; echo $$ $PPID; \
        cat /proc/1/stat | cut -d' ' -f2,4,5,6,7,8,18,19,41";
    alike(test, &format!("hostname | sed s/runc/NAME/ | sed s/^rt$/NAME/; {script}"), unchanged)
}

fn cgroups(test: &Test) -> Outcome {
    alike_after(
        test,
        "cat /proc/self/cgroup; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x; cat /sys/fs/cgroup/devices/devices.list | sort",
        unchanged,
        |text| without(INTENDED_CGROUPS, &normal_ids(text)),
    )
}

fn open_files(test: &Test) -> Outcome {
    alike_after(
        test,
        "ls /proc/1/fd /proc/self/fd; for n in 0 1 2; do grep flags /proc/1/fdinfo/$n; done",
        unchanged,
        |text| without(INTENDED_FILES, &normal_ids(text)),
    )
}

fn network(test: &Test) -> Outcome {
    alike(test, "ip addr | grep -v link/; ip route; ip link | wc -l", unchanged)
}

fn keyring_and_oom(test: &Test) -> Outcome {
    alike(
        test,
        "cat /proc/1/oom_score_adj /proc/1/coredump_filter /proc/1/personality /proc/1/timerslack_ns /proc/1/loginuid",
        unchanged,
    )
}

fn exec_world(test: &Test) -> Outcome {
    let script = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Umask|Sig(Blk|Ign|Cgt)):' /proc/self/status; \
        cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup; env | sort; pwd; ls /proc/self/fd";
    test.with_runtime(Runtime::runc(), |runc| {
        let bundle = runc.bundle()?.script(super::SLEEPER).build()?;
        let run = |test: &Test| -> Fallible<String> {
            let container = test.container(&bundle);
            container.run(&[])?;
            let output = container.exec(&[], &["sh", "-c", script]).output()?;
            Ok(without(INTENDED_SIGNALS, &normal_ids(&output.stdout)))
        };
        same("exec: rt (first) from runc (second)", &run(test)?, &run(runc)?)
    })
}

fn more_capabilities(test: &Test) -> Outcome {
    alike(test, "grep Cap /proc/self/status; ip link set lo mtu 9000; ip link | grep mtu", |bundle| {
        bundle.capability("CAP_NET_ADMIN").capability("CAP_CHOWN").capability("CAP_SYS_CHROOT")
    })
}

fn user_without_rights(test: &Test) -> Outcome {
    let user = testkit::json!({"uid": 1234, "gid": 5678, "additionalGids": [9, 10], "umask": 23});
    let script = "grep -E '^(Uid|Gid|Groups|Cap...|Umask):' /proc/self/status; echo $HOME; stat -c '%u %g' /proc/self/fd/1 /dev/pts; \
        cat /proc/1/environ | tr '\\0' '\\n' | sort";
    alike(test, script, |bundle| bundle.set("/process/user", user.clone()))
}
