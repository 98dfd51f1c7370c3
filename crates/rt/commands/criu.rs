use super::list::{Format, columns};
use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use clap::{Args, Subcommand};
use container::checkpoint::check::{Finding, Report, check_machine};

/// About the CRIU of this machine
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What about it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Look whether CRIU and what it needs are there; if not, the exit code is 1
    Check(Check),
}

/// How to look.
#[derive(Debug, Args)]
struct Check {
    /// How to print what is found
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let Command::Check(check) = &arguments.command;
    print(&check_machine(&context.criu()?), check.format)
}

/// Prints what a check found. That something stands in the way is its result, and no error.
pub(super) fn print(report: &Report, format: Format) -> anyhow::Result<Exit> {
    match format {
        Format::Json => output::line(&serde_json::to_string(report)?)?,
        Format::Table => output::print(&table(&report.findings))?,
    }
    Ok(if report.works { Exit::Success } else { Exit::Failure })
}

fn table(findings: &[Finding]) -> String {
    let head = ["VERDICT", "CLASS", "OBJECT", "CURE"].map(str::to_owned);
    let row = |finding: &Finding| {
        [
            finding.verdict.to_string(),
            finding.class.to_string(),
            sys::one_line(&finding.object),
            sys::one_line(&finding.cure),
        ]
    };
    let rows = columns(&std::iter::once(head).chain(findings.iter().map(row)).collect::<Vec<_>>());
    rows.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
