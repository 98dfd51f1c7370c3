use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use clap::{Args, ValueEnum};
use container::{State, ops};

/// List the containers
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How to print them
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Print the ids only
    #[arg(long, short)]
    quiet: bool,
}

/// A table for people, or JSON for programs; of every command that prints a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let states = ops::list(&context.store)?;
    match (arguments.quiet, arguments.format) {
        (true, _) => {
            output::print(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>())?;
        }
        (false, Format::Json) => output::line(&serde_json::to_string(&states)?)?,
        (false, Format::Table) => output::print(&table(&states))?,
    }
    Ok(Exit::Success)
}

fn table(states: &[State]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |s: &State| {
        [
            s.id.clone(),
            s.pid.to_string(),
            s.status.clone(),
            s.bundle.display().to_string(),
            s.created.clone(),
            s.owner.clone(),
        ]
    };
    columns(&std::iter::once(head).chain(states.iter().map(row)).collect::<Vec<_>>())
}

/// Lays rows out as Go's tabwriter does for runc: at least 12 wide, three blanks apart.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(|column| (width(column) + 3).max(12)).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row[..N - 1].iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        text.push_str(&row[N - 1]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["ID", "PID"], ["a-rather-long-id", "1"]].map(|r| r.map(str::to_owned));
        assert_eq!(columns(&rows), "ID                 PID\na-rather-long-id   1\n");
    }
}
