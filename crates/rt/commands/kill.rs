use super::Target;
use crate::context::Context;
use crate::exit::Exit;
use anyhow::bail;
use clap::Args;
use container::ops;

/// Send a signal to a container's init process
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Send it to all of the container's processes
    #[arg(long, short)]
    all: bool,
    #[command(flatten)]
    target: Target,
    /// The signal, by name (with or without SIG) or number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    signal: String,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let signal = parse_signal(&arguments.signal)?;
    ops::kill(&context.store, &arguments.target.id()?, signal, arguments.all)?;
    Ok(Exit::Success)
}

/// The names of signals 1 to 31 in order (signal(7), x86 and arm numbers).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Other names of the same.
const ALIASES: [(&str, i32); 5] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("RTMIN", 34), ("RTMAX", 64)];

fn parse_signal(text: &str) -> anyhow::Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        if (0..=64).contains(&number) {
            return Ok(number);
        }
        bail!("unknown signal {text:?}: numbers go from 1 to 64");
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES.iter().position(|n| *n == name).and_then(|i| i32::try_from(i + 1).ok());
    let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, number)| *number);
    let real_time =
        || name.strip_prefix("RTMIN+")?.parse().ok().filter(|n| (0..=30).contains(n)).map(|n: i32| 34 + n);
    match known.or_else(alias).or_else(real_time) {
        Some(number) => Ok(number),
        None => bail!("unknown signal {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn names_and_numbers() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("sigusr1", 10), ("RTMIN+3", 37), ("SYS", 31), ("0", 0)]
        {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "65", "-1", "SIGNOPE", "9x"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
