//! Who a process is and what it may do: ids, groups, capabilities, environment, labels.

use testkit::{Bundle, Case, Container, Fallible, Outcome, Test, both, json, rt_only};

use super::{SLEEPER, exec_file, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("groups_and_umask", groups_and_umask),
        rt_only("callers_groups", "the annotation is crun's", callers_groups),
        rt_only("umask_of_exec", "runc 1.1 goes by the caller's umask", umask_of_exec),
        both("unmapped_ids", unmapped_ids),
        both("home", home),
        both("last_variable_counts", last_variable_counts),
        both("broken_variable", broken_variable),
        both("cwd_is_made", cwd_is_made),
        both("unknown_capabilities", unknown_capabilities),
        rt_only("missing_capabilities", "runc fails against the specification", missing_capabilities),
        both("ambient_capabilities", ambient_capabilities),
        both("added_capabilities", added_capabilities),
        rt_only("added_ambient_capability", "runc 1.1 warns on the same stream", added_ambient_capability),
        both("process_file_takes_from_the_container", process_file_takes_from_the_container),
        both("labels_without_a_security_module", labels_without_a_security_module),
        both("sub_cgroup", sub_cgroup),
        both("sub_cgroup_that_is_none", sub_cgroup_that_is_none),
    ]
}

fn output_of(test: &Test, bundle: &Bundle) -> Fallible<String> {
    Ok(test.container(bundle).run_foreground(&[]).succeeds()?.stdout)
}

fn groups_and_umask(test: &Test) -> Outcome {
    let user = json!({"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o077});
    let bundle = test.bundle()?.set("/process/user", user).script("id -u; id -g; id -G; umask").build()?;
    assert_eq!(output_of(test, &bundle)?, "7\n8\n8 9 10\n0077\n");
    let bundle = test.bundle()?.script("umask").build()?;
    assert_eq!(output_of(test, &bundle)?, "0022\n");
    Ok(())
}

/// What the caller of each command may read because of its groups, the container may; in a user namespace that has no such groups, too.
fn callers_groups(test: &Test) -> Outcome {
    const GROUPS: [&str; 2] = ["--groups", "1234,5678"];
    let bundle = |builder: testkit::BundleBuilder, value: &str| {
        let annotations = json!({"run.oci.keep_original_groups": value});
        builder.set("/process/user/additionalGids", json!([9])).set("/annotations", annotations)
    };
    for (value, groups) in [("1", "0 1234 5678\n"), ("0", "0 9\n")] {
        let bundle = bundle(test.bundle()?, value).script("id -G").build()?;
        let run = test.container(&bundle).run_foreground(&[]).under("setpriv", &GROUPS);
        assert_eq!(run.succeeds()?.stdout, groups, "{value}");
    }
    let bundle = bundle(mapped(test)?, "1").script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let exec = container.exec(&[], &["id", "-G"]).under("setpriv", &GROUPS).succeeds()?;
    assert_eq!(exec.stdout, "0 65534 65534\n");
    let file = test.new_path("process.json");
    let process =
        json!({"user": {"uid": 0, "gid": 0}, "args": ["id", "-G"], "cwd": "/", "env": ["PATH=/bin"]});
    std::fs::write(&file, process.to_string())?;
    let exec = container.exec(&["--process", &file], &[]).under("setpriv", &GROUPS).succeeds()?;
    assert_eq!(exec.stdout, "0 65534 65534\n");
    Ok(())
}

fn umask_of_exec(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/process/user/umask", json!(0o027)).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    assert_eq!(container.exec(&[], &["sh", "-c", "umask"]).succeeds()?.stdout, "0027\n");
    assert_eq!(exec_file(&container, &json!({}), "umask")?, "0027\n");
    let own = json!({"user": {"uid": 0, "gid": 0, "umask": 0o007}});
    assert_eq!(exec_file(&container, &own, "umask")?, "0007\n");
    Ok(())
}

fn mapped(test: &Test) -> Fallible<testkit::BundleBuilder> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let builder = test.bundle()?.push("/linux/namespaces", json!({"type": "user"}));
    Ok(builder.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map))
}

fn unmapped_ids(test: &Test) -> Outcome {
    for (field, words) in [("uid", "unmapped uid 2000"), ("gid", "unmapped gid 2000")] {
        let bundle =
            mapped(test)?.set(&format!("/process/user/{field}"), json!(2000)).script("true").build()?;
        let output = test.container(&bundle).run_foreground(&[]).fails()?;
        one_line(test, &output, &[words])?;
    }
    test.leaves_nothing()
}

