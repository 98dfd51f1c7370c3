//! Processes that a signal has stopped, through checkpoint and restore: on cgroup v1 with `rt`'s help (`checkpoint::stopped`), on
//! cgroup2 by CRIU alone.

use testkit::{Case, Cmd, Console, Container, Fallible, Outcome, Test, Value, needs, rt_only, wait_until};

use super::counter::{COUNTER, counts_on, is_unbroken, stands_still};
use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    const WHY: &str = "runc hangs on cgroup v1";
    [
        rt_only("three_cycles", WHY, three_cycles),
        rt_only("left_running", WHY, left_running),
        rt_only("many_and_all", WHY, many_and_all),
        rt_only("with_threads", WHY, with_threads).needs(needs::c_compiler),
        rt_only("in_a_paused_container", WHY, in_a_paused_container),
        rt_only("a_dump_that_fails", WHY, a_dump_that_fails),
        rt_only("with_a_signal_that_waits", WHY, with_a_signal_that_waits),
        rt_only("by_reading_the_terminal", WHY, by_reading_the_terminal),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// A container of two counters: the one that writes /second, whose process id is in /pid, is stopped.
fn half_stopped<'test>(test: &'test Test, signal: &str) -> Fallible<Container<'test>> {
    let container = test.container(&test.bundle()?.script(&two_counters()).build()?);
    container.run(&[])?;
    stop(&container, signal)?;
    Ok(container)
}

