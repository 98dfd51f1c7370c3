//! Seccomp profiles: what the container's processes can call.

use testkit::{
    BundleBuilder, Case, Cmd, Container, Fallible, Outcome, Profile, Test, Value, both, json, needs, rt_only,
};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("errno", errno),
        both("kill", kill),
        both("trap", trap),
        both("log", log),
        both("trace_without_tracer", trace_without_tracer),
        both("operators", operators).needs(needs::call),
        both("conditions", conditions).needs(needs::call),
        both("unknown_call", unknown_call).needs(needs::call),
        both("architectures", architectures).needs(needs::call),
        rt_only("flags", "runc 1.1.5 knows no flags", flags),
        both("unknown_names", unknown_names),
        both("default_profiles", default_profiles),
        both("default_profile_of_a_user", default_profile_of_a_user),
        rt_only("tight_profile", "runc makes many more calls behind its filter", tight_profile),
        both("create_and_start", create_and_start),
        both("exec", exec),
        both("no_new_privileges", no_new_privileges),
        rt_only("capabilities", "runc has CAP_SYS_ADMIN no longer when it waits", capabilities),
        both("user_namespace", user_namespace),
        both("hooks", hooks),
        both("exec_fails_behind_the_filter", exec_fails_behind_the_filter),
        rt_only("errors", "runc checks less and says it otherwise", errors),
        rt_only("cache", "runc compiles each time", cache),
        both("checkpoint", checkpoint).needs(needs::criu),
        rt_only("features", "runc 1.1.5 knows fewer flags", features),
    ]
}

/// A profile that allows all but what `rules` are about.
pub(crate) fn allowing(rules: &[Value]) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

pub(crate) fn mkdir(action: &str) -> Value {
    json!({"names": ["mkdir", "mkdirat"], "action": action})
}

fn with(test: &Test, profile: Value) -> Fallible<BundleBuilder> {
    Ok(test.bundle()?.set("/linux/seccomp", profile))
}

/// Runs a script under a profile and returns what it writes, all on one line.
fn says(test: &Test, profile: Value, script: &str) -> Fallible<String> {
    let bundle = with(test, profile)?.script(&format!("exec 2>&1; {script}")).build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    Ok(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Puts a program into the bundle that makes system calls by number; where there is no compiler, one that was built before
/// ($RT_TEST_CALL).
pub(crate) fn with_call(builder: BundleBuilder) -> Fallible<BundleBuilder> {
    if let Some(built) = std::env::var_os("RT_TEST_CALL") {
        std::fs::copy(built, builder.path("/bin/call"))?;
        return Ok(builder);
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/call.c");
    Cmd::new("cc").args(["-static", "-O1", "-o", &builder.path("/bin/call"), source]).succeeds()?;
    Ok(builder)
}

fn errno(test: &Test) -> Outcome {
    let mut rule = mkdir("SCMP_ACT_ERRNO");
    let script = "mkdir /tmp/x; echo $?; cat /proc/self/status | grep ^Seccomp:";
    let output = says(test, allowing(&[rule.clone()]), script)?;
    assert!(output.contains("Operation not permitted 1 Seccomp: 2"), "{output}");
    rule["errnoRet"] = json!(28);
    let output = says(test, allowing(&[rule]), script)?;
    assert!(output.contains("No space left on device 1"), "{output}");
    Ok(())
}

fn kill(test: &Test) -> Outcome {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let output = says(test, allowing(&[mkdir(action)]), "mkdir /tmp/x; echo $?; ls /tmp")?;
        // 128 + SIGSYS
        assert!(output.ends_with("159"), "{action}: {output}");
    }
    Ok(())
}

fn trap(test: &Test) -> Outcome {
    let output = says(test, allowing(&[mkdir("SCMP_ACT_TRAP")]), "mkdir /tmp/x; echo $?")?;
    assert!(output.ends_with("159"), "{output}");
    Ok(())
}

fn log(test: &Test) -> Outcome {
    let profile = json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [mkdir("SCMP_ACT_ALLOW")]});
    assert_eq!(says(test, profile, "mkdir /tmp/x && ls /tmp")?, "x");
    Ok(())
}

fn trace_without_tracer(test: &Test) -> Outcome {
    let output = says(test, allowing(&[mkdir("SCMP_ACT_TRACE")]), "mkdir /tmp/x; echo $?")?;
    assert!(output.contains("Function not implemented 1"), "{output}");
    Ok(())
}

/// A rule about getpriority, whose fourth to sixth argument mean nothing to the kernel.
fn priority(args: &[Value]) -> Value {
    json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args})
}

