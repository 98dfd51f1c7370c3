//! The options that let CRIU do what it would refuse, or do it in another way: each with something that needs it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use testkit::{
    Case, Container, Fallible, Outcome, Test, both, json, needs, pseudo_terminal, rt_only, wait_until,
};

use super::checkpoint::counting;
use super::counter::{COUNTER, counts_on, is_unbroken, numbers};
use super::diagnosis::{holding, would_fail};
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    const OURS: &str = "runc 1.1 has no such option";
    [
        rt_only("cgroup_modes", "runc 1.1 makes other hierarchies again", cgroup_modes),
        rt_only("empty_network", "in runc's loopback is down", empty_network),
        rt_only("terminal_of_the_caller", "runc cannot dump it", terminal_of_the_caller),
        rt_only("unlinked_name", OURS, unlinked_name),
        rt_only("connection_in_flight", OURS, connection_in_flight)
            .needs(needs::criu_for_tcp)
            .needs(needs::iptables)
            .needs(needs::c_compiler),
        rt_only("network_locks", OURS, network_locks).needs(needs::criu_for_tcp).needs(needs::iptables),
        rt_only("mount_of_the_outside", OURS, mount_of_the_outside),
        rt_only("file_modes", OURS, file_modes),
        rt_only("older_ways", OURS, older_ways),
        both("images_that_are_used_up", images_that_are_used_up),
        rt_only("personality", "runc loses it", personality),
        rt_only("no_subreaper", "its orphans are nobody's", no_subreaper),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn cycle(container: &Container<'_>, dump: &[&str], restore: &[&str]) -> Outcome {
    let images = container.test.new_path("images");
    container.checkpoint(&images, dump)?;
    container.restore(&images, restore).map(drop)
}

fn is_there(container: &Container<'_>, file: &str) -> Outcome {
    wait_until(file, || fs::exists(container.bundle.path(file)).is_ok_and(|yes| yes))
}

fn cgroup_modes(test: &Test) -> Outcome {
    let container = counting(test)?;
    for (mode, restored) in [("soft", "soft"), ("full", "full"), ("ignore", "ignore"), ("strict", "soft")] {
        let images = test.new_path("images");
        container.checkpoint(&images, &["--manage-cgroups-mode", mode])?;
        if mode == "strict" {
            let flags = ["--detach", "--manage-cgroups-mode", mode, "--image-path", &images, "--bundle"];
            let restore = container.cmd("restore", &[&flags[..], &[container.bundle.directory()]].concat());
            one_line(test, &restore.fails()?, &["strict", "soft, full or ignore"])?;
            test.leaves_nothing()?;
        }
        container.restore(&images, &["--manage-cgroups-mode", restored])?;
        counts_on(&container.bundle, "/log", 3)?;
        let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
        assert!(own.contains(&container.id), "{mode}: {own}");
        container.cmd("pause", &[]).succeeds()?;
        container.cmd("resume", &[]).succeeds()?;
    }
    is_unbroken(&container.bundle, "/log")?;
    container.delete()?;
    test.leaves_nothing()
}

/// What was in it is somebody else's business: a new one has loopback, and nothing besides.
fn empty_network(test: &Test) -> Outcome {
    let container = counting(test)?;
    let address = |words: &[&str]| container.exec(&[], &[&["ip", "addr"], words].concat()).succeeds();
    container.exec(&[], &["true"]).succeeds()?;
    cycle(&container, &["--empty-ns", "network"], &["--empty-ns", "network"])?;
    counts_on(&container.bundle, "/log", 3)?;
    let seen = address(&[])?.stdout;
    assert!(seen.contains("127.0.0.1/8") && !seen.contains("2: "), "{seen}");
    is_unbroken(&container.bundle, "/log")
}

/// A container without a terminal of its own, on that of who has started it: whoever restores it lends his.
fn terminal_of_the_caller(test: &Test) -> Outcome {
    let script = "i=0; while :; do i=$((i+1)); echo $i; echo $i >>/log; usleep 10000; done";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let bundle = ["--detach", "--bundle", container.bundle.directory()];
    let (mut console, terminal) = pseudo_terminal()?;
    container.cmd("run", &bundle).terminal(terminal).succeeds()?;
    console.expect("1\r\n2\r\n3\r\n")?;
    for _ in 0..3 {
        assert_eq!(would_fail(&container, &["--shell-job"])?, Vec::<testkit::Value>::new());
        let images = test.new_path("images");
        container.checkpoint(&images, &["--shell-job"])?;
        let so_far = numbers(&container.bundle, "/log").len();
        let flags = [&bundle[..], &["--shell-job", "--image-path", &images]].concat();
        let output = container.cmd("restore", &flags).after_shell("exec </dev/null >/dev/null").fails()?;
        one_line(test, &output, &["stdin was the terminal /dev/pts/", "on a terminal"])?;
        let (new_console, terminal) = pseudo_terminal()?;
        console = new_console;
        container.cmd("restore", &flags).terminal(terminal).succeeds()?;
        console.expect(&format!("\n{}\r\n{}\r\n", so_far + 3, so_far + 4))?;
    }
    is_unbroken(&container.bundle, "/log")
}

/// An open file that has lost the name by which it was opened, and has another.
fn unlinked_name(test: &Test) -> Outcome {
    let script = "echo text >/name; ln /name /other; exec 3</name; rm /name; touch /ready; \
        while ! test -e /go; do usleep 10000; done; cat <&3 >/said; mv /said /done; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    is_there(&container, "/ready")?;
    cycle(&container, &["--link-remap"], &[])?;
    container.bundle.write("/go", "")?;
    is_there(&container, "/done")?;
    assert_eq!(
        (container.bundle.read("/done").as_str(), container.bundle.read("/other").as_str()),
        ("text\n", "text\n")
    );
    let names = fs::read_dir(container.bundle.path("/"))?.flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("link_remap")).collect();
    assert!(left.is_empty(), "{left:?} is left");
    Ok(())
}

