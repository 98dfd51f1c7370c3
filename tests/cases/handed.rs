//! What a container has got from its caller besides files, across checkpoints: a socket as stdout, and descriptors that were passed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};

use testkit::{Case, Container, Fallible, Outcome, Test, needs, pipe, rt_only, wait_until};

use super::counter::{counts_on, is_unbroken, numbers};
use super::diagnosis::{fails_as_foreseen, would_fail};

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("socket_three_cycles", "runc lets CRIU fail", socket_three_cycles),
        rt_only("socket_of_another_namespace", "its errors are its own", socket_of_another_namespace),
        rt_only("passed_three_cycles", "runc gives nothing back", passed_three_cycles),
        rt_only("passed_file_that_is_gone", "runc cannot dump it", passed_file_that_is_gone),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// Counts on stdout and in /log.
const TALKER: &str = "i=0; while :; do i=$((i+1)); echo $i; echo $i >>/log; usleep 10000; done";

/// journald's part: who connects gets one end, and what is written there can be read from the other.
struct Journal(UnixListener, String);

impl Journal {
    fn new(test: &Test) -> Fallible<Self> {
        let path = test.new_path("socket");
        Ok(Self(UnixListener::bind(&path)?, path))
    }

    fn connect(&self) -> Fallible<(UnixStream, BufReader<UnixStream>)> {
        let ours = UnixStream::connect(&self.1)?;
        Ok((ours, BufReader::new(self.0.accept()?.0)))
    }
}

fn next(journal: &mut impl BufRead) -> Fallible<usize> {
    let mut line = String::new();
    journal.read_line(&mut line)?;
    Ok(line.trim().parse().map_err(|e| format!("{line:?}: {e}"))?)
}

/// A service of the host's network whose output goes to journald: CRIU cannot dump half a connection, so each restore brings its own.
fn socket_three_cycles(test: &Test) -> Outcome {
    let journal = Journal::new(test)?;
    let container = test.container(&test.bundle()?.without_namespace("network").script(TALKER).build()?);
    let (stream, mut reader) = journal.connect()?;
    container.quiet("run", &["--detach"]).stdout(stream).succeeds()?;
    assert_eq!(next(&mut reader)?, 1);
    for _ in 0..3 {
        assert_eq!(would_fail(&container, &[])?, Vec::<testkit::Value>::new());
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        let so_far = numbers(&container.bundle, "/log").len();
        let (stream, new_reader) = journal.connect()?;
        reader = new_reader;
        container.quiet("restore", &["--detach", "--image-path", &images]).stdout(stream).succeeds()?;
        // It may have said the next one already, and not noted it.
        let first = next(&mut reader)?;
        assert!([so_far + 1, so_far + 2].contains(&first), "{first} after {so_far}");
        assert_eq!(next(&mut reader)?, first + 1);
    }
    is_unbroken(&container.bundle, "/log")
}

/// A container with a network namespace of its own has such a socket in the host's, where CRIU does not look.
fn socket_of_another_namespace(test: &Test) -> Outcome {
    let journal = Journal::new(test)?;
    let container = test.container(&test.bundle()?.script(TALKER).build()?);
    let (stream, _reader) = journal.connect()?;
    container.quiet("run", &["--detach"]).stdout(stream).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    fails_as_foreseen(&container, &[], &["socket-namespace", "(sh)", "in that namespace"])?;
    counts_on(&container.bundle, "/log", 3)
}

/// A pipe and two files of the host.
const READER: &str = "while read n <&5; do echo $n >&3; echo $n >&4; echo $n >>/log; usleep 10000; done";

struct Passed<'test> {
    container: Container<'test>,
    input: String,
    output: String,
}

fn passed(test: &Test) -> Fallible<(Passed<'_>, testkit::Console)> {
    let container = test.container(&test.bundle()?.script(READER).build()?);
    let (input, output) = (test.new_path("input"), test.new_path("output"));
    fs::write(&input, (1..100_000).map(|n| format!("{n}\n")).collect::<String>())?;
    let (reader, writer) = pipe()?;
    let redirection = format!("exec 3>&1 >/dev/null 4>>{output} 5<{input}");
    let flags = ["--detach", "--preserve-fds", "3"];
    container.quiet("run", &flags).stdout(writer).after_shell(&redirection).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    Ok((Passed { container, input, output }, reader))
}

/// The pipe is the new caller's, the files are the same ones, each read and written where it was.
fn passed_three_cycles(test: &Test) -> Outcome {
    let (passed, mut reader) = passed(test)?;
    let Passed { container, output, .. } = &passed;
    reader.expect("1\n2\n3\n")?;
    for _ in 0..3 {
        assert_eq!(would_fail(container, &[])?, Vec::<testkit::Value>::new());
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        let so_far = numbers(&container.bundle, "/log").len();
        let (new_reader, writer) = pipe()?;
        reader = new_reader;
        let flags = ["--detach", "--image-path", &images, "--preserve-fds", "1"];
        let restore = container.quiet("restore", &flags).stdout(writer);
        restore.after_shell("exec 3>&1 >/dev/null").succeeds()?;
        reader.expect(&format!("\n{}\n{}\n", so_far + 3, so_far + 4))?;
    }
    is_unbroken(&container.bundle, "/log")?;
    let count = numbers(&container.bundle, "/log").len();
    let written = || fs::read_to_string(output).map_or(0, |text| text.lines().count());
    wait_until("as many numbers in the file", || written() >= count)?;
    let text = fs::read_to_string(output)?;
    assert!(text.lines().zip(1_usize..).all(|(line, n)| line == n.to_string()), "{text}");
    Ok(())
}

/// Then somebody must name another one.
fn passed_file_that_is_gone(test: &Test) -> Outcome {
    let (passed, _reader) = passed(test)?;
    let Passed { container, input, .. } = &passed;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let moved = test.new_path("moved");
    fs::rename(input, &moved)?;
    let flags = ["--detach", "--bundle", container.bundle.directory(), "--image-path", &images];
    let output = container.cmd("restore", &flags).after_shell("exec </dev/null >/dev/null").fails()?;
    super::one_line(test, &output, &["descriptor 5", input, "--preserve-fds 3"])?;
    assert_eq!(container.status()?, "absent");
    let flags = [&flags[..], &["--preserve-fds", "3"]].concat();
    let redirection = format!("exec </dev/null 3>/dev/null 4>/dev/null 5<{moved}");
    container.cmd("restore", &flags).after_shell(&format!("{redirection} >/dev/null 2>&1")).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}
