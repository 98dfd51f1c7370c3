//! What is written from the command line's definitions: man pages, completions of the shells, and the text of all help, so
//! that a change of the command line is seen in a review. `make docs` (`RT_BLESS=1`) writes them; the tests compare.

use crate::cli::Cli;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use std::path::{Path, PathBuf};

/// A file of the source tree, and what should stand in it.
type Page = (PathBuf, Vec<u8>);

/// The command line as its user sees it: complete, with clap's own `help`.
fn command() -> Command {
    let mut command = Cli::command().version(env!("CARGO_PKG_VERSION")).disable_version_flag(true);
    command.build();
    command
}

/// The commands that have a page, `help` aside, each with its page's name; those of a command behind it.
fn commands<'a>(of: &'a Command, name: &str) -> Vec<(&'a Command, String)> {
    let own = of.get_subcommands().filter(|command| command.get_name() != "help");
    own.flat_map(|command| {
        let page = format!("{name}-{}", command.get_name());
        let below = commands(command, &page);
        std::iter::once((command, page)).chain(below)
    })
    .collect()
}

fn man_pages() -> Vec<Page> {
    let root = command();
    // Without a date, which would be another one each time.
    let page = |command: &Command, title: &str| {
        let mut text = Vec::new();
        let man = clap_mangen::Man::new(command.clone()).title(title).section("8").date("").source("rt");
        man.manual("rt").render(&mut text).unwrap();
        (Path::new("share/man/man8").join(format!("{title}.8")), text)
    };
    let of_commands = commands(&root, "rt").into_iter().map(|(command, title)| page(command, &title));
    std::iter::once(page(&root, "rt")).chain(of_commands).collect()
}

fn completions() -> Vec<Page> {
    let places = [
        (Shell::Bash, "share/bash-completion/completions/rt"),
        (Shell::Zsh, "share/zsh/site-functions/_rt"),
        (Shell::Fish, "share/fish/vendor_completions.d/rt.fish"),
    ];
    let page = |(shell, path): (Shell, &str)| {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "rt", &mut text);
        (PathBuf::from(path), text)
    };
    places.into_iter().map(page).collect()
}

/// All help in one file.
fn help() -> Page {
    let root = command();
    let all = std::iter::once(&root).chain(commands(&root, "rt").into_iter().map(|(command, _)| command));
    let text: String = all
        .map(|command| {
            let help = command.clone().term_width(100).render_long_help().to_string();
            let lines: String = help.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
            format!("{}\n{lines}\n", "=".repeat(100))
        })
        .collect();
    (PathBuf::from("docs/command-line.txt"), text.into_bytes())
}

/// Compares, or writes when `RT_BLESS` is set.
fn check(pages: Vec<Page>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in pages {
        let file = root.join(&path);
        if std::env::var_os("RT_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read(&file).unwrap_or_default();
        assert!(there == text, "{} is not what the definitions say: `make docs` writes it", path.display());
    }
}

#[test]
fn man_pages_are_up_to_date() {
    let pages = man_pages();
    let count = pages.len();
    check(pages);
    let there = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("share/man/man8")).unwrap();
    assert_eq!(there.count(), count, "a page is left of a command that is gone");
}

#[test]
fn completions_are_up_to_date() {
    check(completions());
}

#[test]
fn the_help_is_the_one_that_was_reviewed() {
    check(vec![help()]);
}