fn home(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.bundle.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh\n")?;
    container.run(&[])?;
    for (flags, home) in [
        (&[][..], "/root"),
        (&["-u", "7"], "/home/u"),
        (&["-u", "8"], "/"),
        (&["-e", "HOME=/x"], "/x"),
        (&["-e", "HOME="], "/root"),
    ] {
        let output = container.exec(flags, &["sh", "-c", "echo $HOME"]).succeeds()?;
        assert_eq!(output.stdout.trim(), home, "{flags:?}");
    }
    Ok(())
}

fn last_variable_counts(test: &Test) -> Outcome {
    let variables = json!(["PATH=/nowhere", "A=1", "PATH=/bin", "A=2=3"]);
    let bundle =
        test.bundle()?.set("/process/env", variables).script("env | grep -c ^A=; echo $A $PATH").build()?;
    assert_eq!(output_of(test, &bundle)?, "1\n2=3 /bin\n");
    Ok(())
}

fn broken_variable(test: &Test) -> Outcome {
    let bundle = test.bundle()?.push("/process/env", json!("BROKEN")).script("true").build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["process.env", "BROKEN"])?;
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&["-e", "BROKEN"], &["true"]).fails()?;
    one_line(test, &output, &["--env", "BROKEN"])
}

fn cwd_is_made(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/process/user", json!({"uid": 7, "gid": 8}));
    let bundle =
        bundle.set("/process/cwd", json!("/made/for/it")).script("pwd; stat -c '%u %g %a' .").build()?;
    assert_eq!(output_of(test, &bundle)?, "/made/for/it\n0 0 755\n");
    let bundle = mapped(test)?.set("/process/cwd", json!("/tmp/made"));
    std::fs::set_permissions(bundle.path("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let bundle = bundle.script("stat -c '%u %g' .").build()?;
    assert_eq!(output_of(test, &bundle)?, "0 0\n");
    Ok(())
}

/// The sets in the kernel's order: inheritable, permitted, effective, bounding, ambient.
const SETS: &str = "grep Cap /proc/self/status | cut -f2";

fn set(bits: &[u32]) -> String {
    format!("{:016x}\n", bits.iter().fold(0u64, |set, bit| set | 1 << bit))
}

const KILL: u32 = 5;
const NET_BIND_SERVICE: u32 = 10;
const AUDIT_WRITE: u32 = 29;

fn unknown_capabilities(test: &Test) -> Outcome {
    let bundle = ["CAP_OF_THE_FUTURE", "CAP_ANOTHER"]
        .iter()
        .fold(test.bundle()?, |bundle, name| bundle.capability(name))
        .script("grep CapBnd /proc/self/status | cut -f2")
        .build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stdout, set(&[KILL, NET_BIND_SERVICE, AUDIT_WRITE]));
    let words = "ignoring unknown or unavailable capabilities: [CAP_ANOTHER CAP_OF_THE_FUTURE]";
    assert!(output.stderr.contains(words), "{output}");
    Ok(())
}

fn missing_capabilities(test: &Test) -> Outcome {
    // Of those that this machine's root lacks, or of none.
    let ours = std::fs::read_to_string("/proc/self/status")?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).ok_or("no capabilities")?;
    let has_resource = u64::from_str_radix(ours, 16)? & 1 << 24 != 0;
    let bundle = test.bundle()?.capability("CAP_SYS_RESOURCE").script("true").build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert_eq!(output.stderr.contains("CAP_SYS_RESOURCE"), !has_resource, "{output}");
    Ok(())
}

fn ambient_capabilities(test: &Test) -> Outcome {
    let bundle = test
        .bundle()?
        .set("/process/user", json!({"uid": 7, "gid": 7}))
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set("/process/capabilities/ambient", json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]))
        .script(SETS)
        .build()?;
    let all = set(&[KILL, NET_BIND_SERVICE, AUDIT_WRITE]);
    let kill = set(&[KILL]);
    assert_eq!(output_of(test, &bundle)?, [&kill, &kill, &kill, &all, &kill].map(String::as_str).concat());
    if test.is_rt() {
        // The specification wants a word about what cannot be granted.
        let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
        assert!(output.stderr.contains("can't raise ambient capability CAP_NET_BIND_SERVICE: "), "{output}");
        assert!(!output.stderr.contains("CAP_KILL"), "{output}");
    }
    Ok(())
}

