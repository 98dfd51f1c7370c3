//! `rt`, the command: from arguments to a request, from an outcome to print and an exit code.

mod args;
mod cli;
mod commands;
mod context;
mod exit;
mod logging;
#[cfg(test)]
mod manual;
mod output;
mod progress;

use cli::Cli;
use exit::Exit;

fn main() {
    // Before the arguments are understood, which costs more than this and would be done twice. A failure is told by the command.
    if std::env::args_os().any(|word| commands::ENTERING.iter().any(|name| word == *name)) {
        let _ = sys::sealed::enter();
    }
    sys::signal::default_child_signal();
    let exit = match args::parse(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(refusal) => refusal.print(),
    };
    std::process::exit(exit.code());
}

fn run(cli: Cli) -> Exit {
    let log = match logging::start(&cli.global) {
        Ok(log) => log,
        Err(error) => return exit::of_error(&error, None),
    };
    match commands::run(cli) {
        Ok(exit) => exit,
        Err(error) => exit::of_error(&error, Some(&log)),
    }
}
