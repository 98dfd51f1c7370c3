//! From raw arguments to [`Cli`]: what clap does not do as the Go runtimes do.

use crate::cli::Cli;
use crate::exit::Exit;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Parses the command line.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, Refusal> {
    let mut command = Cli::command();
    command.build();
    let args = with_two_dashes(&command, args.collect());
    let parsed = command.clone().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| Refusal { error })
}

/// Turns `-bundle x` into `--bundle x`: the Go runtimes take long options with one dash, and containerd sends
/// `-no-subreaper`. Stops at the first word that is no option, since what follows belongs to the container's program.
fn with_two_dashes(root: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut command = root;
    let mut rewritten = Vec::with_capacity(args.len());
    let mut rest = args.into_iter();
    rewritten.extend(rest.next());
    while let Some(arg) = rest.next() {
        let text = arg.to_str().unwrap_or_default();
        if let Some(name) = text.strip_prefix('-').filter(|n| !n.is_empty() && *n != "-") {
            let name = name.strip_prefix('-').unwrap_or(name);
            let (long, inline_value) = name.split_once('=').map_or((name, false), |(long, _)| (long, true));
            let option = command.get_arguments().find(|a| a.get_long() == Some(long));
            rewritten.push(if option.is_some() { format!("--{name}").into() } else { arg.clone() });
            let short = name.chars().next().filter(|_| name.len() == 1);
            let option = option.or_else(|| command.get_arguments().find(|a| short.is_some() && a.get_short() == short));
            if option.is_some_and(|o| o.get_action().takes_values()) && !inline_value {
                rewritten.extend(rest.next());
            }
        } else {
            let subcommand = command.find_subcommand(text);
            rewritten.push(arg.clone());
            match subcommand {
                Some(found) => command = found,
                None => break,
            }
        }
    }
    rewritten.extend(rest);
    rewritten
}

/// Arguments that ask for help, or that are wrong.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: clap::Error,
}

impl Refusal {
    /// Prints help on stdout, or what is wrong with the usage on stderr.
    pub(crate) fn print(&self) -> Exit {
        match self.error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                print!("{}", self.error);
                Exit::Success
            }
            _ => {
                eprintln!("rt: {}", self.line());
                Exit::Failure
            }
        }
    }

    /// One line, in the words that engines look for when they probe for an option.
    fn line(&self) -> String {
        let context = |kind| match self.error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(list)) => Some(list.join(" ")),
            _ => None,
        };
        let arg = context(ContextKind::InvalidArg).unwrap_or_default();
        let flag = arg.split([' ', '=']).next().unwrap_or_default();
        let value = context(ContextKind::InvalidValue).unwrap_or_default();
        match self.error.kind() {
            ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
            ErrorKind::UnknownArgument => format!("flag provided but not defined: {flag} (see `rt --help`)"),
            ErrorKind::InvalidSubcommand => {
                format!("unknown command {:?} (see `rt --help`)", context(ContextKind::InvalidSubcommand).unwrap_or_default())
            }
            ErrorKind::MissingRequiredArgument => format!("missing argument: {arg} (see `rt COMMAND --help`)"),
            _ => {
                let text = self.error.to_string();
                let line = text.lines().next().unwrap_or_default();
                line.strip_prefix("error: ").unwrap_or(line).to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(args: &str) -> String {
        let mut command = Cli::command();
        command.build();
        let args = args.split(' ').map(OsString::from).collect();
        let words: Vec<_> = with_two_dashes(&command, args).into_iter().map(|a| a.into_string().unwrap()).collect();
        words.join(" ")
    }

    fn line(args: &str) -> String {
        parse(args.split(' ').map(OsString::from)).unwrap_err().line()
    }

    #[test]
    fn one_dash_is_two_up_to_the_containers_program() {
        assert_eq!(rewritten("rt -root /r run -bundle b -no-pivot id"), "rt --root /r run --bundle b --no-pivot id");
        assert_eq!(rewritten("rt run -bundle=b -d id"), "rt run --bundle=b -d id");
        assert_eq!(rewritten("rt exec -cwd -tty id ls -cwd"), "rt exec --cwd -tty id ls -cwd");
        assert_eq!(rewritten("rt restore -detach -no-subreaper id"), "rt restore --detach --no-subreaper id");
    }

    #[test]
    fn says_what_engines_probe_for() {
        assert_eq!(line("rt checkpoint --image-path"), "flag needs an argument: --image-path");
        assert_eq!(line("rt run --nonsense id"), "flag provided but not defined: --nonsense (see `rt --help`)");
        assert_eq!(line("rt nonsense"), "unknown command \"nonsense\" (see `rt --help`)");
        assert_eq!(line("rt state"), "missing argument: <CONTAINER-ID> (see `rt COMMAND --help`)");
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
