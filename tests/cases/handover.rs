//! What a runtime hands over besides stdio: descriptors, listening sockets, pidfds, and the word that a container is ready.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use testkit::{Bundle, Case, Container, Fallible, Outcome, Test, both, needs, patience, rt_only};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("listen_fds", listen_fds),
        both("listen_fds_of_another_process", listen_fds_of_another_process),
        rt_only("missing_descriptor", "runc 1.1 words it in another way", missing_descriptor),
        rt_only("pidfd_socket", "runc 1.1 has no such option", pidfd_socket),
        rt_only("pidfd_socket_missing", "runc 1.1 has no such option", pidfd_socket_missing),
        both("notify_run_detached", notify_run_detached),
        both("notify_create_start", notify_create_start),
        rt_only(
            "notify_of_a_container_that_ends",
            "runc waits on its own zombie",
            notify_of_a_container_that_ends,
        ),
        rt_only("notify_foreground", "runc 1.1 waits for the end of process 0", notify_foreground),
        rt_only(
            "notify_survives_a_checkpoint",
            "runc 1.1 restores no such mount",
            notify_survives_a_checkpoint,
        )
        .needs(needs::criu),
    ]
}

fn listen_fds(test: &Test) -> Outcome {
    let script = "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd | wc -l";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let files = [test.new_path("a"), test.new_path("b")];
    for (file, text) in files.iter().zip(["one\n", "two\n"]) {
        std::fs::write(file, text)?;
    }
    let setup = format!("exec 3<{} 4<{} 5</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$", files[0], files[1]);
    let output = container.run_foreground(&["--preserve-fds", "1"]).after_shell(&setup).succeeds()?;
    // 0 to 4, and the directory that ls reads.
    assert_eq!(output.stdout, "1 1\none\ntwo\n6\n");
    Ok(())
}

fn listen_fds_of_another_process(test: &Test) -> Outcome {
    let script = "echo \"<$LISTEN_FDS>\"; ls /proc/self/fd | wc -l";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let setup = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=1";
    let output = container.run_foreground(&[]).after_shell(setup).succeeds()?;
    assert_eq!(output.stdout, "<>\n4\n");
    Ok(())
}

fn missing_descriptor(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script("true").build()?);
    let output =
        container.run_foreground(&["--preserve-fds", "2"]).after_shell("exec 3</dev/null").fails()?;
    one_line(test, &output, &["--preserve-fds 2", "descriptor 1 of them (4)"])?;
    let output = container.run_foreground(&["--preserve-fds", "4294967295"]).fails()?;
    one_line(test, &output, &["--preserve-fds"])?;
    test.leaves_nothing()
}

/// The process id behind a pidfd.
fn pid_behind(fd: &impl AsRawFd) -> Fallible<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).ok_or("no pidfd")?;
    Ok(pid.trim().parse()?)
}

fn pidfd_socket(test: &Test) -> Outcome {
    let socket = test.console_socket()?;
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.quiet("create", &["--pidfd-socket", socket.path()]).succeeds()?;
    let (word, fd) = socket.accept_descriptor()?;
    assert_eq!((word.as_str(), pid_behind(&fd)?), ("standard", container.pid()?));
    container.cmd("start", &[]).succeeds()?;
    let pid_file = test.new_path("pid");
    let flags = ["exec", "--detach", "--pid-file", &pid_file, "--pidfd-socket", socket.path(), &container.id];
    test.quiet(&flags).args(["sleep", "1000"]).succeeds()?;
    let (word, fd) = socket.accept_descriptor()?;
    assert_eq!(word, "setns");
    assert_eq!(pid_behind(&fd)?, std::fs::read_to_string(&pid_file)?.parse::<u64>()?);
    let other = test.container(&container.bundle);
    other.run(&["--pidfd-socket", socket.path()])?;
    assert_eq!(pid_behind(&socket.accept_descriptor()?.1)?, other.pid()?);
    Ok(())
}

fn pidfd_socket_missing(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let missing = test.new_path("nothing");
    let output = container
        .cmd("run", &["--pidfd-socket", &missing, "--bundle", container.bundle.directory()])
        .fails()?;
    one_line(test, &output, &["pidfd socket", &missing, "no such file"])?;
    test.leaves_nothing()
}

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(test: &Test) -> Fallible<Self> {
        let path = test.new_path("manager");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(patience()))?;
        Ok(Self { socket, path })
    }

    fn next(&self) -> Fallible<String> {
        let mut message = [0; 4096];
        let n = self.socket.recv(&mut message)?;
        Ok(String::from_utf8_lossy(&message[..n]).into_owned())
    }
}

