//! From raw arguments to [`Cli`]: what clap does not do as the Go runtimes do.

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};

/// Parses the command line.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, Refusal> {
    let mut command = Cli::command();
    command.build();
    let args = normalized(&command, args.collect());
    let parsed =
        command.clone().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| Refusal { error })
}

/// Writes options as clap wants them: `-bundle x` as `--bundle=x`, `-no-pivot=false` as nothing.
///
/// The Go runtimes take long options with one dash (containerd sends `-no-subreaper`), take whatever follows an option as its
/// value, be it `-1`, and let a boolean be set to a value. Stops at the first word that is no option, since what follows it
/// belongs to the container's program.
fn normalized(root: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut command = root;
    let mut rest = args.into_iter();
    let mut normal: Vec<OsString> = rest.next().into_iter().collect();
    while let Some(arg) = rest.next() {
        let text = arg.to_str().unwrap_or_default();
        if text.len() > 1 && text.starts_with('-') && text != "--" {
            normal.extend(option(command, &arg, text, &mut rest));
            continue;
        }
        let subcommand = command.find_subcommand(text);
        normal.push(arg.clone());
        match subcommand {
            Some(found) => command = found,
            None => break,
        }
    }
    normal.extend(rest);
    normal
}

/// One option, with its value from `rest` if it takes one; nothing when it is a boolean set to false.
fn option(
    command: &Command,
    arg: &OsStr,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Option<OsString> {
    let bare = text.trim_start_matches('-');
    let (name, inline) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
    let is_it = |a: &&Arg| a.get_long() == Some(name) || a.get_short().is_some_and(|s| name.chars().eq([s]));
    let Some(found) = command.get_arguments().find(is_it) else { return Some(arg.to_owned()) };
    let mut long = OsString::from(format!("--{}", found.get_long().unwrap_or(name)));
    if !found.get_action().takes_values() {
        return match inline {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Some(long),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => None,
            Some(_) => Some(arg.to_owned()),
        };
    }
    if let Some(value) = inline.map(OsString::from).or_else(|| rest.next()) {
        long.push("=");
        long.push(value);
    }
    Some(long)
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
                match output::print(&self.error.to_string()) {
                    Ok(()) => Exit::Success,
                    Err(_) => Exit::Failure,
                }
            }
            _ => {
                output::message(&self.line());
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
                format!(
                    "unknown command {:?} (see `rt --help`)",
                    context(ContextKind::InvalidSubcommand).unwrap_or_default()
                )
            }
            ErrorKind::MissingRequiredArgument => {
                format!("missing argument: {arg} (see `rt COMMAND --help`)")
            }
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
        let words: Vec<_> =
            normalized(&command, args).into_iter().map(|a| a.into_string().unwrap()).collect();
        words.join(" ")
    }

    fn line(args: &str) -> String {
        parse(args.split(' ').map(OsString::from)).unwrap_err().line()
    }

    #[test]
    fn one_dash_is_two_up_to_the_containers_program() {
        assert_eq!(
            rewritten("rt -root /r run -bundle b -no-pivot id"),
            "rt --root=/r run --bundle=b --no-pivot id"
        );
        assert_eq!(rewritten("rt run -bundle=b -d id"), "rt run --bundle=b --detach id");
        assert_eq!(rewritten("rt exec -cwd -tty id ls -cwd"), "rt exec --cwd=-tty id ls -cwd");
        assert_eq!(
            rewritten("rt run -no-pivot=false -d=true -no-new-keyring id"),
            "rt run --detach --no-new-keyring id"
        );
        assert_eq!(rewritten("rt exec -u -1 id true"), "rt exec --user=-1 id true");
        assert_eq!(rewritten("rt restore -detach -no-subreaper id"), "rt restore --detach --no-subreaper id");
    }

    #[test]
    fn says_what_engines_probe_for() {
        assert_eq!(line("rt checkpoint --image-path"), "flag needs an argument: --image-path");
        assert_eq!(
            line("rt run --nonsense id"),
            "flag provided but not defined: --nonsense (see `rt --help`)"
        );
        assert_eq!(line("rt nonsense"), "unknown command \"nonsense\" (see `rt --help`)");
        assert_eq!(line("rt state"), "missing argument: <CONTAINER-ID> (see `rt COMMAND --help`)");
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
