use super::Target;
use crate::context::{self, Context};
use crate::exit::Exit;
use clap::Args;
use container::ops;

/// Start a created container's program
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    ops::start(&context.store, &arguments.target.id()?, context::notify_socket().as_deref())?;
    Ok(Exit::Success)
}
