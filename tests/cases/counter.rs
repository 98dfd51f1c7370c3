//! A program whose memory can be read from outside: it counts, and notes each number once.

use testkit::{Bundle, Fallible, wait_until};

/// Appends 1, 2, 3, ... to /log.
pub(crate) const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i >>/log; usleep 10000; done";

/// The numbers in the file, so far; a line that is being written does not count yet.
pub(crate) fn numbers(bundle: &Bundle, file: &str) -> Vec<u64> {
    let text = bundle.read(file);
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until `more` numbers have been added to the file.
pub(crate) fn counts_on(bundle: &Bundle, file: &str, more: usize) -> Fallible<()> {
    let before = numbers(bundle, file).len();
    wait_until(&format!("{more} more numbers than {before} in {file}"), || {
        numbers(bundle, file).len() >= before + more
    })
}

/// Checks that nothing is added any more.
pub(crate) fn stands_still(bundle: &Bundle, file: &str) -> Fallible<()> {
    let before = numbers(bundle, file).len();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let after = numbers(bundle, file).len();
    if before == after { Ok(()) } else { Err(format!("{file} went on from {before} to {after}").into()) }
}

/// Checks that the file holds 1, 2, 3, ...: no number lost, none twice, no new start.
pub(crate) fn is_unbroken(bundle: &Bundle, file: &str) -> Fallible<()> {
    let numbers = numbers(bundle, file);
    match numbers.iter().zip(1..).find(|(number, expected)| *number != expected) {
        Some((number, expected)) => Err(format!("{file} has {number} in place of {expected}").into()),
        None => Ok(()),
    }
}
