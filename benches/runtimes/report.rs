//! The table, on the terminal and in docs/benchmarks.md.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use crate::cases::Case;
use crate::runner::Cost;
use crate::stats::{Quantity, Quartiles, cpu, peak, wall};

/// What was measured for one case: each runtime's samples (rt's first), the n-th of each being the n-th pair.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    pub(crate) samples: Vec<(&'static str, Vec<Cost>)>,
    /// Runtimes that took no part, and why.
    pub(crate) absent: Vec<String>,
}

const HEADER: [&str; 9] =
    ["case", "runtime", "pairs", "wall ms", "CPU ms", "peak MiB", "rt's wall", "rt's CPU", "rt's peak"];

/// One line per runtime and case; a runtime's line says what part of its cost rt needs.
pub(crate) fn table(all: &[Measured]) -> String {
    let rows: Vec<[String; 9]> = all.iter().flat_map(rows).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    line(&mut text, &HEADER.map(str::to_owned), &widths);
    let dashes =
        std::array::from_fn(|i| format!("{}{}", "-".repeat(widths[i] - 1), if i < 2 { '-' } else { ':' }));
    line(&mut text, &dashes, &widths);
    for row in &rows {
        line(&mut text, row, &widths);
    }
    text + "\n" + &absences(all)
}

/// Who took no part, where and why: one line for each reason.
fn absences(all: &[Measured]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (case, reason) in all.iter().flat_map(|it| it.absent.iter().map(|reason| (it.case.title(), reason))) {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, cases)) => cases.push(case),
            None => reasons.push((reason, vec![case])),
        }
    }
    reasons.iter().map(|(reason, cases)| format!("- without {reason}: {}\n", cases.join(", "))).collect()
}

fn line(text: &mut String, cells: &[String; 9], widths: &[usize; 9]) {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let _ =
            if column < 2 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
    }
    text.push_str("|\n");
}

fn rows(measured: &Measured) -> impl Iterator<Item = [String; 9]> {
    let ours = measured.samples.iter().find(|(name, _)| *name == "rt").map(|(_, costs)| costs.as_slice());
    measured.samples.iter().enumerate().map(move |(index, (name, costs))| {
        let median = |quantity: Quantity| format!("{:.1}", Quartiles::of(costs, quantity).median);
        let ratio = |quantity: Quantity| {
            let ours = ours.filter(|_| *name != "rt")?;
            Some(Quartiles::of_ratios(ours, costs, quantity))
        };
        let short =
            |quantity| ratio(quantity).map_or_else(String::new, |ratio| format!("{:.2}", ratio.median));
        let title = if index == 0 { measured.case.title() } else { "" };
        [
            title.to_owned(),
            (*name).to_owned(),
            costs.len().to_string(),
            median(wall),
            median(cpu),
            median(peak),
            ratio(wall)
                .map_or_else(String::new, |it| format!("{:.2} ({:.2}-{:.2})", it.median, it.low, it.high)),
            short(cpu),
            short(peak),
        ]
    })
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- /figures -->";

/// Puts the figures between the marks in docs/benchmarks.md and leaves the prose around them alone.
pub(crate) fn write_page(figures: &str) -> Result<()> {
    let page = fs::read_to_string(PAGE).context(PAGE)?;
    let marks = || format!("{PAGE}: needs a line {BEGIN} and below it a line {END}");
    let (before, rest) = page.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    fs::write(PAGE, format!("{before}{BEGIN}\n{figures}\n{END}{after}")).context(PAGE)
}

impl Measured {
    /// Whether a runtime took part.
    pub(crate) fn has(&self, runtime: &str) -> bool {
        self.samples.iter().any(|(name, _)| *name == runtime)
    }
}
