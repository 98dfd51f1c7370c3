//! Containers that cannot be dumped: `checkpoint --check` says so and why, the checkpoint then fails for that reason, names what is
//! in the way and what to do, and the container runs on.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener};

use testkit::{
    BundleBuilder, Case, Cmd, Container, Fallible, Outcome, Test, Value, both, json, needs, pseudo_terminal,
    rt_only, wait_until,
};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    const OURS: &str = "the option is rt's";
    let held: [Case; 15] = [
        both("io_uring", |test| held(test, "io-uring", &["io-uring", "[io_uring]", "seccomp"])),
        both("flock", |test| held(test, "flock", &["file-lock", "/held", "--file-locks"])),
        both("posix_lock", |test| held(test, "posix-lock", &["file-lock", "/held", "--file-locks"])),
        both("mptcp", |test| held(test, "mptcp", &["socket-protocol", "MPTCP", "GODEBUG"])),
        both("vsock", |test| held(test, "vsock", &["socket-family", "VSOCK", "close it"])),
        both("userfaultfd", |test| held(test, "userfaultfd", &["file-kind", "[userfaultfd]", "close it"])),
        both("deleted_mapping", |test| {
            held(test, "mapping", &["ghost-file", "/held of 2097152 bytes", "--ghost-limit 2097152"])
        }),
        both("unread_messages", |test| told(test, "unread", &["socket-unread", "(hold)", "try again"])),
        both("watched_deleted_file", watched_deleted_file),
        both("pending_trap", |test| told(test, "trap", &["process-state", "SIGTRAP", "try again"])),
        both("waiting_connection", waiting_connection).needs(needs::criu_for_tcp),
        both("nested_user_namespace", nested_user_namespace),
        both("unix_stream", unix_stream),
        both("unix_datagram", unix_datagram),
        both("unix_elsewhere", unix_elsewhere),
    ];
    let held = held.into_iter().map(|case| case.needs(needs::c_compiler));
    let more = [
        both("tcp_established", tcp_established).needs(needs::criu_for_tcp),
        both("ghost_file", ghost_file),
        both("link_remap", link_remap),
        both("file_replaced", file_replaced),
        both("file_covered", file_covered),
        rt_only("file_outside", "runc loses silently what exec started", file_outside),
        both("terminal_outside", terminal_outside),
        rt_only("second_terminal", "runc loses silently what exec started", second_terminal),
        both("traced", traced).needs(needs::strace),
        both("mount_of_unknown_type", mount_of_unknown_type),
        both("mount_without_its_root", mount_without_its_root),
        both("shared_memory_of_the_host", shared_memory_of_the_host).needs(needs::c_compiler),
        rt_only("iptables_missing", OURS, iptables_missing).needs(needs::criu_for_tcp).needs(needs::iptables),
        rt_only("tar_missing", OURS, tar_missing),
        rt_only("no_space", OURS, no_space).needs(needs::unshare),
        rt_only("page_server_gone", "runc lets CRIU fail", page_server_gone),
        rt_only("class_in_the_log", OURS, class_in_the_log),
    ];
    held.chain(more).map(|case| case.needs(needs::criu)).collect()
}

/// What `checkpoint --check` finds that would fail: class, object, cure.
pub(super) fn would_fail(container: &Container<'_>, flags: &[&str]) -> Fallible<Vec<Value>> {
    let images = container.test.new_path("images");
    let flags = [&["--check", "--format", "json", "--image-path", &images], flags].concat();
    let output = container.cmd("checkpoint", &flags).output()?;
    assert!(!std::fs::exists(&images)?, "a check writes nothing");
    let report: Value = serde_json::from_str(&output.stdout).map_err(|e| format!("{e}: {output}"))?;
    let findings = report["findings"].as_array().ok_or("no findings")?;
    let failures: Vec<Value> =
        findings.iter().filter(|one| one["verdict"] == "would-fail").cloned().collect();
    assert_eq!(
        (output.code, report["works"].as_bool()),
        (i32::from(!failures.is_empty()), Some(failures.is_empty())),
        "{output}"
    );
    Ok(failures)
}

