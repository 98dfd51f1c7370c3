//! Options of `checkpoint` and `restore` that say how it is to be done, and in what state the container is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use testkit::{
    Case, Container, Fallible, Outcome, Test, json, needs, pipe, pseudo_terminal, rt_only, wait_until,
};

use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken, numbers, stands_still};
use super::one_line;

const WHY: &str = "runc has no such option";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("checkpoint_leave_stopped", WHY, checkpoint_leave_stopped),
        rt_only("restore_leave_stopped", WHY, restore_leave_stopped),
        rt_only("paused_and_restored_paused", WHY, paused_and_restored_paused),
        rt_only("failed_restore_leave_stopped", WHY, failed_restore_leave_stopped),
        rt_only("sync", WHY, sync).needs(needs::strace),
        rt_only("one_criu", "runc starts three", one_criu).needs(needs::strace),
        rt_only("cpu_cap", WHY, cpu_cap),
        rt_only("criu_config", WHY, criu_config),
        rt_only("criu_config_of_the_container", "runc checks nothing", criu_config_of_the_container),
        rt_only("criu_config_of_the_machine", "runc knows one of them", criu_config_of_the_machine)
            .needs(needs::unshare),
        rt_only("inherit_fd", WHY, inherit_fd),
        rt_only("progress", "runc shows none", progress),
        rt_only("refused", WHY, refused),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn resumes(container: &Container<'_>) -> Outcome {
    assert_eq!(container.status()?, "paused");
    stands_still(&container.bundle, "/log")?;
    container.cmd("resume", &[]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

/// The first half of a migration that can still be called off: images are written, and nothing has happened since.
fn checkpoint_leave_stopped(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-stopped"])?;
    let at_the_dump = numbers(&container.bundle, "/log").len();
    resumes(&container)?;
    container.delete()?;
    // The images are whole as well: from them it goes on where it stood then.
    let text: String = (1..=at_the_dump).map(|number| format!("{number}\n")).collect();
    container.bundle.write("/log", &text)?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

fn restore_leave_stopped(test: &Test) -> Outcome {
    let container = counting(test)?;
    for _ in 0..2 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        let before = numbers(&container.bundle, "/log");
        container.restore(&images, &["--leave-stopped"])?;
        assert_eq!(before, numbers(&container.bundle, "/log"), "none of its processes has run");
        resumes(&container)?;
    }
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    container.wait_for_status("stopped")
}

fn paused_and_restored_paused(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.cmd("pause", &[]).succeeds()?;
    container.checkpoint(&images, &["--leave-stopped"])?;
    assert_eq!(container.status()?, "paused");
    container.checkpoint(&test.new_path("images"), &[])?;
    container.restore(&images, &["--leave-stopped"])?;
    resumes(&container)
}

/// A pid file that cannot be written ends a container that stands still already.
fn failed_restore_leave_stopped(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let flags = ["--detach", "--leave-stopped", "--pid-file", "/nonexistent/pid", "--image-path", &images];
    let output = container.quiet("restore", &flags).fails()?;
    assert!(output.stderr.is_empty() || output.stderr.contains("pid"), "{output}");
    assert_eq!(container.status()?, "absent");
    test.leaves_nothing()
}

fn sync(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, trace) = (test.new_path("images"), test.new_path("trace"));
    let flags = ["--leave-running", "--sync", "--image-path", &images];
    container.cmd("checkpoint", &flags).under("strace", &["-e", "trace=fsync", "-o", &trace]).succeeds()?;
    let names = fs::read_dir(&images)?.filter_map(Result::ok).map(|entry| entry.file_name());
    let written = names.filter(|name| name.to_string_lossy().ends_with(".img")).count();
    let text = fs::read_to_string(&trace)?;
    let synced = text.lines().filter(|line| line.contains("fsync(") && line.ends_with("= 0")).count();
    assert!(written > 10 && synced > written, "{synced} of {written} images and their directory: {text}");
    counts_on(&container.bundle, "/log", 3)
}

/// Starting criu is what costs: questions and dump are one process' work.
fn one_criu(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, trace) = (test.new_path("images"), test.new_path("trace"));
    let flags = ["--leave-running", "--image-path", &images];
    let strace = ["-f", "-e", "trace=execve", "-o", &trace];
    container.cmd("checkpoint", &flags).under("strace", &strace).succeeds()?;
    let text = fs::read_to_string(&trace)?;
    let started = text.lines().filter(|line| line.contains("criu\", [") && line.ends_with("= 0")).count();
    assert_eq!(started, 1, "{text}");
    counts_on(&container.bundle, "/log", 3)
}

