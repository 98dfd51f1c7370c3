use super::{Target, list::Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{self, print};
use anyhow::{Context as _, bail};
use clap::Args;
use container::ops;
use std::process::Command;

/// Print a container's processes
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How to print them
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    target: Target,
    /// Options for ps(1), for the table [default: -ef]
    #[arg(value_name = "PS-OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let pids = ops::processes(&context.store, &arguments.target.id()?)?;
    if arguments.format == Format::Json {
        output::line(&serde_json::to_string(&pids)?)?;
        return Ok(Exit::Success);
    }
    let options =
        if arguments.options.is_empty() { vec!["-ef".to_owned()] } else { arguments.options.clone() };
    let output = Command::new("ps").args(&options).output().context("ps")?;
    if !output.status.success() {
        bail!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    print(&of_container(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
    Ok(Exit::Success)
}

/// The head and the lines of ps' table that are about these processes.
fn of_container(table: &str, pids: &[i32]) -> anyhow::Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|title| title == "PID") else {
        bail!("couldn't find PID field in ps output");
    };
    let ours = lines.filter(|line| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    });
    Ok(std::iter::once(head).chain(ours).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::of_container;

    #[test]
    fn keeps_the_containers_lines() {
        let table = "UID   PID  CMD\nroot    1  init\nroot   42  sh\n";
        assert_eq!(of_container(table, &[42]).unwrap(), "UID   PID  CMD\nroot   42  sh\n");
        assert!(of_container("UID CMD\n", &[1]).is_err());
    }
}