fn operators(test: &Test) -> Outcome {
    const VALUE: u64 = 0x1_0000_0005;
    let values = [0, 5, VALUE - 1, VALUE, VALUE + 1, u64::MAX];
    type Holds = fn(u64) -> bool;
    let cases: [(&str, u64, Holds); 7] = [
        ("NE", 0, |x| x != VALUE),
        ("LT", 0, |x| x < VALUE),
        ("LE", 0, |x| x <= VALUE),
        ("EQ", 0, |x| x == VALUE),
        ("GE", 0, |x| x >= VALUE),
        ("GT", 0, |x| x > VALUE),
        ("MASKED_EQ", 4, |x| x & VALUE == 4),
    ];
    for (operator, two, holds) in cases {
        let arg = json!({"index": 3, "value": VALUE, "valueTwo": two, "op": format!("SCMP_CMP_{operator}")});
        let script: String = values.iter().map(|v| format!("call getpriority 0 0 0 {v};")).collect();
        let bundle = with_call(with(test, allowing(&[priority(&[arg])]))?)?.script(&script);
        let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
        let expected: Vec<_> = values.iter().map(|v| if holds(*v) { "99" } else { "0" }).collect();
        assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), expected, "{operator}");
    }
    Ok(())
}

/// Of several conditions all must hold; of several about one argument, any.
fn conditions(test: &Test) -> Outcome {
    let equal = |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    for (first, second, expected) in
        [(equal(3, 1), equal(4, 2), "99 0 0 0"), (equal(3, 1), equal(3, 7), "99 99 0 99")]
    {
        let profile = allowing(&[priority(&[first, second])]);
        let bundle = with_call(with(test, profile)?)?.script(
            "call getpriority 0 0 0 1 2; call getpriority 0 0 0 1 3; call getpriority 0 0 0 2 2; call getpriority 0 0 0 7 2",
        );
        let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
        assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }
    Ok(())
}

fn unknown_call(test: &Test) -> Outcome {
    for (default, denied) in [(1, "1"), (95, "95")] {
        let mut profile = Profile::Docker.json();
        profile["defaultErrnoRet"] = json!(default);
        // syslog is denied, as it always was; the other is newer than the profile.
        let number = if cfg!(target_arch = "x86_64") { 103 } else { 116 };
        let script = format!("call {number} 10; call 100000");
        let bundle = with_call(with(test, profile)?)?.script(&script).build()?;
        let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
        assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), [denied, "38"]);
    }
    Ok(())
}

fn architectures(test: &Test) -> Outcome {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(());
    }
    // getpid of x86; a kernel without such programs has no such calls either.
    let script = "call x86:20; echo $?";
    let call = |profile: Option<Value>| -> Fallible<String> {
        let builder = match profile {
            Some(profile) => with(test, profile)?,
            None => test.bundle()?,
        };
        let output =
            test.container(&with_call(builder)?.script(script).build()?).run_foreground(&[]).output()?;
        Ok(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    if call(None)? != "0 0" {
        return Ok(());
    }
    let profile = |archs: Value| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
            "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]})
    };
    assert_eq!(call(Some(profile(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]))))?, "77 0");
    // An architecture that the profile does not name is not to be called at all.
    assert_eq!(call(Some(profile(json!(["SCMP_ARCH_X86_64"]))))?, "159");
    Ok(())
}

fn flags(test: &Test) -> Outcome {
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]),
    ] {
        let mut profile = allowing(&[mkdir("SCMP_ACT_ERRNO")]);
        profile["flags"] = flags.clone();
        let output = says(test, profile, "mkdir /tmp/x; echo $?")?;
        assert!(output.contains("Operation not permitted 1"), "{flags}: {output}");
    }
    Ok(())
}

