//! What a restored container has kept of its files, mounts and terminals.

use std::fs;
use std::io::Write;

use testkit::{Case, Container, Fallible, Outcome, Test, both, json, needs, rt_only, wait_until};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{one_line, same};

const HOST_FILE: &str = "runc cannot dump a file of the host";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("log_that_has_grown", HOST_FILE, log_that_has_grown),
        rt_only("log_that_was_rotated", HOST_FILE, log_that_was_rotated),
        rt_only("fifo_of_the_host", HOST_FILE, fifo_of_the_host),
        both("null", null),
        both("window_size", window_size),
        rt_only("terminal_of_an_exec", "runc loses it silently", terminal_of_an_exec),
        rt_only("nested_binds", "runc 1.1 restores other mount options and cgroups", nested_binds),
        rt_only("mount_points_made_again", "runc 1.1 makes some of them", mount_points_made_again),
        both("propagation", propagation),
        both("overlay_root", overlay_root).needs(needs::unshare),
        both("files_of_many_kinds", files_of_many_kinds),
        both("many_processes", many_processes),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn cycle(container: &Container<'_>) -> Outcome {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

/// Counts on stdout and in /log.
const TALKER: &str = "i=0; while :; do i=$((i+1)); echo $i; echo $i >>/log; usleep 10000; done";

fn run_with<'test>(test: &'test Test, script: &str, redirection: &str) -> Fallible<Container<'test>> {
    let container = test.container(&test.bundle()?.script(script).build()?);
    let command = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    command.after_shell(&format!("exec </dev/null >/dev/null 2>&1; exec {redirection}")).succeeds()?;
    Ok(container)
}

/// Somebody else writes to the log as well, while the container is nowhere.
fn log_that_has_grown(test: &Test) -> Outcome {
    let file = test.new_path("output");
    let container = run_with(test, TALKER, &format!(">>{file} 2>&1"))?;
    counts_on(&container.bundle, "/log", 3)?;
    for round in 0..3 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        writeln!(fs::OpenOptions::new().append(true).open(&file)?, "moved {round}")?;
        let before = fs::read_to_string(&file)?;
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        let now = fs::read_to_string(&file)?;
        assert!(
            now.starts_with(&before) && now.len() > before.len(),
            "it goes on behind {before:?}: {now:?}"
        );
    }
    is_unbroken(&container.bundle, "/log")
}

/// A log that is somewhere else by now. What is not said is not guessed: whoever restores names another file.
fn log_that_was_rotated(test: &Test) -> Outcome {
    let file = test.new_path("output");
    let container = run_with(test, TALKER, &format!(">>{file}"))?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let dumped = fs::read_to_string(&file)?;
    fs::rename(&file, format!("{file}.1"))?;
    let flags = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
    let output = container.cmd("restore", &flags).after_shell("exec </dev/null >/dev/null").fails()?;
    one_line(test, &output, &["stdout", &file, "another file"])?;
    assert_eq!(container.status()?, "absent");
    let restore = container.cmd("restore", &flags).after_shell(&format!("exec </dev/null >{file}.2 2>&1"));
    restore.succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    assert!(!fs::exists(&file)? && fs::read_to_string(format!("{file}.1"))? == dumped);
    let written = fs::read_to_string(format!("{file}.2"))?;
    assert!(!written.is_empty());
    // From then on it is that one.
    cycle(&container)?;
    assert!(fs::read_to_string(format!("{file}.2"))?.len() > written.len());
    is_unbroken(&container.bundle, "/log")
}

fn fifo_of_the_host(test: &Test) -> Outcome {
    let fifo = test.new_path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )?;
    // Held open by us, so that the container's writes never fail.
    let held = fs::OpenOptions::new().read(true).write(true).open(&fifo)?;
    let container = run_with(test, TALKER, &format!(">{fifo} 2>&1"))?;
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..3 {
        cycle(&container)?;
    }
    drop(held);
    is_unbroken(&container.bundle, "/log")
}

fn null(test: &Test) -> Outcome {
    let container = run_with(test, TALKER, ">/dev/null")?;
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..3 {
        cycle(&container)?;
    }
    is_unbroken(&container.bundle, "/log")
}

