//! What a restored process still has: threads, children, signals, memory, files, sockets. The program `keep` gets hold of it before
//! the checkpoint and looks at it after the restore.

use std::fs;

use testkit::{
    BundleBuilder, Case, Cmd, Container, Fallible, Outcome, Test, both, needs, rt_only, wait_until,
};

use super::diagnosis::fails_as_foreseen;

pub(crate) fn cases() -> Vec<Case> {
    const LOOPBACK_DOWN: &str = "runc restores an empty network namespace, in which even loopback is down";
    [
        both("processes", |test| kept(test, &PROCESSES, &[], &[])),
        both("signals_and_timers", |test| kept(test, &SIGNALS, &[], &[])),
        both("memory", |test| kept(test, &MEMORY, &[], &[])),
        both("files", |test| kept(test, &FILES, &[], &[])),
        both("unix_sockets", |test| kept(test, &UNIX, &[], &[])),
        both("locks", |test| kept(test, &["locks"], &["--file-locks"], &["--file-locks"])),
        both("raw_sockets_and_another_root", raw_sockets_and_another_root),
        rt_only("internet_sockets", LOOPBACK_DOWN, |test| kept(test, &INTERNET, &[], &[]))
            .needs(needs::criu_for_tcp),
        rt_only("connections", LOOPBACK_DOWN, |test| {
            kept(test, &["connections"], &["--tcp-established"], &["--tcp-established"])
        })
        .needs(needs::criu_for_tcp),
        rt_only("connections_closed_by_the_restore", "runc 1.1 has no such option", |test| {
            kept(test, &["closed_connections"], &["--tcp-established"], &["--tcp-close"])
        })
        .needs(needs::criu_for_tcp),
        rt_only("connections_closed_by_both", "runc 1.1 has no such option", |test| {
            kept(test, &["closed_connections", "listeners"], &["--tcp-close"], &["--tcp-close"])
        })
        .needs(needs::criu_for_tcp),
        rt_only("another_user", "its errors are its own", another_user),
        rt_only("all_of_it_twice", LOOPBACK_DOWN, all_of_it_twice).needs(needs::criu_for_tcp),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu).needs(needs::c_compiler))
    .collect()
}

const PROCESSES: [&str; 8] =
    ["threads", "futex", "deep_tree", "zombies", "lost_leaders", "shared_files", "child_pidfd", "attributes"];
const SIGNALS: [&str; 4] = ["queued_signals", "signal_descriptor", "handlers", "timers"];
const MEMORY: [&str; 4] = ["mappings", "memory_file", "shared_memory", "system_v"];
const FILES: [&str; 6] = ["open_files", "deleted", "pipes", "watches", "terminals", "asynchronous"];
const UNIX: [&str; 3] = ["unix_sockets", "unix_datagrams", "sent_descriptor"];
const INTERNET: [&str; 2] = ["datagrams", "listeners"];

/// A container in which a process has got hold of each thing.
fn keeping<'test>(test: &'test Test, bundle: BundleBuilder, things: &[&str]) -> Fallible<Container<'test>> {
    let source = |name: &str| format!("{}/tests/cases/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let compile = ["-static", "-pthread", "-O1", "-o", &bundle.path("/bin/keep")];
    let sources = ["keep", "keep_processes", "keep_files"].map(source);
    Cmd::new("cc").args(compile).args(&sources).succeeds()?;
    let container = test.container(&bundle.args(&[&["keep"], things].concat()).build()?);
    container.run(&[])?;
    wait_until("all of it", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    assert_eq!(container.bundle.read("/said"), "");
    Ok(container)
}

/// Each process has it still.
fn still_has(container: &Container<'_>, things: &[&str]) -> Outcome {
    container.bundle.write("/go", "")?;
    wait_until("their answers", || !container.bundle.read("/done").is_empty())?;
    let said = container.bundle.read("/done");
    let mut lines: Vec<&str> = said.lines().collect();
    let mut expected: Vec<String> = things.iter().map(|thing| format!("{thing}: kept")).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    Ok(())
}

fn cycle(container: &Container<'_>, dump: &[&str], restore: &[&str]) -> Outcome {
    let images = container.test.new_path("images");
    container.checkpoint(&images, dump)?;
    container.restore(&images, restore).map(drop)
}

fn kept(test: &Test, things: &[&str], dump: &[&str], restore: &[&str]) -> Outcome {
    let container = keeping(test, test.bundle()?, things)?;
    cycle(&container, dump, restore)?;
    still_has(&container, things)
}

fn raw_sockets_and_another_root(test: &Test) -> Outcome {
    let things = ["raw_sockets", "other_root"];
    let bundle = test.bundle()?.capability("CAP_NET_RAW").capability("CAP_SYS_CHROOT");
    let container = keeping(test, bundle, &things)?;
    cycle(&container, &[], &[])?;
    still_has(&container, &things)
}

/// Where CRIU may not ask for the limits of other users' processes, that is said before.
fn another_user(test: &Test) -> Outcome {
    let bundle = test.bundle()?.capability("CAP_SETUID").capability("CAP_SETGID");
    let container = keeping(test, bundle, &["identity"])?;
    if needs::sys_resource().is_err() {
        return fails_as_foreseen(&container, &[], &["criu-rights", "CAP_SYS_RESOURCE"]);
    }
    cycle(&container, &[], &[])?;
    still_has(&container, &["identity"])
}

/// Some hundred processes at once, dumped while they go on, then twice, the second time under another id.
fn all_of_it_twice(test: &Test) -> Outcome {
    let things =
        [&PROCESSES[..], &SIGNALS, &MEMORY, &FILES, &UNIX, &INTERNET, &["locks", "connections"]].concat();
    let container = keeping(test, test.bundle()?, &things)?;
    let flags = ["--file-locks", "--tcp-established"];
    container.checkpoint(&test.new_path("images"), &[&flags[..], &["--leave-running"]].concat())?;
    cycle(&container, &flags, &flags)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &flags)?;
    let other = test.container(&container.bundle);
    other.restore(&images, &flags)?;
    still_has(&other, &things)
}