fn unknown_names(test: &Test) -> Outcome {
    let rule = json!({"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    let output = says(test, allowing(&[rule]), "mkdir /tmp/x; echo $?")?;
    assert!(output.contains("Operation not permitted 1"), "{output}");
    Ok(())
}

fn default_profiles(test: &Test) -> Outcome {
    for profile in [Profile::Docker, Profile::Containerd, Profile::Podman] {
        let script = "mkdir /tmp/x && ls /tmp | cat; mount -t tmpfs x /tmp; echo $?";
        let output = says(test, profile.json(), script)?;
        assert!(output.starts_with("x mount: ") && output.ends_with(" 1"), "{profile:?}: {output}");
    }
    Ok(())
}

fn default_profile_of_a_user(test: &Test) -> Outcome {
    for no_new_privileges in [true, false] {
        let bundle = with(test, Profile::Docker.json())?
            .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .script("id -u; id -G; grep -E '^(CapEff|CapPrm|Seccomp):' /proc/self/status");
        let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
        let output = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let none = "0000000000000000";
        assert_eq!(output, format!("1000 1000 7 CapPrm: {none} CapEff: {none} Seccomp: 2"));
    }
    Ok(())
}

/// A profile that allows what busybox's `true` needs to start, and nothing that a runtime would need.
fn tight_profile(test: &Test) -> Outcome {
    let names = [
        "execve",
        "capset",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "exit_group",
        "newfstatat",
        "getuid",
        "fcntl",
        "uname",
        "ioctl",
        "prctl",
        "getpid",
        "rt_sigaction",
        "rt_sigprocmask",
        "futex",
        "geteuid",
        "setuid",
        "setgid",
        "getgid",
        "getegid",
    ];
    let profile = |names: &[&str]| json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    let without_capset: Vec<_> = names.into_iter().filter(|name| *name != "capset").collect();
    for (no_new_privileges, names) in [(true, &without_capset[..]), (false, &names[..])] {
        let bundle = with(test, profile(names))?
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .args(&["true"])
            .build()?;
        test.container(&bundle).run_foreground(&[]).succeeds()?;
        let container = test.container(&bundle);
        container.quiet("create", &[]).succeeds()?;
        container.cmd("start", &[]).succeeds()?;
        container.wait_for_status("stopped")?;
        container.delete()?;
    }
    test.leaves_nothing()
}

fn create_and_start(test: &Test) -> Outcome {
    let bundle =
        with(test, Profile::Docker.json())?.script("mount -t tmpfs x /tmp; echo $? >/said; sleep 1000");
    let container = test.container(&bundle.build()?);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("start", &[]).succeeds()?;
    testkit::wait_until("its word", || !container.bundle.read("/said").is_empty())?;
    assert_eq!(container.bundle.read("/said").trim(), "1");
    assert!(status_of(&container)?.contains("Seccomp:\t2"));
    container.delete()?;
    test.leaves_nothing()
}

fn status_of(container: &Container<'_>) -> Fallible<String> {
    Ok(std::fs::read_to_string(format!("/proc/{}/status", container.pid()?))?)
}

fn exec(test: &Test) -> Outcome {
    let container = test.container(&with(test, Profile::Docker.json())?.script(SLEEPER).build()?);
    container.run(&[])?;
    let script = "grep ^Seccomp: /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null; echo $?";
    for user in ["0", "1000:1000"] {
        let output = container.exec(&["--user", user], &["sh", "-c", script]).succeeds()?;
        assert_eq!(output.stdout, "Seccomp:\t2\n1\n", "{user}");
    }
    let output = container.exec(&["--no-new-privs"], &["sh", "-c", script]).succeeds()?;
    assert_eq!(output.stdout, "Seccomp:\t2\n1\n");
    Ok(())
}

fn no_new_privileges(test: &Test) -> Outcome {
    for no_new_privileges in [true, false] {
        let script = "exec 2>&1; mkdir /tmp/x; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status";
        let bundle = with(test, allowing(&[mkdir("SCMP_ACT_ERRNO")]))?
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .script(script)
            .build()?;
        let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
        assert!(output.stdout.contains("Operation not permitted"), "{output}");
        assert!(output.stdout.contains("Seccomp:\t2"), "{output}");
        let flag = format!("NoNewPrivs:\t{}", u8::from(no_new_privileges));
        assert!(output.stdout.contains(&flag), "{output}");
        // What `spec` gives: no CAP_SYS_ADMIN (bit 21) stays behind.
        assert!(output.stdout.contains("CapEff:\t0000000020000420"), "{output}");
    }
    Ok(())
}

fn capabilities(test: &Test) -> Outcome {
    let effective = |container: &Container<'_>| -> Fallible<u64> {
        let status = status_of(container)?;
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).ok_or("no CapEff")?;
        Ok(u64::from_str_radix(line, 16)?)
    };
    let waiting = |no_new_privileges: bool, profile: Value| -> Fallible<u64> {
        let bundle = test
            .bundle()?
            .set("/linux/seccomp", profile)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .script(SLEEPER);
        let container = test.container(&bundle.build()?);
        container.quiet("create", &[]).succeeds()?;
        let waiting = effective(&container)?;
        container.cmd("start", &[]).succeeds()?;
        assert_eq!(effective(&container)?, 0x2000_0420);
        container.delete()?;
        Ok(waiting)
    };
    // Loading a filter takes it, or no_new_privs; who loads none does not keep it.
    assert_eq!(waiting(false, Profile::Docker.json())?, 0x2020_0420);
    assert_eq!(waiting(true, Profile::Docker.json())?, 0x2000_0420);
    assert_eq!(waiting(false, Value::Null)?, 0x2000_0420);
    test.leaves_nothing()
}

