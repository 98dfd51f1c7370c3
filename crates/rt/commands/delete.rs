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
    /// Delete all containers whose ids match CONTAINER-ID, an extended regular expression
    #[arg(long)]
    regex: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.regex {
        ops::delete_matching(&context.store, arguments.target.text(), arguments.force)?;
    } else {
        ops::delete(&context.store, &arguments.target.id()?, arguments.force)?;
    }
    Ok(Exit::Success)
}
