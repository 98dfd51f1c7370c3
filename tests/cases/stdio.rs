//! Standard streams that belong to the caller, across checkpoints.

use testkit::{Bundle, Case, Container, Fallible, Outcome, Test, both, needs, pipe, rt_only, wait_until};

use super::counter::{counts_on, is_unbroken, numbers};

/// Counts on its standard output, and notes each number in /log as well.
const TALKER: &str = "i=0; while :; do i=$((i+1)); echo $i; echo $i >>/log; usleep 10000; done";

const WHY: &str = "runc cannot dump a file of the host";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("file_three_cycles", WHY, |test| file_three_cycles(test, ">")),
        rt_only("appended_file_three_cycles", WHY, |test| file_three_cycles(test, ">>")),
        rt_only("file_for_both", WHY, file_for_both),
        rt_only("file_for_input", WHY, file_for_input),
        both("pipe_three_cycles", pipe_three_cycles),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn talker<'test>(test: &'test Test, script: &str) -> Fallible<Container<'test>> {
    Ok(test.container(&test.bundle()?.script(script).build()?))
}

/// `run --detach` with the shell's `redirection`.
fn run_with(container: &Container<'_>, redirection: &str) -> Outcome {
    let command = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    command.after_shell(&format!("exec </dev/null >/dev/null 2>&1 {redirection}")).succeeds().map(drop)
}

fn cycle(container: &Container<'_>) -> Outcome {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

/// The file on the host holds what /log holds, up to a line that is being written.
fn same_numbers(bundle: &Bundle, file: &str) -> Outcome {
    let count = numbers(bundle, "/log").len();
    wait_until(&format!("{count} numbers in {file}"), || read(file).len() >= count)?;
    let expected: Vec<u64> = (1..).take(count).collect();
    assert_eq!(read(file)[..count], expected);
    Ok(())
}

fn read(file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn file_three_cycles(test: &Test, operator: &str) -> Outcome {
    let container = talker(test, TALKER)?;
    let file = test.new_path("output");
    run_with(&container, &format!("{operator}{file}"))?;
    counts_on(&container.bundle, "/log", 3)?;
    for _ in 0..3 {
        cycle(&container)?;
        same_numbers(&container.bundle, &file)?;
    }
    is_unbroken(&container.bundle, "/log")
}

fn file_for_both(test: &Test) -> Outcome {
    // One open file under two descriptors: they share the position.
    let script = TALKER.replace("echo $i >>/log", "echo err >&2; echo $i >>/log");
    let container = talker(test, &script)?;
    let file = test.new_path("output");
    run_with(&container, &format!(">{file} 2>&1"))?;
    counts_on(&container.bundle, "/log", 3)?;
    cycle(&container)?;
    same_numbers(&container.bundle, &file)?;
    let text = std::fs::read_to_string(&file)?;
    let wrong = text.lines().enumerate().find(|(index, line)| (index % 2 == 1) != (*line == "err"));
    assert!(wrong.is_none(), "line {wrong:?} of {text}");
    Ok(())
}

fn file_for_input(test: &Test) -> Outcome {
    let container = talker(test, "while read n; do echo $n >>/log; usleep 10000; done; touch /end")?;
    let file = test.new_path("input");
    std::fs::write(&file, (1..=100).map(|n| format!("{n}\n")).collect::<String>())?;
    run_with(&container, &format!("<{file}"))?;
    counts_on(&container.bundle, "/log", 3)?;
    cycle(&container)?;
    wait_until("the end of the input", || {
        std::fs::exists(container.bundle.path("/end")).is_ok_and(|yes| yes)
    })?;
    assert_eq!(numbers(&container.bundle, "/log").len(), 100);
    is_unbroken(&container.bundle, "/log")
}

fn pipe_three_cycles(test: &Test) -> Outcome {
    let container = talker(test, TALKER)?;
    let (mut reader, writer) = pipe()?;
    container.quiet("run", &["--detach"]).stdout(writer).succeeds()?;
    reader.expect("1\n2\n3\n")?;
    for _ in 0..3 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        let so_far = numbers(&container.bundle, "/log").len();
        let (new_reader, writer) = pipe()?;
        reader = new_reader;
        container.quiet("restore", &["--detach", "--image-path", &images]).stdout(writer).succeeds()?;
        reader.expect(&format!("\n{}\n{}\n", so_far + 3, so_far + 4))?;
    }
    is_unbroken(&container.bundle, "/log")
}
