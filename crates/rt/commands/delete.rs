use super::Target;
use crate::context::Context;
use crate::exit::Exit;
use clap::Args;
use container::ops;

/// Delete a container that has ended
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End it first if it runs; one that does not exist is no error
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    ops::delete(&context.store, &arguments.target.id()?, arguments.force)?;
    Ok(Exit::Success)
}