/// The check foresees a failure of the class `words[0]`, and the checkpoint fails so; each names the object and the cure, the rest
/// of `words`. The container goes on, and the log is where the error says.
pub(super) fn fails_as_foreseen(container: &Container<'_>, flags: &[&str], words: &[&str]) -> Outcome {
    let test = container.test;
    if test.is_rt() {
        let failures = would_fail(container, flags)?;
        let found = failures.iter().find(|failure| failure["class"] == words[0]);
        let found = found.ok_or_else(|| format!("not foreseen: {} in {failures:?}", words[0]))?.to_string();
        let missing = words.iter().find(|word| !found.contains(**word));
        assert!(missing.is_none(), "{missing:?} is not in {found}");
    }
    fails(container, flags, words)
}

/// The checkpoint fails with the class `words[0]` and the rest of the words.
fn fails(container: &Container<'_>, flags: &[&str], words: &[&str]) -> Outcome {
    let test = container.test;
    let images = test.new_path("images");
    let output = container.cmd("checkpoint", &[&["--image-path", &images], flags].concat()).fails()?;
    let class = format!("[{}]", words[0]);
    let log = format!("{images}/dump.log");
    one_line(test, &output, &[&["criu dump failed", class.as_str(), log.as_str()], &words[1..]].concat())?;
    assert!(!test.is_rt() || std::fs::exists(log)?);
    assert_eq!(container.status()?, "running");
    container.exec(&[], &["true"]).succeeds().map(drop)
}

fn is_there(container: &Container<'_>, file: &str) -> Outcome {
    wait_until(file, || std::fs::exists(container.bundle.path(file)).is_ok_and(|yes| yes))
}

/// Puts the program `hold` into the bundle.
fn with_hold(bundle: BundleBuilder) -> Fallible<BundleBuilder> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/hold.c");
    Cmd::new("cc").args(["-static", "-O1", "-o", &bundle.path("/bin/hold"), source]).succeeds()?;
    Ok(bundle)
}

/// A container of that program, which holds something.
pub(super) fn holding<'test>(
    test: &'test Test,
    bundle: BundleBuilder,
    args: &[&str],
) -> Fallible<Container<'test>> {
    let container = test.container(&with_hold(bundle)?.args(&[&["hold"], args].concat()).build()?);
    container.run(&[])?;
    is_there(&container, "/ready")?;
    Ok(container)
}

fn held(test: &Test, what: &str, words: &[&str]) -> Outcome {
    fails_as_foreseen(&holding(test, test.bundle()?, &[what])?, &[], words)
}

/// What only CRIU can see, when the container stands still.
fn told(test: &Test, what: &str, words: &[&str]) -> Outcome {
    fails(&holding(test, test.bundle()?, &[what])?, &[], words)
}

fn watched_deleted_file(test: &Test) -> Outcome {
    let container = holding(test, test.bundle()?, &["watch", "/dev/shm/held"])?;
    fails(&container, &[], &["watch-path", "inode", "(hold)", "irmap-scan-path"])
}

fn waiting_connection(test: &Test) -> Outcome {
    let container = holding(test, test.bundle()?, &["waiting"])?;
    let words = ["tcp-in-flight", "127.0.0.1:5000", "(hold)", "--tcp-skip-in-flight"];
    fails_as_foreseen(&container, &["--tcp-established"], &words)
}

/// A bundle that has the directory at `source` as /outside.
fn with_volume(test: &Test, source: &str) -> Fallible<BundleBuilder> {
    let mount =
        json!({"destination": "/outside", "type": "bind", "source": source, "options": ["rbind", "rw"]});
    Ok(test.bundle()?.push("/mounts", mount))
}