fn cpu_cap(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--cpu-cap", "all"])?;
    let image = format!("{images}/cpuinfo.img");
    assert!(fs::exists(&image)?);
    container.restore(&images, &["--cpu-cap", "cpu,ins"])?;
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()?;
    // Another processor's: the capabilities begin behind the magic number, the size and the first fields.
    let mut bytes = fs::read(&image)?;
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x7f);
    fs::write(&image, bytes)?;
    let restore = |flags: &[&str]| {
        let fixed = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
        container.quiet("restore", &[&fixed[..], flags].concat())
    };
    restore(&["--cpu-cap", "all"]).fails()?;
    assert_eq!(container.status()?, "absent");
    restore(&[]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)
}

/// A file of 2 MiB that is open and has no name: more than CRIU keeps if nobody says otherwise.
const GHOST: &str = "head -c 2097152 /dev/zero >/ghost; exec 3</ghost; rm /ghost; touch /ready; \
    while ! test -e /go; do usleep 10000; done; wc -c <&3 >/size; mv /size /done; while :; do sleep 1000; done";

fn criu_config(test: &Test) -> Outcome {
    let container = test.run_script(GHOST)?;
    wait_until("the ghost", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    let (images, file) = (test.new_path("images"), test.new_path("criu.conf"));
    let words = |path: &str| -> Fallible<Vec<String>> {
        Ok(["--image-path", &images, "--criu-config", path].map(str::to_owned).to_vec())
    };
    let refused = |path: &str, expected: &[&str]| -> Outcome {
        let flags = words(path)?;
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        one_line(test, &container.cmd("checkpoint", &flags).fails()?, expected)
    };
    refused(&file, &["--criu-config", "no such file"])?;
    fs::write(&file, "ghost-limit 1M\n")?;
    refused(&file, &["criu dump failed"])?;
    fs::write(&file, "ghost-limit 4M\n")?;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666))?;
    refused(&file, &["--criu-config", "belong to root"])?;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    container.checkpoint(&images, &["--criu-config", &file])?;
    container.restore(&images, &[])?;
    container.bundle.write("/go", "")?;
    wait_until("the size", || !container.bundle.read("/done").is_empty())?;
    assert_eq!(container.bundle.read("/done").trim(), "2097152");
    Ok(())
}

/// The annotation names a file that is as hard to change as what root runs, or none.
fn criu_config_of_the_container(test: &Test) -> Outcome {
    let with_ghost = |annotation: &str| -> Fallible<Container<'_>> {
        let builder =
            test.bundle()?.script(GHOST).set("/annotations", json!({"org.criu.config": annotation}));
        let container = test.container(&builder.build()?);
        container.run(&[])?;
        wait_until("the ghost", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
        Ok(container)
    };
    let refused = |container: &Container<'_>, words: &[&str]| -> Outcome {
        let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
        one_line(test, &output, words)?;
        assert_eq!(container.status()?, "running");
        Ok(())
    };
    refused(&with_ghost("criu.conf")?, &["annotations", "org.criu.config", "absolute path"])?;
    refused(&with_ghost("")?, &["[ghost-file]"])?;
    let directory = test.new_path("configuration");
    fs::create_dir(&directory)?;
    let file = format!("{directory}/criu.conf");
    let container = with_ghost(&file)?;
    refused(&container, &["org.criu.config", &file, "no such file"])?;
    fs::write(&file, "ghost-limit 4M\n")?;
    for (path, mode, right) in [(&file, 0o664, 0o644), (&directory, 0o777, 0o755)] {
        fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
        refused(&container, &["org.criu.config", path, "must belong to root"])?;
        fs::set_permissions(path, PermissionsExt::from_mode(right))?;
    }
    std::os::unix::fs::chown(&directory, Some(1000), None)?;
    refused(&container, &["org.criu.config", &directory, "must belong to root"])?;
    std::os::unix::fs::chown(&directory, Some(0), None)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    fs::remove_file(&file)?;
    let flags = ["--detach", "--image-path", &images];
    one_line(test, &container.quiet("restore", &flags).fails()?, &["org.criu.config", "no such file"])?;
    fs::write(&file, "")?;
    container.restore(&images, &[]).map(drop)
}

/// `/etc/criu/rt.conf`, or else runc's, and nothing of either for a container that has its own.
fn criu_config_of_the_machine(test: &Test) -> Outcome {
    let checkpoint = |container: &Container<'_>, files: &[(&str, &str)]| -> Fallible<testkit::Output> {
        let etc = test.new_path("etc");
        let write = |(name, limit): &(&str, &str)| format!("&& echo ghost-limit {limit} >{etc}/criu/{name}");
        let written: String = files.iter().map(write).collect();
        let setup = format!("cp -a /etc {etc} && mkdir -p {etc}/criu {written} && mount --bind {etc} /etc");
        let images = test.new_path("images");
        let flags = ["--image-path", images.as_str(), "--leave-running"];
        container.cmd("checkpoint", &flags).in_private_mounts(&setup).output()
    };
    let container = test.run_script(GHOST)?;
    wait_until("the ghost", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    for (files, works) in [
        (&[("runc.conf", "4M")][..], true),
        (&[("rt.conf", "4M"), ("runc.conf", "1M")], true),
        (&[("rt.conf", "1M"), ("runc.conf", "4M")], false),
        (&[], false),
    ] {
        let output = checkpoint(&container, files)?;
        assert_eq!(output.code == 0, works, "{files:?}: {output}");
        assert!(works || output.stderr.contains("[ghost-file]"), "{output}");
    }
    Ok(())
}

