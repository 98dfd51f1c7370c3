//! Containers of an unprivileged user.

use std::os::unix::fs::chown;

use testkit::{BundleBuilder, Case, Cmd, Fallible, Outcome, Runtime, Test, both, json, needs, rt_only};

use super::{SLEEPER, one_line};

/// Nobody's: it needs no entry in /etc/passwd.
pub(super) const USER: u32 = 65532;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        both("spec_runs_as_it_is", spec_runs_as_it_is),
        both("life", life),
        rt_only("processes_without_a_cgroup", "runc needs a cgroup to list them", processes_without_a_cgroup),
        both("state_in_the_runtime_directory", state_in_the_runtime_directory),
        both("state_of_root_in_a_namespace", state_of_root_in_a_namespace),
        both("limits_need_rights", limits_need_rights),
        rt_only("no_way", "runc says it in other words", no_way),
        both("delegated_cgroup", delegated_cgroup).needs(needs::cgroup_v1),
        both("failure_leaves_nothing", failure_leaves_nothing),
        both("many_ids", many_ids).needs(needs::newuidmap),
        rt_only("many_ids_without_the_tool", "runc says it in other words", many_ids_without_the_tool),
        rt_only("ids_of_others", "runc says it in other words", ids_of_others).needs(needs::newuidmap),
    ];
    cases.into_iter().map(|case| case.needs(needs::unprivileged_userns)).collect()
}

/// Runs `body` with a runtime, a state root and files that the user can reach.
pub(super) fn as_user(test: &Test, body: impl FnOnce(&Test) -> Outcome) -> Outcome {
    let binary = test.path("runtime");
    // By another process: a descriptor of ours that writes it may be inherited by another case's child ("text file busy").
    Cmd::new("install").args(["-m", "755"]).arg(&test.runtime().binary).arg(&binary).succeeds()?;
    test.with_runtime(Runtime { kind: test.runtime().kind, binary: binary.into() }, |user| {
        for directory in [user.path("."), user.root(), user.path("tmp")] {
            chown(directory, Some(USER), Some(USER))?;
        }
        body(user)?;
        user.leaves_nothing()
    })
}

fn cmd(user: &Test, args: &[&str]) -> Cmd {
    user.cmd(args).as_user(USER, "true")
}

/// A bundle of the user's with the configuration that the runtime writes for it.
fn bundle_as_written(user: &Test) -> Fallible<BundleBuilder> {
    let bundle = user.bundle_as_written()?;
    let directory = user.new_path("spec");
    std::fs::create_dir(&directory)?;
    chown(&directory, Some(USER), Some(USER))?;
    cmd(user, &["spec", "--rootless"]).current_dir(&directory).succeeds()?;
    let written = std::fs::read_to_string(format!("{directory}/config.json"))?;
    let config = serde_json::from_str(&written)?;
    chown(bundle.path("/"), Some(USER), Some(USER))?;
    chown(bundle.path("/tmp"), Some(USER), Some(USER))?;
    Ok(bundle.edit(|old| *old = config))
}

pub(super) fn bundle(user: &Test) -> Fallible<BundleBuilder> {
    let bundle = bundle_as_written(user)?;
    Ok(bundle.set("/process/terminal", json!(false)).set("/root/readonly", json!(false)))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn spec_runs_as_it_is(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle_as_written(user)?.build()?;
        let (mut terminal, theirs) = testkit::pseudo_terminal()?;
        let id = user.new_id();
        let command = cmd(user, &["run", "--bundle", bundle.directory(), &id]).terminal(theirs);
        let running = command.spawn()?;
        terminal.send("id -u; cat /proc/self/uid_map; tty; echo done\n")?;
        terminal.expect("65532")?;
        terminal.expect("/dev/pts/0")?;
        terminal.send("exit 3\n")?;
        assert_eq!(running.output()?.code, 3);
        Ok(())
    })
}

fn life(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.script(SLEEPER).build()?;
        let id = user.new_id();
        user.quiet(&["create", "--bundle", bundle.directory(), &id]).as_user(USER, "true").succeeds()?;
        cmd(user, &["start", &id]).succeeds()?;
        let state: testkit::Value = serde_json::from_str(&cmd(user, &["state", &id]).succeeds()?.stdout)?;
        assert_eq!(state["status"], "running");
        let status = std::fs::read_to_string(format!("/proc/{}/status", state["pid"]))?;
        assert!(status.contains("\nUid:\t65532\t") && status.contains("\nGid:\t65532\t"), "{status}");
        let output =
            cmd(user, &["exec", &id, "sh", "-c", "id -u; cat /proc/self/setgroups; echo $$ >/tmp/pid"]);
        assert_eq!(words(&output.succeeds()?.stdout), "0 deny");
        assert_eq!(cmd(user, &["exec", &id, "sh", "-c", "exit 7"]).output()?.code, 7);
        assert!(cmd(user, &["list"]).succeeds()?.stdout.contains(&id));
        cmd(user, &["kill", &id, "KILL"]).succeeds()?;
        testkit::wait_until("its end", || {
            cmd(user, &["state", &id]).output().is_ok_and(|output| output.stdout.contains("stopped"))
        })?;
        cmd(user, &["delete", &id]).succeeds().map(drop)
    })
}

