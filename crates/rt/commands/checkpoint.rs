use super::{Target, criu_options::CriuOptions};
use crate::context::Context;
use crate::exit::Exit;
use clap::Args;
use container::checkpoint::{After, Checkpoint, checkpoint};

/// Freeze a container into a directory of images
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: CriuOptions,
    /// Let the container run on (or stay paused) afterwards
    #[arg(long)]
    leave_running: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<Exit> {
    let options = arguments.options;
    let mut stats = options.open_stats()?;
    let request = Checkpoint {
        id: arguments.target.id()?,
        images: options.images(),
        work: options.work(),
        after: if arguments.leave_running { After::LeaveRunning } else { After::Remove },
        allow: options.allowances()?,
        criu: context.criu()?,
    };
    stats.write(&checkpoint(&context.store, &request)?);
    Ok(Exit::Success)
}
