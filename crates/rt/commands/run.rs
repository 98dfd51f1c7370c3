use super::{Target, create::Creation, exit_of};
use crate::context::{self, Context};
use crate::exit::Exit;
use clap::Args;
use container::ops::{self, Run};

/// Make a container and start it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    creation: Creation,
    /// Return when the container runs, instead of when it has ended
    #[arg(long, short)]
    detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    keep: bool,
    /// Do not adopt the container's orphans
    #[arg(long)]
    no_subreaper: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<Exit> {
    let request = Run {
        create: arguments.creation.request(context, &arguments.target)?,
        detach: arguments.detach,
        keep: arguments.keep,
        no_subreaper: arguments.no_subreaper,
    };
    context::seal(request.create.listen_fds, request.create.preserve_fds)?;
    Ok(exit_of(ops::run(&context.store, &request)?))
}
