//! TCP inside a container: what listens goes on listening; what is connected needs `--tcp-established`.
//!
//! Each case runs in a network namespace of the container's own, and in one that somebody else has made and that
//! outlives the container, as engines do it.

use testkit::{Case, Container, Fallible, NetworkNamespace, Outcome, Test, both, needs, rt_only, wait_until};

use super::counter::{counts_on, is_unbroken};
use super::one_line;

/// A pipeline through a connection over loopback: each number crosses it once.
///
/// The listening side reads from a FIFO that nobody writes: at the end of its input it would close the connection.
pub(super) const TALKERS: &str = "mkfifo /quiet; nc -l -p 5000 0<>/quiet | while read n; do echo $n >>/log; done & \
    until netstat -ltn | grep -q :5000; do usleep 10000; done; \
    (i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done) | nc 127.0.0.1 5000";

/// Its stdin never ends: at the end of its own, nc hangs up on a peer that has not said anything yet.
const LISTENER: &str = "mkfifo /quiet; nc -l -p 5000 0<>/quiet >/heard; sleep 1000";

const LOOPBACK_DOWN: &str = "runc restores an empty network namespace, in which even loopback is down";

pub(crate) fn cases() -> Vec<Case> {
    let dumps: [Case; 6] = [
        rt_only("listening", LOOPBACK_DOWN, |test| listening(&own(test, LISTENER)?)),
        both("listening_in_a_given_namespace", |test| given(test, LISTENER, listening)),
        rt_only("established", LOOPBACK_DOWN, |test| established(&own(test, TALKERS)?)),
        both("established_in_a_given_namespace", |test| given(test, TALKERS, established)),
        both("established_left_running", |test| established_left_running(&own(test, TALKERS)?)),
        both("established_without_the_flag", |test| established_without_the_flag(&own(test, TALKERS)?)),
    ];
    let dumps = dumps
        .into_iter()
        .map(|case| case.needs(needs::criu_for_tcp).needs(needs::iptables).needs(needs::iproute2));
    std::iter::once(both("loopback_is_up", loopback_is_up)).chain(dumps).collect()
}

fn loopback_is_up(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.args(&["ip", "addr", "show", "lo"]).build()?);
    let output = container.run_foreground(&[]).succeeds()?;
    assert!(output.stdout.contains("UP") && output.stdout.contains("127.0.0.1/8"), "{output}");
    Ok(())
}

/// The script in a network namespace of its own.
fn own<'test>(test: &'test Test, script: &str) -> Fallible<Container<'test>> {
    test.run_script(script)
}

/// The script in a network namespace given by path, for `body`.
fn given(test: &Test, script: &str, body: fn(&Container<'_>) -> Outcome) -> Outcome {
    let network = NetworkNamespace::create(&test.new_id())?;
    let bundle = test.bundle()?.namespace("network", &network.path());
    let container = test.container(&bundle.script(script).build()?);
    container.run(&[])?;
    body(&container)?;
    container.delete()
}

fn listening(container: &Container<'_>) -> Outcome {
    let listens = || {
        container.exec(&[], &["netstat", "-ltn"]).output().is_ok_and(|output| output.stdout.contains(":5000"))
    };
    wait_until("a listening socket", listens)?;
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    wait_until("a listening socket after the restore", listens)?;
    container.exec(&[], &["sh", "-c", "echo hello | nc 127.0.0.1 5000"]).succeeds()?;
    wait_until("the word sent", || container.bundle.read("/heard") == "hello\n")
}

fn established(container: &Container<'_>) -> Outcome {
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..2 {
        let images = container.test.new_path("images");
        container.checkpoint(&images, &["--tcp-established"])?;
        container.restore(&images, &["--tcp-established"])?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")
}

fn established_left_running(container: &Container<'_>) -> Outcome {
    counts_on(&container.bundle, "/log", 3)?;
    container.checkpoint(&container.test.new_path("images"), &["--tcp-established", "--leave-running"])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

fn established_without_the_flag(container: &Container<'_>) -> Outcome {
    counts_on(&container.bundle, "/log", 3)?;
    let images = container.test.new_path("images");
    let output = container.cmd("checkpoint", &["--image-path", &images]).fails()?;
    one_line(container.test, &output, &["tcp", "--tcp-established"])?;
    assert_eq!(container.status()?, "running");
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}
