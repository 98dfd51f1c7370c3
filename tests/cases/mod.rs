//! The cases, and the few helpers that several modules share.

mod allowances;
mod apparmor;
mod at_once;
mod attacks;
mod bad_input;
mod binds;
mod calls;
mod cgroups;
mod check;
mod checkpoint;
mod counter;
mod create;
mod crio;
mod delete;
mod diagnosis;
mod diagnosis_restore;
mod docker;
mod docker_faults;
mod events;
mod exec;
mod faults;
mod features;
mod handed;
mod handover;
mod hooks;
mod idmap;
mod images;
mod images_command;
mod keeps;
mod kept;
mod keyring;
mod kill;
mod killed;
mod kills;
mod limits;
mod list;
mod moved;
mod namespaces;
mod netdevices;
mod network;
mod options;
mod pages;
mod pause;
mod process;
mod ps;
mod rdt;
mod resources;
mod restore;
mod rootless;
mod rootless_systemd;
mod roots;
mod run;
mod scheduling;
mod seccomp;
mod seccomp_listener;
mod selinux;
mod spec;
mod start;
mod state;
mod stdio;
mod stopped;
mod store;
mod systemd;
mod tcp;
mod tmpfs;
mod update;
mod userns;
mod wrong_values;

use testkit::{Container, Fallible, Output, Suite, Test, Value, also_on_v2, json};

/// Adds every module's cases.
pub(crate) fn all(suite: Suite) -> Suite {
    suite
        .module("bad_input", bad_input::cases())
        .module("binds", binds::cases())
        .module("images", images::cases())
        .module("images_command", images_command::cases())
        .module("checkpoint", checkpoint::cases())
        .module("create", create::cases())
        .module("crio", crio::cases())
        .module("delete", delete::cases())
        .module("diagnosis", diagnosis::cases())
        .module("check", check::cases())
        .module("diagnosis_restore", diagnosis_restore::cases())
        .module("docker", docker::cases())
        .module("docker_faults", docker_faults::cases())
        .module("events", events::cases())
        .module("exec", also_on_v2(exec::cases()))
        .module("faults", faults::cases())
        .module("features", features::cases())
        .module("kill", also_on_v2(kill::cases()))
        .module("killed", killed::cases())
        .module("kills", kills::cases())
        .module("list", list::cases())
        .module("keeps", keeps::cases())
        .module("kept", kept::cases())
        .module("keyring", keyring::cases())
        .module("moved", moved::cases())
        .module("options", also_on_v2(options::cases()))
        .module("pages", pages::cases())
        .module("pause", also_on_v2(pause::cases()))
        .module("process", process::cases())
        .module("ps", also_on_v2(ps::cases()))
        .module("rdt", rdt::cases())
        .module("restore", restore::cases())
        .module("run", run::cases())
        .module("scheduling", scheduling::cases())
        .module("seccomp", seccomp::cases())
        .module("seccomp_listener", seccomp_listener::cases())
        .module("selinux", selinux::cases())
        .module("spec", spec::cases())
        .module("start", start::cases())
        .module("state", state::cases())
        .module("store", store::cases())
        .module("at_once", at_once::cases())
        .module("attacks", attacks::cases())
        .module("cgroups", cgroups::cases())
        .module("limits", limits::cases())
        .module("allowances", allowances::cases())
        .module("apparmor", apparmor::cases())
        .module("calls", calls::cases())
        .module("handed", handed::cases())
        .module("handover", handover::cases())
        .module("hooks", hooks::cases())
        .module("namespaces", also_on_v2(namespaces::cases()))
        .module("network", network::cases())
        .module("stdio", stdio::cases())
        .module("stopped", also_on_v2(stopped::cases()))
        .module("systemd", systemd::cases())
        .module("tcp", tcp::cases())
        .module("resources", resources::cases())
        .module("tmpfs", tmpfs::cases())
        .module("update", update::cases())
        .module("wrong_values", wrong_values::cases())
        .module("idmap", idmap::cases())
        .module("netdevices", netdevices::cases())
        .module("rootless", rootless::cases())
        .module("rootless_systemd", rootless_systemd::cases())
        .module("roots", roots::cases())
        .module("userns", userns::cases())
        .twins_when_brief(&ABOUT_THE_KERNEL)
}

/// Modules about what the native run cannot ask runc: it has neither AppArmor nor limits on v2.
const ABOUT_THE_KERNEL: [&str; 4] = ["apparmor", "calls", "cgroups", "limits"];

/// A script that stays.
const SLEEPER: &str = "while :; do sleep 1000; done";

/// Checks that a command failed as it should: `rt` says it in one line of stderr that holds every one of
/// `words` (in any case); of runc only the failure is asked.
fn one_line(test: &Test, output: &Output, words: &[&str]) -> Fallible<()> {
    if !test.is_rt() {
        return Ok(());
    }
    let line = output.stderr.trim_end();
    if line.is_empty() || line.contains('\n') {
        return Err(format!("not exactly one line on stderr: {output}").into());
    }
    match words.iter().find(|word| !line.to_lowercase().contains(&word.to_lowercase())) {
        Some(word) => Err(format!("the error does not mention {word:?}: {output}").into()),
        None => Ok(()),
    }
}

/// `exec --process` of a script, with further fields of the process; its output.
fn exec_file(container: &Container<'_>, fields: &Value, script: &str) -> Fallible<String> {
    let mut process = json!({
        "args": ["sh", "-c", script], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        process[name] = value.clone();
    }
    let file = container.test.new_path("process");
    std::fs::write(&file, process.to_string())?;
    Ok(container.cmd("exec", &["--process", &file]).succeeds()?.stdout)
}

/// An error unless `left` equals `right`; for lists and texts whose `assert_eq!` would be hard to read.
fn same(what: &str, left: &str, right: &str) -> Fallible<()> {
    if left == right {
        return Ok(());
    }
    let only = |here: &str, there: &str| {
        let there: Vec<_> = there.lines().collect();
        here.lines()
            .filter(|line| !there.contains(line))
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let (first, second) = (only(left, right), only(right, left));
    if first.is_empty() && second.is_empty() {
        return Err(format!("{what} differs in the order\n  first:\n{left}  second:\n{right}").into());
    }
    Err(format!("{what} differs\n  only in the first:\n{first}  only in the second:\n{second}").into())
}