/// CVE-2022-29162: an added capability is not inheritable.
fn added_capabilities(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&["--cap", "CAP_NET_RAW"], &["sh", "-c", SETS]).succeeds()?;
    let with = set(&[KILL, NET_BIND_SERVICE, 13, AUDIT_WRITE]);
    assert_eq!(output.stdout, [&set(&[]), &with, &with, &with, &set(&[])].map(String::as_str).concat());
    let output = container.exec(&["--cap", "CAP_NONSENSE"], &["true"]).succeeds()?;
    assert!(output.stderr.contains("CAP_NONSENSE"), "{output}");
    Ok(())
}

fn added_ambient_capability(test: &Test) -> Outcome {
    let bundle = test.bundle()?.capability("CAP_NET_RAW");
    let bundle = bundle.set("/process/capabilities/inheritable", json!(["CAP_NET_RAW"]));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    let flags = ["-u", "7", "--cap", "CAP_NET_RAW", "--cap", "CAP_NET_ADMIN"];
    let output =
        container.exec(&flags, &["sh", "-c", "grep CapAmb /proc/self/status | cut -f2"]).succeeds()?;
    assert_eq!(output.stdout, set(&[13]));
    Ok(())
}

fn process_file_takes_from_the_container(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/process/oomScoreAdj", json!(77));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    let script = "cat /proc/self/oom_score_adj; grep CapBnd /proc/self/status | cut -f2; \
        grep NoNewPrivs /proc/self/status | cut -f2";
    let expected = format!("77\n{}0\n", set(&[KILL, NET_BIND_SERVICE, AUDIT_WRITE]));
    assert_eq!(exec_file(&container, &json!({}), script)?, expected);
    let own = json!({"capabilities": {}, "noNewPrivileges": true});
    assert_eq!(exec_file(&container, &own, script)?, format!("77\n{}1\n", set(&[])));
    Ok(())
}

fn labels_without_a_security_module(test: &Test) -> Outcome {
    let has = |path: &str| std::path::Path::new(path).exists();
    let container = test.run_script(SLEEPER)?;
    let modules = [
        ("apparmorProfile", "--apparmor", "some-profile", has("/sys/kernel/security/apparmor")),
        ("selinuxLabel", "--process-label", "u:r:t:s0", has("/sys/fs/selinux/enforce")),
    ];
    for (field, flag, label, _) in modules.iter().filter(|(.., enabled)| !enabled) {
        let bundle = test.bundle()?.set(&format!("/process/{field}"), json!(label)).script("true").build()?;
        let output = test.container(&bundle).run_foreground(&[]).fails()?;
        one_line(test, &output, &[field, "disabled or not supported"])?;
        let output = container.exec(&[flag, label], &["true"]).fails()?;
        one_line(test, &output, &[field, "disabled or not supported"])?;
    }
    container.delete()?;
    test.leaves_nothing()
}

fn sub_cgroup(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let dirs = cgroup_dirs(&container)?;
    for dir in &dirs {
        std::fs::create_dir(format!("{dir}/below"))?;
        // A new cpuset of v1 has neither processors nor memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read(format!("{dir}/{file}")) {
                let _ = std::fs::write(format!("{dir}/below/{file}"), value);
            }
        }
    }
    let script = "grep -c '/below$' /proc/self/cgroup; grep -vc '/below$' /proc/self/cgroup";
    let inside = container.exec(&["--cgroup", "below"], &["sh", "-c", script]).output()?;
    let inside = inside.stdout;
    let inside: Vec<usize> = inside.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(inside[0] == dirs.len(), "{inside:?} of {dirs:?}");
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    container.wait_for_status("stopped")?;
    for dir in &dirs {
        let _ = std::fs::remove_dir(format!("{dir}/below"));
    }
    Ok(())
}

/// The directories of the container's cgroups, one for each hierarchy.
fn cgroup_dirs(container: &Container<'_>) -> Fallible<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let of = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|mount| {
            let options: Vec<_> = mount[3].split(',').collect();
            match controllers {
                "" => mount[2] == "cgroup2",
                list => mount[2] == "cgroup" && list.split(',').all(|name| options.contains(&name)),
            }
        })?;
        path.contains(&container.id).then(|| format!("{}{path}", mount[1]))
    };
    Ok(text.lines().filter_map(of).collect())
}

fn sub_cgroup_that_is_none(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for (arguments, words) in [
        (&["--cgroup", "../x"][..], "not a sub cgroup path"),
        (&["--cgroup", "no-such-cgroup"], "no such file"),
        (&["--cgroup", ":x"], "empty <controller>"),
        (&["--cgroup", "a", "--cgroup", "b"], "--cgroup"),
    ] {
        let output = container.exec(arguments, &["true"]).fails()?;
        one_line(test, &output, &[words])?;
    }
    Ok(())
}