fn user_namespace(test: &Test) -> Outcome {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    for no_new_privileges in [true, false] {
        let bundle = with(test, Profile::Docker.json())?
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .script("grep ^Seccomp: /proc/self/status");
        let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
        assert_eq!(output.stdout, "Seccomp:\t2\n");
    }
    Ok(())
}

/// A startContainer hook runs behind the filter, in the container.
fn hooks(test: &Test) -> Outcome {
    let script = "grep ^Seccomp: /proc/self/status >/hook";
    let bundle = with(test, Profile::Docker.json())?
        .set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]))
        .script("cat /hook")
        .build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, "Seccomp:\t2\n");
    Ok(())
}

fn exec_fails_behind_the_filter(test: &Test) -> Outcome {
    for no_new_privileges in [true, false] {
        let profile = allowing(&[
            json!({"names": ["execve", "execveat", "sendmsg"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
        ]);
        let bundle = with(test, profile)?
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .args(&["true"])
            .build()?;
        let output = test.container(&bundle).run_foreground(&[]).fails()?;
        one_line(test, &output, &["operation not permitted"])?;
        test.leaves_nothing()?;
    }
    Ok(())
}

fn errors(test: &Test) -> Outcome {
    let rule = |rule: Value| allowing(&[rule]);
    for (profile, words) in [
        (json!({"defaultAction": "SCMP_ACT_X"}), &["linux.seccomp.defaultAction", "SCMP_ACT_X"][..]),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), &["linux.seccomp.defaultAction"]),
        (rule(json!({"names": ["read"], "action": "X"})), &["linux.seccomp.syscalls[0].action"]),
        (rule(mkdir("SCMP_ACT_NOTIFY")), &["linux.seccomp.listenerPath", "is not set"]),
        (
            rule(
                json!({"names": ["mkdir"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}),
            ),
            &["linux.seccomp.syscalls[0].args[0].index"],
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_S390X"]}),
            &["linux.seccomp.architectures[1]", "libseccomp"],
        ),
    ] {
        let container = test.container(&with(test, profile)?.script("true").build()?);
        one_line(test, &container.run_foreground(&[]).fails()?, words)?;
        test.leaves_nothing()?;
    }
    Ok(())
}

fn cache(test: &Test) -> Outcome {
    let container = test.container(&with(test, Profile::Podman.json())?.script(SLEEPER).build()?);
    container.run(&[])?;
    let directory = format!("{}/@seccomp", test.root());
    let files = || -> Fallible<Vec<std::path::PathBuf>> {
        let entries = std::fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.into_iter().map(|entry| entry.path()).collect())
    };
    let [file] = &files()?[..] else { return Err("not one compiled program".into()) };
    let good = std::fs::read(file)?;
    // Neither a container nor something to be swept up.
    let list = test.cmd(&["list", "--quiet"]).succeeds()?;
    assert_eq!(list.stdout.trim(), container.id);
    std::fs::write(file, b"nonsense")?;
    let output = container.exec(&[], &["grep", "^Seccomp:", "/proc/self/status"]).succeeds()?;
    assert_eq!(output.stdout, "Seccomp:\t2\n");
    assert!(std::fs::read(file)? == good, "it was not made again");
    assert_eq!(files()?.len(), 1);
    Ok(())
}

fn checkpoint(test: &Test) -> Outcome {
    let container = test.container(&with(test, Profile::Docker.json())?.script(COUNTER).build()?);
    container.run(&[])?;
    for _ in 0..3 {
        counts_on(&container.bundle, "/log", 3)?;
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        assert!(status_of(&container)?.contains("Seccomp:\t2"));
    }
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    let output = container.exec(&[], &["mount", "-t", "tmpfs", "x", "/tmp"]).fails()?;
    assert!(!output.stderr.is_empty());
    container.delete()?;
    test.leaves_nothing()
}

fn features(test: &Test) -> Outcome {
    let output = test.bare(&["features"]).succeeds()?;
    let features: Value = output.stdout.parse()?;
    let version = &features["annotations"]["io.github.seccomp.libseccomp.version"];
    assert!(version.as_str().is_some_and(|version| version.starts_with("2.")), "{version}");
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let has = |list: &str, word: &str| seccomp[list].as_array().is_some_and(|all| all.contains(&word.into()));
    assert!(has("actions", "SCMP_ACT_NOTIFY") && has("actions", "SCMP_ACT_KILL_PROCESS"));
    assert!(has("operators", "SCMP_CMP_MASKED_EQ") && has("archs", "SCMP_ARCH_X86_64"));
    for flag in ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"] {
        assert!(has("knownFlags", &format!("SECCOMP_FILTER_FLAG_{flag}")), "{flag}");
    }
    assert!(has("supportedFlags", "SECCOMP_FILTER_FLAG_TSYNC"));
    Ok(())
}
