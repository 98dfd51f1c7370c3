//! `criu`: what CRIU says: its log, its answers and its statistics.

use crate::one_line;
use criu::diagnose::diagnose;
use criu::fuzzing;
use criu::log::{Level, Line, Report};

pub(crate) fn check(input: &[u8]) {
    let report = log(input);
    statistics(input);
    for error in fuzzing::answer(input, &report) {
        one_line(&error);
    }
}

fn log(input: &[u8]) -> Report {
    let mut report = Report::default();
    assert!(report.scan(input).is_ok(), "bytes in memory cannot fail to be read");
    report.tail(&String::from_utf8_lossy(input));
    assert!(report.lines.len() <= 32, "{} lines", report.lines.len());
    assert_eq!(report.cause().is_some(), report.lines.iter().any(|line| line.level == Level::Error));
    for line in report.lines.iter().filter(|line| !line.place.is_empty() && line.level == Level::Error) {
        assert_eq!(Line::parse(&line.to_string()), Some(Line { pid: None, ..line.clone() }));
    }
    if let Some(diagnosis) = diagnose(&report.lines) {
        assert!(report.lines.iter().any(|line| line.to_string() == diagnosis.line));
    }
    report
}

fn statistics(input: &[u8]) {
    // With the head that every such file has, whatever the input begins with.
    let length = u32::try_from(input.len()).unwrap_or(u32::MAX).to_le_bytes();
    let head = [0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57];
    for bytes in [input.to_vec(), [&head[..], &length, input].concat()] {
        let whole = fuzzing::statistics(&bytes);
        let cut = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
        // The size is told at the front, so that half a file is not one.
        let is_cut_off = bytes.len() == head.len() + length.len() + input.len() && !input.is_empty();
        assert!(whole.is_none() || !is_cut_off || fuzzing::statistics(cut).is_none());
    }
}