/// A container that notes where it is to say that it is ready; busybox has no means to say it there.
fn service(test: &Test) -> Fallible<Bundle> {
    test.bundle()?.script("echo $NOTIFY_SOCKET >/socket; while :; do sleep 1000; done").build()
}

/// Says what a service says, through the socket as the container sees it.
fn say(container: &Container<'_>, text: &str) -> Outcome {
    testkit::wait_until("the program", || !container.bundle.read("/socket").is_empty())?;
    assert_eq!(container.bundle.read("/socket"), "/run/notify/notify.sock\n");
    let socket = format!("/proc/{}/root/run/notify/notify.sock", container.pid()?);
    UnixDatagram::unbound()?.send_to(text.as_bytes(), socket)?;
    Ok(())
}

fn told(manager: &Manager, container: &Container<'_>) -> Outcome {
    assert_eq!(manager.next()?, "READY=1\n");
    assert_eq!(manager.next()?, format!("MAINPID={}\n", container.pid()?));
    if container.test.is_rt() {
        // runc 1.1 does not wait for an answer.
        assert_eq!(manager.next()?, "BARRIER=1");
    }
    Ok(())
}

fn notify_run_detached(test: &Test) -> Outcome {
    let manager = Manager::new(test)?;
    let container = test.container(&service(test)?);
    let run = container.quiet("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.path).spawn()?;
    container.wait_for_status("running")?;
    say(&container, "STATUS=not yet")?;
    say(&container, "READY=1")?;
    told(&manager, &container)?;
    assert_eq!(run.output()?.code, 0);
    let seen =
        container.exec(&[], &["sh", "-c", "echo \"<$NOTIFY_SOCKET>\"; touch /run/notify/x"]).output()?;
    assert_eq!(seen.stdout, "<>\n");
    assert_ne!(seen.code, 0, "the directory is writable");
    Ok(())
}

fn notify_create_start(test: &Test) -> Outcome {
    let manager = Manager::new(test)?;
    let container = test.container(&service(test)?);
    container.quiet("create", &[]).env("NOTIFY_SOCKET", &manager.path).succeeds()?;
    let start = container.cmd("start", &[]).env("NOTIFY_SOCKET", &manager.path).spawn()?;
    say(&container, "READY=1")?;
    told(&manager, &container)?;
    assert_eq!(start.output()?.code, 0);
    Ok(())
}

fn notify_of_a_container_that_ends(test: &Test) -> Outcome {
    let manager = Manager::new(test)?;
    let container = test.container(&test.bundle()?.script("sleep 1; exit 3").build()?);
    container.quiet("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.path).succeeds()?;
    container.wait_for_status("stopped")
}

fn notify_foreground(test: &Test) -> Outcome {
    let manager = Manager::new(test)?;
    let container = test.container(&service(test)?);
    let run = container.run_foreground(&[]).env("NOTIFY_SOCKET", &manager.path).spawn()?;
    container.wait_for_status("running")?;
    say(&container, "READY=1")?;
    assert_eq!(manager.next()?, "READY=1\n");
    container.cmd("kill", &[]).arg("KILL").succeeds()?;
    assert_eq!(run.output()?.code, 137);
    // One that never says it.
    let silent = test.container(&test.bundle()?.script("sleep 1; exit 4").build()?);
    let run = silent.run_foreground(&[]).env("NOTIFY_SOCKET", &manager.path).spawn()?;
    assert_eq!(run.output()?.code, 4);
    test.leaves_nothing()
}

fn notify_survives_a_checkpoint(test: &Test) -> Outcome {
    let manager = Manager::new(test)?;
    let container = test.container(&service(test)?);
    container.quiet("create", &[]).env("NOTIFY_SOCKET", &manager.path).succeeds()?;
    container.cmd("start", &[]).succeeds()?;
    testkit::wait_until("the program", || !container.bundle.read("/socket").is_empty())?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    assert_eq!(container.exec(&[], &["ls", "/run/notify"]).succeeds()?.stdout, "");
    container.delete()?;
    test.leaves_nothing()
}