fn processes_without_a_cgroup(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.script("sleep 1000 & sleep 1000 & wait").build()?;
        let id = user.new_id();
        user.quiet(&["run", "--detach", "--bundle", bundle.directory(), &id])
            .as_user(USER, "true")
            .succeeds()?;
        // Nobody waits for it, so it is init's child.
        user.quiet(&["exec", "--detach", &id, "sleep", "2000"]).as_user(USER, "true").succeeds()?;
        let pids = || -> Fallible<Vec<u64>> {
            Ok(serde_json::from_str(&cmd(user, &["ps", "--format", "json", &id]).succeeds()?.stdout)?)
        };
        testkit::wait_until("four processes", || pids().is_ok_and(|pids| pids.len() == 4))?;
        let output = cmd(user, &["pause", &id]).fails()?;
        one_line(user, &output, &["cgroup", "none of its own"])?;
        let output = cmd(user, &["checkpoint", &id]).fails()?;
        one_line(user, &output, &["needs root"])?;
        cmd(user, &["kill", "--all", &id, "KILL"]).succeeds()?;
        testkit::wait_until("their end", || pids().is_ok_and(|pids| pids.is_empty()))?;
        cmd(user, &["delete", "--force", &id]).succeeds().map(drop)
    })
}

fn state_in_the_runtime_directory(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.script("echo ran").build()?;
        let id = user.new_id();
        let run = |setup: &str| {
            let command = user.bare(&["run", "--bundle", bundle.directory(), &id]);
            command.env("XDG_RUNTIME_DIR", user.root()).as_user(USER, setup)
        };
        assert_eq!(run("true").succeeds()?.stdout, "ran\n");
        let name = user.runtime().name();
        assert!(std::fs::exists(format!("{}/{name}", user.root()))?);
        std::fs::remove_dir(format!("{}/{name}", user.root()))?;
        let output = run("unset XDG_RUNTIME_DIR").fails()?;
        one_line(user, &output, &["XDG_RUNTIME_DIR", "--root"])
    })
}

/// As podman's conmon calls a runtime: root of the user's namespace, without `USER`.
fn state_of_root_in_a_namespace(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.script("echo ran").edit(|config| {
            let linux = config["linux"].as_object_mut().expect("linux");
            linux.retain(|key, _| !["uidMappings", "gidMappings"].contains(&key.as_str()));
            linux["namespaces"].as_array_mut().expect("namespaces").retain(|entry| entry["type"] != "user");
        });
        let bundle = bundle.build()?;
        let id = user.new_id();
        let words = ["--user", "--map-root-user", "env", "-u", "USER"];
        let run =
            user.bare(&["run", "--bundle", bundle.directory(), &id]).env("XDG_RUNTIME_DIR", user.root());
        assert_eq!(run.under("unshare", &words).as_user(USER, "true").succeeds()?.stdout, "ran\n");
        Ok(std::fs::remove_dir(format!("{}/{}", user.root(), user.runtime().name()))?)
    })
}

fn limits_need_rights(test: &Test) -> Outcome {
    as_user(test, |user| {
        let limited =
            bundle(user)?.set("/linux/resources", json!({"pids": {"limit": 100}})).script("true").build()?;
        let output = cmd(user, &["run", "--bundle", limited.directory(), &user.new_id()]).fails()?;
        one_line(user, &output, &["cgroup pids", "no permission", "\"100\""])?;
        let placed = bundle(user)?
            .set("/linux/cgroupsPath", json!(format!("/{}", user.new_id())))
            .script("true")
            .build()?;
        let output = cmd(user, &["run", "--bundle", placed.directory(), &user.new_id()]).fails()?;
        one_line(user, &output, &["mkdir", "permission denied"])
    })
}

fn no_way(test: &Test) -> Outcome {
    as_user(test, |user| {
        let plain = user.bundle()?.script("true").build()?;
        let output = cmd(user, &["run", "--bundle", plain.directory(), &user.new_id()]).fails()?;
        one_line(user, &output, &["rootless containers require user namespaces"])?;
        let rootless = bundle(user)?.script("true").build()?;
        let output =
            cmd(user, &["--rootless=false", "run", "--bundle", rootless.directory(), &user.new_id()])
                .fails()?;
        one_line(user, &output, &["mkdir", "permission denied"])
    })
}