/// A container in the host's network namespace that holds `socket` in that directory.
pub(super) fn holding_outside<'test>(test: &'test Test, dir: &str, what: &str) -> Fallible<Container<'test>> {
    let bundle = with_volume(test, dir)?.without_namespace("network");
    holding(test, bundle, &[what, "/outside/socket"])
}

fn unix_stream(test: &Test) -> Outcome {
    let dir = test.new_path("dir");
    std::fs::create_dir(&dir)?;
    let listener = UnixListener::bind(format!("{dir}/socket"))?;
    let words = ["unix-external-stream", "/socket (inode", "(hold)", "close it first"];
    let container = holding_outside(test, &dir, "unix-stream")?;
    let _accepted = listener.accept()?;
    fails_as_foreseen(&container, &[], &words)?;
    fails_as_foreseen(&container, &["--ext-unix-sk"], &words)
}

fn unix_datagram(test: &Test) -> Outcome {
    let dir = test.new_path("dir");
    std::fs::create_dir(&dir)?;
    let _socket = UnixDatagram::bind(format!("{dir}/socket"))?;
    let container = holding_outside(test, &dir, "unix-datagram")?;
    fails_as_foreseen(&container, &[], &["unix-external", "/socket (inode", "(hold)", "--ext-unix-sk"])?;
    if test.is_rt() {
        assert_eq!(would_fail(&container, &["--ext-unix-sk"])?, Vec::<Value>::new());
        container.checkpoint(&test.new_path("images"), &["--ext-unix-sk"])?;
    }
    Ok(())
}

fn unix_elsewhere(test: &Test) -> Outcome {
    let dir = test.new_path("dir");
    std::fs::create_dir(&dir)?;
    let _socket = UnixDatagram::bind(format!("{dir}/socket"))?;
    let container = holding(test, with_volume(test, &dir)?, &["unix-datagram", "/outside/socket"])?;
    fails_as_foreseen(&container, &["--ext-unix-sk"], &["unix-elsewhere", "(hold)", "close it first"])
}

fn nested_user_namespace(test: &Test) -> Outcome {
    let bundle = with_hold(test.bundle()?)?.script("hold user-namespace & wait").build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    is_there(&container, "/ready")?;
    fails_as_foreseen(&container, &[], &["namespace-nested", "user namespace of process", "end it"])
}

/// Both ends of a connection over loopback.
pub(super) const CONNECTED: &str = "mkfifo /quiet; nc -l -p 5000 0<>/quiet & until netstat -ltn | grep -q :5000; do usleep 10000; done; \
    nc 127.0.0.1 5000 0<>/quiet & until netstat -tn | grep -q ESTABLISHED; do usleep 10000; done; touch /ready; wait";

fn connected(test: &Test) -> Fallible<Container<'_>> {
    let container = test.run_script(CONNECTED)?;
    is_there(&container, "/ready")?;
    Ok(container)
}

fn tcp_established(test: &Test) -> Outcome {
    let container = connected(test)?;
    fails_as_foreseen(&container, &[], &["tcp-established", "127.0.0.1:5000", "(nc)", "--tcp-established"])
}

