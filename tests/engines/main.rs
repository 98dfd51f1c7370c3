//! podman, docker and containerd with `rt` as their runtime: what users do, as a table of operations.
//!
//! Each operation is a few commands of the engine and what they print. It runs with runc first: where that fails, the machine or
//! the engine cannot do it, and the case is skipped with what was said; where it passes, `rt` must pass, too.
//! `cargo test --test engines -- podman::exec` picks by name; `RT_BLESS=1` writes docs/engines-table.md from a whole run.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the closing summary and a client's answers are its output"
)]

mod cri;
mod engine;
mod page;
mod row;
mod table;
mod world;

use engine::Engine;
use row::Row;
use std::process::ExitCode;
use testkit::{Arguments, Suite};

/// Every operation, by engine.
fn table() -> Vec<(&'static Engine, Vec<Row>)> {
    let rows = |engine: &Engine| engine.tables.iter().flat_map(|text| table::read(text)).collect();
    engine::ALL.iter().map(|engine| (engine, rows(engine))).collect()
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let Some(("cri", words)) = words.split_first().map(|(first, words)| (first.as_str(), words)) {
        return cri::main(words);
    }
    let arguments = Arguments::from_args();
    let mut suite = Suite::new(env!("CARGO_BIN_EXE_rt")).module("docs", vec![page::case()]);
    for (engine, rows) in table() {
        suite = suite.module(engine.name, rows.into_iter().map(|row| row.into_case(engine)).collect());
    }
    let (closing, code) = suite.finish(&arguments);
    let left = engine::stop_all();
    print!("{closing}{left}{}", page::lines_under_systemd());
    match page::bless() {
        Ok(()) if left.is_empty() => code,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            println!("{}", error.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