/// A pipe to somebody outside, that is no stdio: whoever restores says what stands for it.
fn inherit_fd(test: &Test) -> Outcome {
    const THIRD: &str = "exec 3>&1 >/dev/null";
    let script = "i=0; while :; do i=$((i+1)); echo $i >&3; echo $i >>/log; usleep 10000; done";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let (mut reader, writer) = pipe()?;
    let flags = ["--detach", "--preserve-fds", "1"];
    container.quiet("run", &flags).stdout(writer).after_shell(THIRD).succeeds()?;
    reader.expect("1\n2\n3\n")?;
    let link = fs::read_link(format!("/proc/{}/fd/3", container.pid()?))?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let so_far = numbers(&container.bundle, "/log").len();
    let (mut reader, writer) = pipe()?;
    let named = format!("fd[3]:{}", link.display());
    let flags = ["--detach", "--image-path", &images, "--inherit-fd", &named];
    container.quiet("restore", &flags).stdout(writer).after_shell(THIRD).succeeds()?;
    reader.expect(&format!("\n{}\n{}\n", so_far + 3, so_far + 4))?;
    is_unbroken(&container.bundle, "/log")
}

/// A line on the terminal when it takes long, and nothing at all when it does not.
fn progress(test: &Test) -> Outcome {
    let container = counting(test)?;
    // With a tar that takes its time: CRIU runs it for each tmpfs, and a portable checkpoint leaves none out.
    let slow = test.new_path("slow");
    fs::create_dir(&slow)?;
    fs::write(format!("{slow}/tar"), "#!/bin/sh\nsleep 2\nexec /bin/tar \"$@\"\n")?;
    fs::set_permissions(format!("{slow}/tar"), PermissionsExt::from_mode(0o755))?;
    let path = std::env::var("PATH")?;
    let shown = |path: &str, images: &str| -> Fallible<testkit::Console> {
        let (console, terminal) = pseudo_terminal()?;
        let flags = ["--leave-running", "--portable", "--image-path", images];
        container.cmd("checkpoint", &flags).env("PATH", path).terminal(terminal).succeeds()?;
        Ok(console)
    };
    let since = Instant::now();
    let mut console = shown(&path, &test.new_path("images"))?;
    // A machine may be too slow for a brief one.
    if since.elapsed() < Duration::from_secs(1) && console.expect("checkpoint").is_ok() {
        return Err("a brief checkpoint has said something".into());
    }
    let mut console = shown(&format!("{slow}:{path}"), &test.new_path("images"))?;
    console.expect("checkpoint: ")?;
    console.expect(" s\r\u{1b}[K")?;
    counts_on(&container.bundle, "/log", 3)
}

fn refused(test: &Test) -> Outcome {
    let container = counting(test)?;
    let checkpoint: [(&[&str], &[&str]); 6] = [
        (&["--leave-running", "--leave-stopped"], &["--leave-stopped", "exclude"]),
        (&["--pre-dump", "--leave-stopped"], &["--leave-stopped", "exclude"]),
        (&["--cpu-cap", "everything"], &["--cpu-cap", "fpu"]),
        (&["--tls"], &["--tls", "--page-server"]),
        (&["--tls-key", "/etc/passwd"], &["--tls-key", "--tls"]),
        (
            &["--page-server", "127.0.0.1:9", "--tls", "--tls-cert", "/nonexistent"],
            &["--tls-cert /nonexistent", "no such file"],
        ),
    ];
    for (flags, words) in checkpoint {
        let images = test.new_path("images");
        let output = container.cmd("checkpoint", &[&["--image-path", &images], flags].concat()).fails()?;
        one_line(test, &output, words)?;
        assert_eq!(container.status()?, "running", "{flags:?}");
    }
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let restore: [(&[&str], &[&str]); 4] = [
        (&["--inherit-fd", "3"], &["--inherit-fd", "fd[N]"]),
        (&["--inherit-fd", "fd[3]"], &["--inherit-fd", "fd[N]"]),
        (&["--inherit-fd", "fd[-1]:x"], &["--inherit-fd", "fd[N]"]),
        (&["--inherit-fd", "fd[77]:pipe:[1]"], &["--inherit-fd", "bad file descriptor"]),
    ];
    for (flags, words) in restore {
        let fixed = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
        one_line(test, &container.cmd("restore", &[&fixed[..], flags].concat()).fails()?, words)?;
        assert_eq!(container.status()?, "absent", "{flags:?}");
    }
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}