fn iptables_missing(test: &Test) -> Outcome {
    let container = connected(test)?;
    // Only what else CRIU may start.
    let tools = test.new_path("tools");
    std::fs::create_dir(&tools)?;
    for name in ["tar", "ip", "sh"] {
        let path = Cmd::new("sh").args(["-c", &format!("command -v {name}")]).succeeds()?.stdout;
        std::os::unix::fs::symlink(path.trim(), format!("{tools}/{name}"))?;
    }
    let flags = ["--tcp-established", "--network-lock", "iptables"];
    let words = ["iptables-missing", "tables-restore", "install iptables"];
    let images = test.new_path("images");
    let checkpoint = |more: &[&str]| {
        container
            .cmd("checkpoint", &[&["--image-path", &images], &flags[..], more].concat())
            .env("PATH", &tools)
    };
    let output = checkpoint(&["--check"]).fails()?;
    assert!(words.iter().all(|word| output.stdout.contains(word)), "{output}");
    one_line(test, &checkpoint(&[]).fails()?, &words)?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn ghost_file(test: &Test) -> Outcome {
    let script = "exec 3<>/big; dd if=/dev/zero of=/big bs=1M count=3 conv=notrunc; rm /big; touch /ready; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    is_there(&container, "/ready")?;
    fails_as_foreseen(
        &container,
        &[],
        &["ghost-file", "/big of 3145728 bytes", "(sh)", "--ghost-limit 3145728"],
    )?;
    if test.is_rt() {
        assert_eq!(would_fail(&container, &["--ghost-limit", "3145728"])?, Vec::<Value>::new());
        container.checkpoint(&test.new_path("images"), &["--ghost-limit", "3145728"])?;
    }
    Ok(())
}

/// A container with an open file that has lost the name it was opened by, and has another.
fn unlinked(test: &Test) -> Fallible<Container<'_>> {
    let container = test.run_script(
        "echo text >/name; ln /name /other; exec 3</name; rm /name; touch /ready; while :; do sleep 1000; done",
    )?;
    is_there(&container, "/ready")?;
    Ok(container)
}

fn link_remap(test: &Test) -> Outcome {
    let container = unlinked(test)?;
    fails_as_foreseen(&container, &[], &["link-remap", "/name", "(sh)", "--link-remap"])
}

fn file_replaced(test: &Test) -> Outcome {
    let script = "mkdir /a; echo 1 >/a/file; exec 3</a/file; touch /ready; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    is_there(&container, "/ready")?;
    // Another file system is mounted where the file lies, with a file of that name.
    let (init, script) =
        (container.pid()?.to_string(), "PATH=/bin && mount -t tmpfs none /a && echo 2 >/a/file");
    Cmd::new("nsenter").args(["-t", &init, "-m", "/bin/sh", "-c", script]).succeeds()?;
    fails(&container, &[], &["file-replaced", "(sh)", "open it again"])
}

fn file_covered(test: &Test) -> Outcome {
    let script = "mount -t tmpfs none /a; exec 3>/a/file; mount -t tmpfs none /a";
    fails_as_foreseen(
        &mounting(test, script)?,
        &[],
        &["file-covered", "descriptor 3", "unmount what covers it"],
    )
}

fn file_outside(test: &Test) -> Outcome {
    let file = test.new_path("file");
    std::fs::write(&file, "text")?;
    let container = test.run_script(SLEEPER)?;
    container
        .exec(&["--detach", "--preserve-fds", "1"], &["sleep", "1000"])
        .after_shell(&format!("exec </dev/null >/dev/null 2>&1 3<{file}"))
        .succeeds()?;
    fails_as_foreseen(&container, &[], &["file-outside", &file, "descriptor 3", "--external file["])
}

fn terminal_outside(test: &Test) -> Outcome {
    let (_master, slave) = pseudo_terminal()?;
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let slave = std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd()))?;
    let command = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    command.after_shell(&format!("exec <{} >/dev/null 2>&1", slave.display())).succeeds()?;
    fails_as_foreseen(&container, &[], &["tty-outside", "/dev/pts/", "--console-socket"])
}

fn second_terminal(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.terminal().script(SLEEPER).build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let _first = socket.accept()?;
    let socket = test.console_socket()?;
    let flags = ["--tty", "--detach", "--console-socket", socket.path()];
    container.exec(&flags, &["sleep", "1000"]).succeeds()?;
    let _second = socket.accept()?;
    fails_as_foreseen(&container, &[], &["tty-second", "/dev/pts/1", "exec --tty"])
}

