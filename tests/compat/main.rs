//! The same bundles and command lines on rt and on runc: whoever calls, and whatever runs inside, must not be able to tell
//! which one it is, but for the differences that are listed with their reasons (docs/compat-runc.md, written from this list).
//!
//! `cargo test --test compat -- mounts` picks by name; `RT_BLESS=1` writes the page anew (`make docs`).

#![allow(clippy::print_stdout, reason = "the closing summary is this program's output")]

mod cgroups;
mod commands;
mod differences;
mod documents;
mod engine;
mod flags;
mod hooks;
mod invalid;
mod mounts;
mod namespaces;
mod page;
mod process;
mod transcript;
mod world;

use engine::Comparison;
use std::process::ExitCode;
use testkit::{Arguments, Suite};

/// Every case, by module.
fn cases() -> Vec<(&'static str, Vec<Comparison>)> {
    vec![
        ("cgroups", cgroups::cases()),
        ("commands", commands::cases()),
        ("flags", flags::cases()),
        ("hooks", hooks::cases()),
        ("invalid", invalid::cases()),
        ("mounts", mounts::cases()),
        ("namespaces", namespaces::cases()),
        ("process", process::cases()),
        ("world", world::cases()),
    ]
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut suite = Suite::new(env!("CARGO_BIN_EXE_rt")).module("documents", documents::cases());
    suite = suite.module("docs", vec![page::case()]);
    for (module, cases) in cases() {
        suite = suite.module(module, cases.into_iter().map(Comparison::into_case).collect());
    }
    let (closing, code) = suite.finish(&arguments);
    print!("{closing}");
    code
}