fn window_size(test: &Test) -> Outcome {
    let script = "trap 'echo changed' WINCH; while read word; do stty size; done";
    let bundle = test.bundle()?.terminal().script(script);
    let bundle = bundle.set("/process/consoleSize", json!({"height": 33, "width": 77}));
    let container = test.container(&bundle.build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("x\n")?;
    console.expect("33 77")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let socket = test.console_socket()?;
    container.restore(&images, &["--console-socket", socket.path()])?;
    console = socket.accept()?;
    console.send("x\n")?;
    console.expect("33 77")
}

/// A terminal that `exec` has made has nobody at its other end after a restore: who is on it is hung up, and the container goes on.
fn terminal_of_an_exec(test: &Test) -> Outcome {
    let container = test.run_script(COUNTER)?;
    counts_on(&container.bundle, "/log", 3)?;
    let socket = test.console_socket()?;
    let flags = ["--detach", "--tty", "--console-socket", socket.path()];
    let script = "trap 'echo hangup >/said; exit' HUP; while :; do read word; echo \"<$word>\"; done";
    container.exec(&flags, &["sh", "-c", script]).succeeds()?;
    let mut console = socket.accept()?;
    console.send("one\n")?;
    console.expect("<one>")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    console.send("two\n")?;
    console.expect("<two>")?;
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    wait_until("the hangup", || container.bundle.read("/said") == "hangup\n")?;
    is_unbroken(&container.bundle, "/log")
}

fn bind(from: &str, to: &str, options: &[&str]) -> serde_json::Value {
    let options = [&["bind"], options].concat();
    json!({"source": from, "destination": to, "type": "bind", "options": options})
}

fn mounts(container: &Container<'_>) -> Fallible<String> {
    Ok(container.exec(&[], &["sh", "-c", "cut -d' ' -f4-7 /proc/self/mountinfo | sort"]).succeeds()?.stdout)
}

/// A directory with something in it.
fn source(test: &Test, text: &str) -> Fallible<String> {
    let directory = test.new_path("source");
    fs::create_dir_all(format!("{directory}/inner"))?;
    fs::write(format!("{directory}/text"), text)?;
    Ok(directory)
}

/// A bind in a bind, one on a single file, one in a tmpfs, one at the end of a link of the image.
fn nested_binds(test: &Test) -> Outcome {
    let (outer, inner) = (source(test, "outer\n")?, source(test, "inner\n")?);
    let builder = test
        .bundle()?
        .script(COUNTER)
        .push("/mounts", bind(&outer, "/outer", &["ro"]))
        .push("/mounts", bind(&inner, "/outer/inner", &["rw"]))
        .push("/mounts", bind(&format!("{outer}/text"), "/etc/single", &[]))
        .push("/mounts", json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"}))
        .push("/mounts", bind(&inner, "/scratch/deep/inner", &[]))
        .push("/mounts", bind(&outer, "/linked", &[]));
    fs::create_dir_all(builder.path("/real/place"))?;
    std::os::unix::fs::symlink("real/place", builder.path("/linked"))?;
    let container = test.container(&builder.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let look = || -> Fallible<String> {
        let script = "cat /outer/text /outer/inner/text /etc/single /scratch/deep/inner/text /linked/text; \
            touch /outer/x 2>/dev/null && echo writable; touch /outer/inner/x && echo fine";
        Ok(container.exec(&[], &["sh", "-c", script]).succeeds()?.stdout)
    };
    let (before, seen) = (mounts(&container)?, look()?);
    assert_eq!(seen, "outer\ninner\nouter\ninner\nouter\nfine\n");
    for _ in 0..2 {
        cycle(&container)?;
        same("mounts before (first) and after the restore", &before, &mounts(&container)?)?;
        assert_eq!(seen, look()?);
    }
    is_unbroken(&container.bundle, "/log")
}

/// A new copy of the image has none of the mount points that were made at the start: each comes back as what it has to be.
fn mount_points_made_again(test: &Test) -> Outcome {
    let outer = source(test, "outer\n")?;
    let builder = test
        .bundle()?
        .script(COUNTER)
        .push("/mounts", bind(&outer, "/made/directory", &[]))
        .push("/mounts", bind(&format!("{outer}/text"), "/made/file", &[]))
        .push("/mounts", json!({"destination": "/made/tmpfs", "type": "tmpfs", "source": "tmpfs"}));
    let container = test.container(&builder.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    fs::remove_dir_all(container.bundle.path("/made"))?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let kinds =
        container.exec(&[], &["sh", "-c", "cd /made; stat -c '%n %F' *; cat file"]).succeeds()?.stdout;
    assert_eq!(kinds, "directory directory\nfile regular file\ntmpfs directory\nouter\n");
    Ok(())
}

fn propagation(test: &Test) -> Outcome {
    let outer = source(test, "outer\n")?;
    let builder = test
        .bundle()?
        .script(COUNTER)
        .push("/mounts", bind(&outer, "/private", &["private"]))
        .push("/mounts", bind(&outer, "/slave", &["slave"]))
        .push(
            "/mounts",
            json!({"destination": "/shared", "type": "tmpfs", "source": "tmpfs", "options": ["shared"]}),
        );
    let container = test.container(&builder.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let shared = || -> Fallible<usize> { Ok(mounts(&container)?.matches(" shared:").count()) };
    let before = shared()?;
    assert!(before > 0);
    cycle(&container)?;
    assert_eq!(before, shared()?);
    Ok(())
}

/// Layers as engines use them, over tmpfs: some file systems cannot be an upper layer.
fn overlay_root(test: &Test) -> Outcome {
    let bundle = test.bundle()?.script(COUNTER).build()?;
    let (root, lower) = (bundle.path(""), test.new_path("lower"));
    let root = root.trim_end_matches('/');
    fs::rename(root, &lower)?;
    fs::create_dir(root)?;
    let layers = test.new_path("layers");
    fs::create_dir(&layers)?;
    let mount = format!(
        "mount -t tmpfs tmpfs {layers} && mkdir {layers}/upper {layers}/work && \
         mount -t overlay overlay -o lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work {root} && "
    );
    let (state, images) = (test.root(), test.new_path("images"));
    let container = test.container(&bundle);
    // $0 is the runtime.
    let life = format!(
        "run() {{ \"$rt\" --root {state} \"$@\" {id} </dev/null >/dev/null 2>&1; }}; rt=$0; \
         run run -d --bundle {directory}; sleep 0.3; for n in 1 2 3; do run checkpoint --image-path {images}$n; \
         run restore -d --bundle {directory} --image-path {images}$n; sleep 0.3; done; cat {root}/log",
        id = container.id,
        directory = bundle.directory(),
    );
    let command = container.cmd("delete", &["--force"]).in_private_mounts(&format!("{mount}{{ {life}; }}"));
    let output = command.succeeds()?.stdout;
    let counted: Vec<u64> = output.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(
        counted.len() > 20 && counted.iter().zip(1..).all(|(number, expected)| *number == expected),
        "{counted:?}"
    );
    Ok(())
}

/// Two hundred and one, of which one has a child that has ended and that it does not ask for.
fn many_processes(test: &Test) -> Outcome {
    let script = format!(
        "mkfifo /fifo; exec 3<>/fifo; (sleep 0 & exec cat <&3) & for i in $(seq 200); do cat <&3 & done; {COUNTER}"
    );
    let container = test.run_script(&script)?;
    counts_on(&container.bundle, "/log", 3)?;
    // Those that read, and their children that have ended, which no list of a cgroup has.
    let states = || -> Fallible<(usize, usize)> {
        let file = |path: String| fs::read_to_string(path).unwrap_or_default();
        let is_reader = |pid: &u64| file(format!("/proc/{pid}/stat")).contains("(cat)");
        let readers: Vec<u64> = container.pids()?.into_iter().filter(is_reader).collect();
        let children =
            readers.iter().map(|pid| file(format!("/proc/{pid}/task/{pid}/children"))).collect::<String>();
        let has_ended = |pid: &&str| file(format!("/proc/{pid}/stat")).contains(") Z ");
        Ok((readers.len(), children.split_whitespace().filter(has_ended).count()))
    };
    wait_until("all of them", || states().is_ok_and(|states| states == (201, 1)))?;
    cycle(&container)?;
    assert_eq!(states()?, (201, 1));
    is_unbroken(&container.bundle, "/log")
}

/// A FIFO, a listening unix socket, a directory and a deleted file, all open.
fn files_of_many_kinds(test: &Test) -> Outcome {
    let script = "mkfifo /fifo; exec 3<>/fifo 4</bin 5<>/scratch; echo hidden >&5; rm /scratch; \
        (nc -l -U /socket >/heard 2>/dev/null || true) & \
        i=0; while :; do i=$((i+1)); echo $i >&3; read n <&3; echo $n >>/log; usleep 10000; done";
    let container = test.run_script(script)?;
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..2 {
        cycle(&container)?;
    }
    let pid = container.pid()?;
    let deleted = fs::read_link(format!("/proc/{pid}/fd/5"))?.display().to_string();
    assert!(deleted.contains("scratch") && deleted.contains("deleted"), "{deleted}");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/fd/5"))?, "hidden\n");
    is_unbroken(&container.bundle, "/log")
}
