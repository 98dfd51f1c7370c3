//! One file for each command: its options, the request made from them, and what is printed of the outcome.

pub(crate) mod checkpoint;
pub(crate) mod create;
pub(crate) mod criu;
pub(crate) mod criu_options;
pub(crate) mod delete;
pub(crate) mod docker;
pub(crate) mod engine_config;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod images;
pub(crate) mod kill;
pub(crate) mod lazy_pages;
pub(crate) mod list;
pub(crate) mod page_server;
pub(crate) mod pages;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod tls;
pub(crate) mod update;
mod version;

use crate::cli::{Cli, Command};
use crate::context::{self, Context};
use crate::exit::Exit;
use ::spec::Id;
use clap::CommandFactory;

/// The commands that let a process of ours enter a container. Each goes on from a sealed place before it does ([`context::seal`]).
pub(crate) const ENTERING: [&str; 3] = ["create", "run", "exec"];

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    if cli.global.version {
        version::print()?;
        return Ok(Exit::Success);
    }
    let Some(command) = cli.command else {
        crate::output::print(&Cli::command().render_help().to_string())?;
        return Ok(Exit::Success);
    };
    // These need nothing of the caller's surroundings, such as a place for state.
    match &command {
        Command::EngineConfig(arguments) => return engine_config::run(arguments, cli.global.systemd_cgroup),
        Command::Features(arguments) => return features::run(arguments),
        Command::Images(arguments) => return images::run(arguments),
        Command::Spec(arguments) => return spec::run(arguments),
        _ => {}
    }
    let context = Context::new(&cli.global)?;
    if !matches!(command, Command::Create(_) | Command::Run(_) | Command::Exec(_)) {
        context::own_descriptors(0)?;
    }
    match command {
        Command::Checkpoint(arguments) => checkpoint::run(&context, &arguments),
        Command::Create(arguments) => create::run(&context, arguments),
        Command::Criu(arguments) => criu::run(&context, &arguments),
        Command::Delete(arguments) => delete::run(&context, &arguments),
        Command::Docker(arguments) => docker::run(&context, &arguments),
        Command::Events(arguments) => events::run(&context, &arguments),
        Command::Exec(arguments) => exec::run(&context, arguments),
        Command::Kill(arguments) => kill::run(&context, &arguments),
        Command::LazyPages(arguments) => lazy_pages::run(&context, &arguments),
        Command::List(arguments) => list::run(&context, &arguments),
        Command::PageServer(arguments) => page_server::run(&context, &arguments),
        Command::Pause(arguments) => pause::run(&context, &arguments),
        Command::Ps(arguments) => ps::run(&context, &arguments),
        Command::Restore(arguments) => restore::run(&context, arguments),
        Command::Resume(arguments) => resume::run(&context, &arguments),
        Command::Run(arguments) => run::run(&context, arguments),
        Command::EngineConfig(_) | Command::Features(_) | Command::Images(_) | Command::Spec(_) => {
            unreachable!("they returned above")
        }
        Command::Start(arguments) => start::run(&context, &arguments),
        Command::State(arguments) => state::run(&context, &arguments),
        Command::Update(arguments) => update::run(&context, &arguments),
    }
}

/// The exit code for how a container's program ended, if it was waited for.
fn exit_of(exit: Option<container::Exit>) -> Exit {
    exit.map_or(Exit::Success, |exit| Exit::Program(exit.shell_code()))
}

/// The container that a command is about. Checked when the command runs, so that a bad id is reported like any other error.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Target {
    /// The checked id.
    pub(crate) fn id(&self) -> anyhow::Result<Id> {
        Ok(Id::new(&self.id)?)
    }

    /// What was given in its place.
    pub(crate) fn text(&self) -> &str {
        &self.id
    }
}
