//! Containers of an unprivileged user whose own systemd makes the cgroups.

use testkit::{Case, Cmd, Fallible, Layout, Outcome, Systemd, Test, json, needs, rt_only, wait_until};

use super::rootless::{USER, as_user, bundle};
use super::{SLEEPER, one_line};

const RUNTIME_DIR: &str = "/run/user/65532";
/// The cgroup of the user's systemd.
const MANAGER: &str = "/user.slice/user-65532.slice/manager.service";

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        rt_only("life", "runc wants a bus", life),
        rt_only("limits", "runc wants a bus", limits),
        rt_only("only_on_v2", "runc wants a bus", only_on_v2).needs(needs::hybrid),
    ];
    cases.into_iter().map(|case| case.needs(needs::systemd).needs(needs::unprivileged_userns)).collect()
}

/// Starts the user's systemd, as logind would have it done.
fn boot(test: &Test) -> Fallible<Systemd> {
    let systemd = Systemd::boot(test, Layout::V2)?;
    let script = format!(
        "echo user:x:{USER}:{USER}::/:/bin/sh >> /etc/passwd; echo user:x:{USER}: >> /etc/group;
         mkdir /run/user; install -d -m 700 -o {USER} -g {USER} {RUNTIME_DIR}"
    );
    Cmd::new("sh").args(["-c", &script]).in_systemd(&systemd).succeeds()?;
    let unit = [
        "--quiet",
        "--unit=manager.service",
        "--slice=user-65532.slice",
        &format!("--setenv=XDG_RUNTIME_DIR={RUNTIME_DIR}"),
    ];
    let properties = ["Delegate=yes", "DefaultDependencies=no", "User=65532", "Group=65532", "Type=notify"];
    let properties = properties.into_iter().flat_map(|property| ["-p", property]);
    Cmd::new("systemd-run")
        .args(unit)
        .args(properties)
        .args(["/usr/lib/systemd/systemd", "--user", "--unit=default.target"])
        .in_systemd(&systemd)
        .succeeds()?;
    Ok(systemd)
}

/// Runs a command of the user's, who has logged in: in a cgroup that is his own.
fn of_user(command: Cmd, systemd: &Systemd) -> Cmd {
    let enter = format!("echo $$ > /sys/fs/cgroup{MANAGER}/init.scope/cgroup.procs");
    let environment = format!("export XDG_RUNTIME_DIR={RUNTIME_DIR}; unset DBUS_SESSION_BUS_ADDRESS");
    command.as_user(USER, &environment).after_shell(&enter).in_systemd(systemd)
}

fn life(test: &Test) -> Outcome {
    let systemd = boot(test)?;
    as_user(test, |user| {
        let id = user.new_id();
        let unit = format!("rt-{id}.scope");
        let bundle = bundle(user)?.without_namespace("cgroup").script(SLEEPER).build()?;
        let run = ["--systemd-cgroup", "run", "--detach", "--bundle", bundle.directory(), &id];
        of_user(user.quiet(&run), &systemd).succeeds()?;
        let show = |property: &str| -> Fallible<String> {
            let command = Cmd::new("systemctl").args(["--user", "show", "--value", "-p", property, &unit]);
            Ok(of_user(command, &systemd).succeeds()?.stdout.trim_end().to_owned())
        };
        assert_eq!(show("ActiveState")?, "active");
        assert_eq!(show("ControlGroup")?, format!("{MANAGER}/user.slice/{unit}"));
        let output = of_user(user.cmd(&["exec", &id, "cat", "/proc/self/cgroup"]), &systemd).succeeds()?;
        assert!(output.stdout.contains(&unit), "{output}");
        of_user(user.cmd(&["pause", &id]), &systemd).succeeds()?;
        of_user(user.cmd(&["resume", &id]), &systemd).succeeds()?;
        of_user(user.cmd(&["kill", &id, "KILL"]), &systemd).succeeds()?;
        wait_until("its end", || {
            let state = of_user(user.cmd(&["state", &id]), &systemd).output();
            state.is_ok_and(|output| output.stdout.contains("stopped"))
        })?;
        of_user(user.cmd(&["delete", &id]), &systemd).succeeds()?;
        assert_eq!(show("ActiveState")?, "inactive");
        // Or the case would find the user's systemd among what is left.
        drop(systemd);
        Ok(())
    })
}

/// A limit that the user's systemd cannot give is no secret.
fn limits(test: &Test) -> Outcome {
    let systemd = boot(test)?;
    as_user(test, |user| {
        let run = |limit: testkit::Value| -> Fallible<testkit::Output> {
            let bundle = bundle(user)?.args(&["true"]).set("/linux/resources", limit).build()?;
            let id = user.new_id();
            of_user(user.cmd(&["--systemd-cgroup", "run", "--bundle", bundle.directory(), &id]), &systemd)
                .output()
        };
        let output = run(json!({"unified": {"cgroup.max.depth": "3"}}))?;
        assert_eq!(output.code, 0, "{output}");
        let output = run(json!({"unified": {"nonsense.max": "3"}}))?;
        assert_ne!(output.code, 0, "{output}");
        one_line(user, &output, &["nonsense", "no permission to make a cgroup here"])?;
        drop(systemd);
        Ok(())
    })
}

fn only_on_v2(test: &Test) -> Outcome {
    as_user(test, |user| {
        let bundle = bundle(user)?.args(&["true"]).build()?;
        let command = user.cmd(&["--systemd-cgroup", "run", "--bundle", bundle.directory(), &user.new_id()]);
        let output = command.as_user(USER, "true").fails()?;
        one_line(user, &output, &["cannot use rootless systemd cgroups manager on cgroup v1"])
    })
}