/// The same with a terminal and job control, which gives it a process group of its own: without one ^Z would not count.
fn half_stopped_job<'test>(test: &'test Test, signal: &str) -> Fallible<(Container<'test>, Console)> {
    let script = format!("set -m; {}", two_counters());
    let container = test.container(&test.bundle()?.terminal().script(&script).build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let console = socket.accept()?;
    stop(&container, signal)?;
    Ok((container, console))
}

fn two_counters() -> String {
    format!("({}) & echo $! >/pid; {COUNTER}", COUNTER.replace("/log", "/second"))
}

fn stop(container: &Container<'_>, signal: &str) -> Outcome {
    counts_on(&container.bundle, "/second", 3)?;
    counts_on(&container.bundle, "/log", 3)?;
    send(container, signal)?;
    is_stopped(container)
}

fn send(container: &Container<'_>, signal: &str) -> Outcome {
    container.exec(&[], &["sh", "-c", &format!("kill -{signal} $(cat /pid)")]).succeeds().map(drop)
}

/// What the container itself sees of the process' state (proc_pid_stat(5), field 3).
fn state(container: &Container<'_>) -> Fallible<String> {
    let text = container.exec(&[], &["sh", "-c", "cut -d' ' -f3 /proc/$(cat /pid)/stat"]).succeeds()?.stdout;
    Ok(text.trim().to_owned())
}

fn is_stopped(container: &Container<'_>) -> Outcome {
    wait_until("a stopped process", || state(container).is_ok_and(|state| state == "T"))?;
    stands_still(&container.bundle, "/second")
}

/// The other one counts on, and so does the stopped one when it is told to.
fn goes_on(container: &Container<'_>) -> Outcome {
    counts_on(&container.bundle, "/log", 3)?;
    send(container, "CONT")?;
    counts_on(&container.bundle, "/second", 3)?;
    is_unbroken(&container.bundle, "/second")?;
    is_unbroken(&container.bundle, "/log")
}

/// What `--check` says of processes' states.
fn found(container: &Container<'_>) -> Fallible<Vec<Value>> {
    let output = container.cmd("checkpoint", &["--check", "--format", "json"]).output()?;
    let report: Value = serde_json::from_str(&output.stdout).map_err(|e| format!("{e}: {output}"))?;
    let findings = report["findings"].as_array().ok_or("no findings")?.iter();
    Ok(findings.filter(|one| one["class"] == "process-state").cloned().collect())
}

fn three_cycles(test: &Test) -> Outcome {
    let container = half_stopped(test, "STOP")?;
    for _ in 0..3 {
        let found = found(&container)?;
        assert!(found.len() == 1 && found[0]["verdict"] == "ok", "{found:?}");
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        is_stopped(&container)?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    goes_on(&container)?;
    assert_eq!(found(&container)?, Vec::<Value>::new());
    Ok(())
}

fn left_running(test: &Test) -> Outcome {
    let container = half_stopped(test, "STOP")?;
    for _ in 0..3 {
        container.checkpoint(&test.new_path("images"), &["--leave-running"])?;
        is_stopped(&container)?;
    }
    goes_on(&container)
}

/// Many of them, and then all: init, too.
fn many_and_all(test: &Test) -> Outcome {
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & kill -STOP $!; done; ";
    let container = test.run_script(&format!("{script}{COUNTER}"))?;
    counts_on(&container.bundle, "/log", 3)?;
    let cycle = || {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[]).map(drop)
    };
    let stopped = || -> Fallible<usize> {
        let states =
            container.pids()?.into_iter().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")));
        Ok(states.flatten().filter(|stat| stat.contains(") T ")).count())
    };
    cycle()?;
    assert_eq!(stopped()?, 8);
    counts_on(&container.bundle, "/log", 3)?;
    let init = || container.pid().map(|pid| pid.to_string());
    Cmd::new("kill").args(["-STOP", &init()?]).succeeds()?;
    stands_still(&container.bundle, "/log")?;
    cycle()?;
    assert_eq!(stopped()?, 9);
    stands_still(&container.bundle, "/log")?;
    Cmd::new("kill").args(["-CONT", &init()?]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

const THREADS: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *count(void *file) {
    int fd = open(file, O_CREAT | O_APPEND | O_WRONLY, 0644);
    for (int i = 1; ; i++) { dprintf(fd, "%d\n", i); usleep(10000); }
}
int main(void) {
    static char *files[] = { "/one", "/two", "/second" };
    pthread_t thread;
    pid_t child = fork();
    if (child) {
        dprintf(open("/pid", O_CREAT | O_WRONLY, 0644), "%d\n", child);
        for (;;) pause();
    }
    setpgid(0, 0);
    for (int i = 0; i < 3; i++) pthread_create(&thread, 0, count, files[i]);
    for (;;) pause();
}
"#;

/// A signal stops all threads of a process; ^Z, too, in a process group that somebody of the session can bring back.
fn with_threads(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(&format!("/bin/threads & {COUNTER}")).build()?);
    container.bundle.write("/threads.c", THREADS)?;
    let (program, source) = (container.bundle.path("/bin/threads"), container.bundle.path("/threads.c"));
    Cmd::new("cc").args(["-static", "-pthread", "-o", &program, &source]).succeeds()?;
    container.run(&[])?;
    for signal in ["STOP", "TSTP"] {
        stop(&container, signal)?;
        container.checkpoint(&test.new_path("images"), &["--leave-running"])?;
        is_stopped(&container)?;
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        is_stopped(&container)?;
        ["/one", "/two"].into_iter().try_for_each(|file| stands_still(&container.bundle, file))?;
        goes_on(&container)?;
        for file in ["/one", "/two"] {
            counts_on(&container.bundle, file, 3)?;
            is_unbroken(&container.bundle, file)?;
        }
    }
    Ok(())
}

fn in_a_paused_container(test: &Test) -> Outcome {
    let container = half_stopped(test, "STOP")?;
    container.cmd("pause", &[]).succeeds()?;
    let found = found(&container)?;
    assert!(found.len() == 1 && found[0]["verdict"] == "ok", "{found:?}");
    container.checkpoint(&test.new_path("images"), &["--leave-stopped"])?;
    assert_eq!(container.status()?, "paused");
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &["--leave-stopped"])?;
    assert_eq!(container.status()?, "paused");
    stands_still(&container.bundle, "/log")?;
    container.cmd("resume", &[]).succeeds()?;
    is_stopped(&container)?;
    goes_on(&container)
}

/// A deleted file that is too long to be dumped.
fn a_dump_that_fails(test: &Test) -> Outcome {
    let ghost = "exec 7>/ghost; dd if=/dev/zero bs=1M count=2 >&7; rm /ghost";
    let container = test.run_script(&format!("{ghost}; {}", two_counters()))?;
    stop(&container, "STOP")?;
    for _ in 0..2 {
        let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
        one_line(test, &output, &["[ghost-file]"])?;
        is_stopped(&container)?;
    }
    goes_on(&container)
}

/// What pends while it is stopped reaches it at the restore, as `--check` says; not while CRIU works on it.
fn with_a_signal_that_waits(test: &Test) -> Outcome {
    // Not a shell, which now and then blocks all signals for a moment.
    let container = test.run_script(&format!("sleep 1000 & echo $! >/pid; {COUNTER}"))?;
    counts_on(&container.bundle, "/log", 3)?;
    send(&container, "STOP")?;
    is_stopped(&container)?;
    send(&container, "TERM")?;
    let found = found(&container)?;
    assert!(found.len() == 1 && found[0]["verdict"] == "warning", "{found:?}");
    container.checkpoint(&test.new_path("images"), &["--leave-running"])?;
    is_stopped(&container)?;
    send(&container, "CONT")?;
    wait_until("its end", || {
        container.exec(&[], &["sh", "-c", "kill -0 $(cat /pid)"]).output().is_ok_and(|o| o.code != 0)
    })
}

/// A signal that CRIU does not know as one that stops (CRIU 4.2).
fn by_reading_the_terminal(test: &Test) -> Outcome {
    let (container, _console) = half_stopped_job(test, "TTIN")?;
    let found = found(&container)?;
    assert!(
        found.len() == 1 && found[0]["object"].as_str().is_some_and(|o| o.contains("SIGTTIN")),
        "{found:?}"
    );
    let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    one_line(test, &output, &["SIGTTIN", "SIGCONT", "[process-state]"])?;
    is_stopped(&container)?;
    goes_on(&container)
}
