use super::Target;
use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use clap::Args;
use container::ops;

/// Print a container's state as JSON
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let state = ops::state(&context.store, &arguments.target.id()?)?;
    output::line(&serde_json::to_string_pretty(&state)?)?;
    Ok(Exit::Success)
}
