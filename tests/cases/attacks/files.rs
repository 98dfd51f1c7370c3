//! Files of an image that are not what they should be.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Bundle, BundleBuilder, Case, Cmd, Outcome, Test, both, json, rt_only};

use super::super::{SLEEPER, one_line};

const WAITS: &str = "runc 1.1 waits for the pipe, or reads the file";

pub(super) fn cases() -> Vec<Case> {
    vec![
        rt_only("passwd_is_a_pipe", WAITS, |test| passwd(test, mkfifo)),
        rt_only("passwd_has_no_end", WAITS, |test| {
            passwd(test, |at| Ok(fs::File::create(at)?.set_len(1 << 40)?))
        }),
        both("passwd_is_a_link_to_a_descriptor", |test| {
            passwd(test, |at| Ok(symlink("/proc/self/fd/3", at)?))
        }),
        rt_only("group_is_a_pipe", WAITS, |test| {
            let bundle = test.bundle()?.script("true").build()?;
            fs::remove_file(bundle.path("/etc/group"))?;
            mkfifo(&bundle.path("/etc/group"))?;
            test.container(&bundle).run_foreground(&[]).succeeds()?;
            test.leaves_nothing()
        }),
        rt_only("devices_that_are_something_else", "runc 1.1.5 follows some of the links", devices),
        both("a_mount_over_the_sysctls", mount_over_sysctls),
    ]
}

fn mkfifo(path: &str) -> Outcome {
    Cmd::new("mkfifo").arg(path).succeeds().map(drop)
}

/// The user database of the image, which says where HOME is, is made by `make`; containers run, at once and later.
fn passwd(test: &Test, make: fn(&str) -> Outcome) -> Outcome {
    let bundle = test.bundle()?.edit(|config| config["process"]["env"] = json!(["PATH=/bin"]));
    let bundle = bundle.script(&format!("echo $HOME >/home; {SLEEPER}")).build()?;
    fs::remove_file(bundle.path("/etc/passwd"))?;
    make(&bundle.path("/etc/passwd"))?;
    let container = test.container(&bundle);
    container.run(&[])?;
    testkit::wait_until("HOME", || container.bundle.read("/home") == "/\n")?;
    assert_eq!(container.exec(&[], &["sh", "-c", "echo $HOME"]).succeeds()?.stdout, "/\n");
    container.delete()
}

/// CVE-2025-31133, CVE-2025-52565, CVE-2026-41579: where no tmpfs is mounted over it, the image's /dev may hold anything. Each
/// name in turn is a link to a file of the host, a link into /proc, and a pipe.
fn devices(test: &Test) -> Outcome {
    let victim = test.new_path("victim");
    fs::write(&victim, "untouched")?;
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    for name in ["null", "console", "ptmx", "pts", "tty", "fd", "stdout", "core"] {
        for target in [victim.as_str(), "/proc/sys/kernel/core_pattern", ""] {
            let keeps = |to: &str| !to.starts_with("/dev") || to == "/dev/pts";
            let bundle =
                bare_dev(test.bundle()?, keeps).script("echo x >/dev/null; echo x >/dev/console").build()?;
            plant(&bundle, &format!("/dev/{name}"), target)?;
            let container = test.container(&bundle);
            for terminal in [false, true] {
                let socket = test.console_socket()?;
                let flags: &[&str] = if terminal { &["--console-socket", socket.path()] } else { &[] };
                set_terminal(&bundle, terminal)?;
                let output = container.quiet("create", flags).output()?;
                if output.code != 0 {
                    one_line(test, &output, &[])?;
                    test.leaves_nothing()?;
                }
                container.delete()?;
            }
            assert_eq!(fs::read_to_string(&victim)?, "untouched", "by /dev/{name}");
            assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern")?, pattern, "by /dev/{name}");
        }
    }
    test.leaves_nothing()
}

fn bare_dev(bundle: BundleBuilder, keeps: impl Fn(&str) -> bool) -> BundleBuilder {
    bundle.edit(|config| {
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(|mount| mount["destination"].as_str().is_some_and(&keeps));
        }
    })
}

fn plant(bundle: &Bundle, path: &str, target: &str) -> Outcome {
    let path = bundle.path(path);
    if target.is_empty() { mkfifo(&path) } else { Ok(symlink(target, path)?) }
}

fn set_terminal(bundle: &Bundle, terminal: bool) -> Outcome {
    let mut config: testkit::Value = serde_json_from(&bundle.config())?;
    config["process"]["terminal"] = json!(terminal);
    Ok(fs::write(bundle.config(), config.to_string())?)
}

fn serde_json_from(path: &str) -> testkit::Fallible<testkit::Value> {
    Ok(fs::read_to_string(path)?.parse()?)
}

/// CVE-2025-52881: a sysctl is written where the kernel keeps it, whatever the container has in that place.
fn mount_over_sysctls(test: &Test) -> Outcome {
    let fake = test.new_path("fake");
    fs::create_dir_all(format!("{fake}/ipv4"))?;
    fs::write(format!("{fake}/ipv4/ip_default_ttl"), "untouched")?;
    let mount = json!({"destination": "/proc/sys/net", "type": "bind", "source": fake, "options": ["bind"]});
    let bundle = test.bundle()?.set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}));
    let bundle = bundle.push("/mounts", mount).script("true").build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["inside /proc"])?;
    assert_eq!(fs::read_to_string(format!("{fake}/ipv4/ip_default_ttl"))?, "untouched");
    test.leaves_nothing()
}
