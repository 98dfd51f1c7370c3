//! The command line as a whole; each command's own options stand with the command.

use crate::commands;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// An OCI container runtime that makes running containers move.
#[derive(Debug, Parser)]
#[command(name = "rt", disable_version_flag = true, args_override_self = true, subcommand_required = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The options before the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Tell each step, with its time
    #[arg(long)]
    pub(crate) debug: bool,
    /// Write errors to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// The format of that file
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Where the state of containers is kept [default: /run/rt, or $XDG_RUNTIME_DIR/rt without root]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The criu to use [default: $RT_CRIU, or criu in PATH]
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) criu: Option<PathBuf>,
    /// Have systemd make the cgroups (linux.cgroupsPath is then SLICE:PREFIX:NAME)
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Ignore errors of cgroup permissions (true, false or auto)
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) rootless: String,
    /// Print the version
    #[arg(long, short = 'v')]
    pub(crate) version: bool,
}

/// The format of the log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[command(args_override_self = true)]
pub(crate) enum Command {
    Checkpoint(commands::checkpoint::Arguments),
    Create(commands::create::Arguments),
    Criu(commands::criu::Arguments),
    Delete(commands::delete::Arguments),
    Docker(commands::docker::Arguments),
    EngineConfig(commands::engine_config::Arguments),
    Events(commands::events::Arguments),
    Exec(commands::exec::Arguments),
    Features(commands::features::Arguments),
    Images(commands::images::Arguments),
    Kill(commands::kill::Arguments),
    LazyPages(commands::lazy_pages::Arguments),
    List(commands::list::Arguments),
    PageServer(commands::page_server::Arguments),
    Pause(commands::pause::Arguments),
    Ps(commands::ps::Arguments),
    Restore(commands::restore::Arguments),
    Resume(commands::resume::Arguments),
    Run(commands::run::Arguments),
    Spec(commands::spec::Arguments),
    Start(commands::start::Arguments),
    State(commands::state::Arguments),
    Update(commands::update::Arguments),
}

/// The options before the command, and no command.
pub(crate) fn globals() -> clap::Command {
    Global::augment_args(clap::Command::new("rt"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
}

/// One command by itself; each stands in [`Command`], too.
pub(crate) fn definition(name: &str) -> Option<clap::Command> {
    let augment = match name {
        "checkpoint" => commands::checkpoint::Arguments::augment_args,
        "create" => commands::create::Arguments::augment_args,
        "criu" => commands::criu::Arguments::augment_args,
        "delete" => commands::delete::Arguments::augment_args,
        "docker" => commands::docker::Arguments::augment_args,
        "engine-config" => commands::engine_config::Arguments::augment_args,
        "events" => commands::events::Arguments::augment_args,
        "exec" => commands::exec::Arguments::augment_args,
        "features" => commands::features::Arguments::augment_args,
        "images" => commands::images::Arguments::augment_args,
        "kill" => commands::kill::Arguments::augment_args,
        "lazy-pages" => commands::lazy_pages::Arguments::augment_args,
        "list" => commands::list::Arguments::augment_args,
        "page-server" => commands::page_server::Arguments::augment_args,
        "pause" => commands::pause::Arguments::augment_args,
        "ps" => commands::ps::Arguments::augment_args,
        "restore" => commands::restore::Arguments::augment_args,
        "resume" => commands::resume::Arguments::augment_args,
        "run" => commands::run::Arguments::augment_args,
        "spec" => commands::spec::Arguments::augment_args,
        "start" => commands::start::Arguments::augment_args,
        "state" => commands::state::Arguments::augment_args,
        "update" => commands::update::Arguments::augment_args,
        _ => return None,
    };
    Some(augment(clap::Command::new(name.to_owned())).args_override_self(true))
}