/// A cgroup of each hierarchy that an administrator has given to the user; removed when dropped.
struct Delegated {
    name: String,
}

impl Delegated {
    fn new(user: &Test) -> Fallible<Self> {
        let delegated = Self { name: user.new_id() };
        for directory in delegated.directories()? {
            let Ok(()) = std::fs::create_dir(&directory) else { continue };
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read_to_string(directory.with_file_name(file)) {
                    std::fs::write(directory.join(file), value)?;
                }
            }
            for file in std::fs::read_dir(&directory)?.flatten() {
                chown(file.path(), Some(USER), Some(USER))?;
            }
            chown(&directory, Some(USER), Some(USER))?;
        }
        Ok(delegated)
    }

    fn directories(&self) -> Fallible<Vec<std::path::PathBuf>> {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup")?.flatten();
        Ok(hierarchies.map(|hierarchy| hierarchy.path().join(&self.name)).collect())
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for directory in self.directories().unwrap_or_default() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// It is used, with its limits.
fn delegated_cgroup(test: &Test) -> Outcome {
    as_user(test, |user| {
        let delegated = Delegated::new(user)?;
        let path = format!("/{}/inner", delegated.name);
        let bundle = bundle(user)?
            .set("/linux/cgroupsPath", json!(path))
            .set("/linux/resources", json!({"pids": {"limit": 100}}))
            .script("grep pids /proc/self/cgroup; cat /sys/fs/cgroup/pids/pids.max");
        let bundle = bundle.build()?;
        let output = cmd(user, &["run", "--bundle", bundle.directory(), &user.new_id()]).succeeds()?;
        assert!(output.stdout.contains(&path) && output.stdout.ends_with("\n100\n"), "{output}");
        Ok(())
    })
}

fn failure_leaves_nothing(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.args(&["/no/such/program"]).build()?;
        cmd(user, &["run", "--bundle", bundle.directory(), &user.new_id()]).fails().map(drop)
    })
}

/// Ids 0 to 9 as the user, and what /etc/subuid gives it. The files are private copies.
fn subordinate(user: &Test, first: u32) -> Fallible<(BundleBuilder, String)> {
    let file = user.new_path("subid");
    std::fs::write(&file, format!("{USER}:200000:1000\n"))?;
    let passwd = user.new_path("passwd");
    let known = std::fs::read_to_string("/etc/passwd")?;
    std::fs::write(&passwd, format!("{known}rt-test:x:{USER}:{USER}::/:/bin/sh\n"))?;
    let map = json!([
        {"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": first, "size": 9}
    ]);
    let bundle = bundle(user)?.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let private = ["/etc/subuid", "/etc/subgid"].map(|target| format!("mount --bind {file} {target}"));
    Ok((bundle, format!("{} && mount --bind {passwd} /etc/passwd", private.join(" && "))))
}

fn many_ids(test: &Test) -> Outcome {
    as_user(test, |user| {
        let (bundle, setup) = subordinate(user, 200_000)?;
        let bundle = bundle.set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
        let bundle = bundle.script("id -u; id -g; id -G; cat /proc/self/uid_map").build()?;
        let command =
            cmd(user, &["run", "--bundle", bundle.directory(), &user.new_id()]).in_private_mounts(&setup);
        let output = if user.is_rt() {
            command.succeeds()?
        } else {
            // runc lets no unprivileged user set groups.
            command.fails()?;
            return Ok(());
        };
        assert_eq!(words(&output.stdout), "5 6 6 7 0 65532 1 1 200000 9");
        Ok(())
    })
}

fn many_ids_without_the_tool(test: &Test) -> Outcome {
    as_user(test, |user| {
        let (bundle, _) = subordinate(user, 200_000)?;
        let bundle = bundle.script("true").build()?;
        let command = user.cmd(&["run", "--bundle", bundle.directory(), &user.new_id()]);
        let output = command.as_user(USER, "export PATH=/nowhere").fails()?;
        one_line(user, &output, &["linux.uidMappings", "newuidmap", "not in PATH"])
    })
}

fn ids_of_others(test: &Test) -> Outcome {
    as_user(test, |user| {
        let (bundle, setup) = subordinate(user, 300_000)?;
        let bundle = bundle.script("true").build()?;
        let command = cmd(user, &["run", "--bundle", bundle.directory(), &user.new_id()]);
        let output = command.in_private_mounts(&setup).fails()?;
        one_line(user, &output, &["linux.uidMappings", "newuidmap", "/etc/subuid"])
    })
}
