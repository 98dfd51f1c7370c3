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
fn normal_mounts(text: &str) -> String {
    text.lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').skip(3).collect();
            let words: Vec<_> =
                words.iter().map(|word| word.split_once(':').map_or(*word, |(kind, _)| kind)).collect();
            normal_ids(&words.join(" "))
        })
        .collect()
}

fn unchanged(builder: testkit::BundleBuilder) -> testkit::BundleBuilder {
    builder
}

fn process_status(test: &Test) -> Outcome {
    let script = "grep -E '^(Uid|Gid|Groups|NStgid|NSpid|NSpgid|NSsid|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Umask|Sig...|Shd...|\
        Speculation_Store_Bypass|Cpus_allowed|Mems_allowed|THP_enabled|CoreDumping|TracerPid|Threads):' /proc/1/status";
    alike(test, script, unchanged)
}

fn limits(test: &Test) -> Outcome {
    alike(test, "cat /proc/1/limits", unchanged)
}

fn mounts(test: &Test) -> Outcome {
    alike_after(test, "cat /proc/self/mountinfo", unchanged, normal_mounts)
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
    alike(
        test,
        "cat /proc/self/cgroup; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x; cat /sys/fs/cgroup/devices/devices.list | sort",
        unchanged,
    )
}

fn open_files(test: &Test) -> Outcome {
    alike(
        test,
        "ls /proc/1/fd /proc/self/fd; for n in 0 1 2; do cat /proc/1/fdinfo/$n | grep flags | tail -c 4; done",
        unchanged,
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
            Ok(normal_ids(&container.exec(&[], &["sh", "-c", script]).output()?.stdout))
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