fn traced(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let pid = container.pid()?;
    let _tracer = Cmd::new("strace").args(["-qq", "-o", "/dev/null", "-p", &pid.to_string()]).spawn()?;
    let status = format!("/proc/{pid}/status");
    wait_until("a tracer", || {
        std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0"))
    })?;
    // CRIU tries for that long.
    let flags: &[&str] = if test.is_rt() { &["--timeout", "1"] } else { &[] };
    fails_as_foreseen(&container, flags, &["traced", "(strace)", "detach"])
}

/// A container that has mounted something, by a script.
fn mounting<'test>(test: &'test Test, script: &str) -> Fallible<Container<'test>> {
    let script = format!("mkdir /a /b; {script}; touch /ready; {SLEEPER}");
    let container = test.container(&test.bundle()?.capability("CAP_SYS_ADMIN").script(&script).build()?);
    container.run(&[])?;
    is_there(&container, "/ready")?;
    Ok(container)
}

fn mount_of_unknown_type(test: &Test) -> Outcome {
    let container = mounting(test, "mount -t ramfs none /a")?;
    fails_as_foreseen(&container, &[], &["mount-type", "/a (ramfs)", "--external mnt[/a]"])
}

fn mount_without_its_root(test: &Test) -> Outcome {
    let script = "mount -t tmpfs none /a; mkdir /a/sub; mount -o bind /a/sub /b; umount -l /a";
    let container = mounting(test, script)?;
    fails_as_foreseen(&container, &[], &["mount-outside", "/b (tmpfs)", "--external mnt[/b]"])
}

fn shared_memory_of_the_host(test: &Test) -> Outcome {
    let container = holding(test, test.bundle()?.without_namespace("ipc"), &["shared-memory"])?;
    fails_as_foreseen(&container, &[], &["ipc-outside", "(hold)", "ipc namespace"])
}

/// A tmpfs that holds something is packed.
fn tar_missing(test: &Test) -> Outcome {
    let container = test.run_script(&format!("echo kept >/dev/shm/file; touch /ready; {SLEEPER}"))?;
    is_there(&container, "/ready")?;
    let empty = test.new_path("tools");
    std::fs::create_dir(&empty)?;
    let images = test.new_path("images");
    let checkpoint = |flags: &[&str]| {
        container.cmd("checkpoint", &[&["--image-path", &images], flags].concat()).env("PATH", &empty)
    };
    let output = checkpoint(&["--check"]).succeeds()?;
    assert!(
        output.stdout.lines().any(|line| line.starts_with("warning") && line.contains("tar-missing")),
        "{output}"
    );
    one_line(test, &checkpoint(&[]).fails()?, &["[tar-missing]", "install tar"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn page_server_gone(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let flags = ["--page-server", "127.0.0.1:1"];
    fails(&container, &flags, &["page-server", "127.0.0.1:1: connection refused", "rt page-server"])
}

fn no_space(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let images = test.new_path("images");
    std::fs::create_dir(&images)?;
    let full = format!("mount -t tmpfs -o size=32k none {images}");
    let checkpoint = |flags: &[&str]| {
        container.cmd("checkpoint", &[&["--image-path", &images], flags].concat()).in_private_mounts(&full)
    };
    let output = checkpoint(&["--check"]).fails()?;
    assert!(["would fail", "no-space", &images].iter().all(|word| output.stdout.contains(word)), "{output}");
    one_line(
        test,
        &checkpoint(&[]).fails()?,
        &["[no-space]", "no space left on device", &format!("{images} (free some")],
    )?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn class_in_the_log(test: &Test) -> Outcome {
    let container = unlinked(test)?;
    let log = test.new_path("log");
    let words = [
        "--log",
        &log,
        "--log-format",
        "json",
        "checkpoint",
        "--image-path",
        &test.new_path("images"),
        &container.id,
    ];
    test.cmd(&words).fails()?;
    let object: Value = serde_json::from_str(&std::fs::read_to_string(&log)?)?;
    assert_eq!(object["class"], "link-remap");
    Ok(())
}
