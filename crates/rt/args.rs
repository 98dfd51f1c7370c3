//! From raw arguments to [`Cli`]: what clap does not do as the Go runtimes do.

use crate::cli::{self, Cli, Global};
use crate::exit::Exit;
use crate::{logging, output};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};

/// Parses the command line.
///
/// To define every command's options takes longer than most commands do, so only those of the one at hand are, as long as the
/// arguments are right.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, Box<Refusal>> {
    let args: Vec<OsString> = args.collect();
    parse_right(&args).map_or_else(|| parse_any(args), Ok)
}

/// Arguments that are right and do not ask for help.
fn parse_right(args: &[OsString]) -> Option<Cli> {
    let root = cli::globals();
    let word = command_word(&root, args)?;
    let mut root = root.subcommand(cli::definition(&word)?);
    let args = normalized(&root, args.to_vec());
    let matches = root.try_get_matches_from_mut(&args).ok()?;
    Cli::from_arg_matches(&matches).ok()
}

/// The first word that is neither an option nor the value of one.
fn command_word(root: &Command, args: &[OsString]) -> Option<String> {
    let mut rest = args.iter().skip(1).cloned();
    while let Some(arg) = rest.next() {
        let text = arg.to_str()?;
        if !text.starts_with('-') {
            return Some(text.to_owned());
        }
        option(root, &arg, text, &mut rest);
    }
    None
}

fn parse_any(args: Vec<OsString>) -> Result<Cli, Box<Refusal>> {
    let mut command = Cli::command();
    command.build();
    let args = normalized(&command, args);
    let parsed =
        command.clone().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| Box::new(Refusal::of(error, command, &args)))
}

/// Writes options as clap wants them: `-bundle x` as `--bundle=x`, `-no-pivot=false` as nothing.
///
/// The Go runtimes take long options with one dash (containerd sends `-no-subreaper`), take whatever follows an option as its
/// value, be it `-1`, and let a boolean be set to a value. Options may follow the container's id, but for those commands where
/// the rest belongs to the container's program, or to ps.
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
        if let Some(found) = command.find_subcommand(if text == "h" { "help" } else { text }) {
            normal.push(found.get_name().into());
            command = found;
            continue;
        }
        let takes_the_rest = command.get_positionals().any(Arg::is_trailing_var_arg_set);
        if takes_the_rest && text != "--" {
            // Options end here, so that what follows the id is the program's own, be it another `--`.
            normal.push("--".into());
        }
        let ends = takes_the_rest || text == "--";
        normal.push(arg);
        if ends {
            break;
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
    let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or(text);
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
    /// How the command is to be used.
    usage: String,
    /// The options before the command, if nothing is wrong with them.
    global: Option<Global>,
}

impl Refusal {
    fn of(error: clap::Error, mut root: Command, args: &[OsString]) -> Self {
        let is_command = |arg: &&OsString| !arg.to_string_lossy().starts_with('-');
        let named = args.iter().skip(1).find(is_command);
        let global = args.iter().take_while(|arg| Some(*arg) != named);
        let global = root.clone().try_get_matches_from(global);
        let global = global.and_then(|matches| Cli::from_arg_matches(&matches)).ok().map(|cli| cli.global);
        let usage = match named.and_then(|name| root.find_subcommand_mut(name)) {
            Some(found) => found.render_usage(),
            None => root.render_usage(),
        };
        Self { error, usage: usage.to_string(), global }
    }

    /// Prints help on stdout; or on stderr what is wrong, in the first line, and how it would be right.
    pub(crate) fn print(&self) -> Exit {
        match self.error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                match output::print(&self.error.to_string()) {
                    Ok(()) => Exit::Success,
                    Err(_) => Exit::Failure,
                }
            }
            _ => {
                let line = self.line();
                if let Some(log) = self.global.as_ref().and_then(|global| logging::start(global).ok()) {
                    log.error(&line, None);
                }
                output::message(&format!("{line}\n\n{}", self.usage));
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
            ErrorKind::TooManyValues => format!("invalid boolean value {value:?} for {flag}"),
            ErrorKind::UnknownArgument if !flag.starts_with('-') => {
                format!("unexpected argument {flag:?} (see `rt COMMAND --help`)")
            }
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
        assert_eq!(rewritten("rt exec -cwd -tty id ls -cwd"), "rt exec --cwd=-tty -- id ls -cwd");
        assert_eq!(
            rewritten("rt run -no-pivot=false -d=true -no-new-keyring id"),
            "rt run --detach --no-new-keyring id"
        );
        assert_eq!(rewritten("rt exec -u -1 id true"), "rt exec --user=-1 -- id true");
        assert_eq!(rewritten("rt restore -detach -no-subreaper id"), "rt restore --detach --no-subreaper id");
        assert_eq!(rewritten("rt exec id -- ls"), "rt exec -- id -- ls");
        assert_eq!(rewritten("rt exec -- id -- ls"), "rt exec -- id -- ls");
        assert_eq!(rewritten("rt delete id -force"), "rt delete id --force");
        assert_eq!(rewritten("rt h run"), "rt help run");
        assert_eq!(rewritten("rt run ---bundle b"), "rt run ---bundle b");
    }

    #[test]
    fn says_what_engines_probe_for() {
        assert_eq!(line("rt checkpoint --image-path"), "flag needs an argument: --image-path");
        assert_eq!(
            line("rt run --nonsense id"),
            "flag provided but not defined: --nonsense (see `rt --help`)"
        );
        assert_eq!(line("rt nonsense"), "unknown command \"nonsense\" (see `rt --help`)");
        assert_eq!(line("rt state id more"), "unexpected argument \"more\" (see `rt COMMAND --help`)");
        assert_eq!(line("rt run --keep=maybe id"), "invalid boolean value \"maybe\" for --keep");
        assert_eq!(line("rt state"), "missing argument: <CONTAINER-ID> (see `rt COMMAND --help`)");
    }

    fn options(command: &Command) -> Vec<String> {
        command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
    }

    #[test]
    fn each_command_is_defined_by_itself_as_among_the_others() {
        let whole = Cli::command();
        for among in whole.get_subcommands() {
            let alone = cli::definition(among.get_name()).unwrap_or_else(|| panic!("{among} is not there"));
            assert_eq!(options(&alone), options(among));
        }
        assert_eq!(options(&cli::globals()), options(&whole));
    }

    #[test]
    fn what_is_right_needs_no_other_definitions() {
        let right = |args: &str| parse_right(&args.split(' ').map(OsString::from).collect::<Vec<_>>());
        for args in ["rt --root run state id", "rt -root=/r exec -cwd / id ls -l", "rt delete id -force"] {
            assert!(right(args).is_some_and(|cli| cli.command.is_some()), "{args}");
        }
        for args in ["rt", "rt --version", "rt help", "rt run --help", "rt --root", "rt state", "rt nonsense"]
        {
            assert!(right(args).is_none(), "{args}");
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