fn connection_in_flight(test: &Test) -> Outcome {
    let container = holding(test, test.bundle()?, &["waiting"])?;
    let flags = ["--tcp-established", "--tcp-skip-in-flight"];
    assert_eq!(would_fail(&container, &flags)?, Vec::<testkit::Value>::new());
    cycle(&container, &flags, &flags)?;
    let listening = container.exec(&[], &["netstat", "-ltn"]).succeeds()?.stdout;
    assert!(listening.contains(":5000"), "{listening}");
    Ok(())
}

/// A connection over loopback outlives each way in which packets are held back.
fn network_locks(test: &Test) -> Outcome {
    let container = test.run_script(super::tcp::TALKERS)?;
    counts_on(&container.bundle, "/log", 3)?;
    for method in ["iptables", "nftables", "skip"] {
        let flags = ["--tcp-established", "--network-lock", method];
        if method == "nftables" && needs::nftables().is_err() {
            continue;
        }
        container.checkpoint(&test.new_path("images"), &[&flags[..], &["--leave-running"]].concat())?;
        counts_on(&container.bundle, "/log", 3)?;
        cycle(&container, &flags, &flags)
            .map_err(|e| format!("{method}: {}", e.message().unwrap_or_default()))?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")
}

/// A mount of a type that CRIU does not know, made by the container itself: the restore gets something else for it.
fn mount_of_the_outside(test: &Test) -> Outcome {
    let script = format!("mkdir /a; mount -t ramfs none /a; touch /ready; {SLEEPER}");
    let container = test.container(&test.bundle()?.capability("CAP_SYS_ADMIN").script(&script).build()?);
    container.run(&[])?;
    is_there(&container, "/ready")?;
    let volume = test.new_path("volume");
    fs::create_dir(&volume)?;
    fs::write(format!("{volume}/file"), "text")?;
    let named = format!("mnt[mine]:{volume}");
    cycle(&container, &["--external", "mnt[/a]:mine"], &["--external", &named])?;
    assert_eq!(container.exec(&[], &["cat", "/a/file"]).succeeds()?.stdout, "text");
    Ok(())
}

fn file_modes(test: &Test) -> Outcome {
    let script =
        "echo text >/open; chmod 644 /open; exec 3</open; touch /ready; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    is_there(&container, "/ready")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    fs::set_permissions(container.bundle.path("/open"), PermissionsExt::from_mode(0o600))?;
    container.quiet("restore", &["--detach", "--image-path", &images]).fails()?;
    container.restore(&images, &["--skip-file-rwx-check"]).map(drop)
}

/// Both do something on kernels that are older than any here; on this one they must do no harm.
fn older_ways(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    fs::create_dir(&volume)?;
    let bind = json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["bind", "ro"]});
    let container = test.container(&test.bundle()?.push("/mounts", bind).script(COUNTER).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let mounts =
        || container.exec(&[], &["sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort"]).succeeds();
    let before = mounts()?.stdout;
    for flag in ["--mntns-compat-mode", "--weak-sysctls"] {
        cycle(&container, &[], &[flag])?;
        counts_on(&container.bundle, "/log", 3)?;
        super::same(flag, &before, &mounts()?.stdout)?;
    }
    is_unbroken(&container.bundle, "/log")
}

/// What has been read is taken out of the images.
fn images_that_are_used_up(test: &Test) -> Outcome {
    let script = "x=$(head -c 12582912 /dev/urandom | base64 | tr -d '\\n'); echo \"$x\" | md5sum >/before; touch /ready; \
        while ! test -e /go; do usleep 10000; done; echo \"$x\" | md5sum >/after; mv /after /done; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    is_there(&container, "/ready")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let taken = || -> Fallible<u64> { Ok(fs::metadata(format!("{images}/pages-1.img"))?.blocks() * 512) };
    let before = taken()?;
    assert!(before > 16 << 20, "{before}");
    container.restore(&images, &["--auto-dedup"])?;
    assert!(taken()? * 10 < before, "{} of {before} bytes are left", taken()?);
    container.bundle.write("/go", "")?;
    is_there(&container, "/done")?;
    assert_eq!(container.bundle.read("/before"), container.bundle.read("/done"));
    Ok(())
}

/// A program that asks what machine this is gets the answer that it got before.
fn personality(test: &Test) -> Outcome {
    let script = "while :; do uname -m >/seen.new; mv /seen.new /seen; usleep 10000; done";
    let builder = test.bundle()?.set("/linux/personality", json!({"domain": "LINUX32"})).script(script);
    let container = test.container(&builder.build()?);
    container.run(&[])?;
    is_there(&container, "/seen")?;
    let before = container.bundle.read("/seen");
    assert_ne!(before.trim(), std::env::consts::ARCH);
    for _ in 0..2 {
        cycle(&container, &[], &[])?;
        fs::remove_file(container.bundle.path("/seen"))?;
        is_there(&container, "/seen")?;
        assert_eq!(container.bundle.read("/seen"), before);
    }
    Ok(())
}

fn no_subreaper(test: &Test) -> Outcome {
    let container = test.run_script("while ! test -e /go; do usleep 10000; done; exit 7")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let running = container.quiet("restore", &["--no-subreaper", "--image-path", &images]).spawn()?;
    container.wait_for_status("running")?;
    container.bundle.write("/go", "")?;
    assert_eq!(running.output()?.code, 7);
    test.leaves_nothing()
}
