use super::pages::{PageOptions, endpoint};
use super::tls::TlsOptions;
use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use clap::Args;
use container::pages::{Receive, receive};
use std::path::PathBuf;

/// Receive the memory of one checkpoint or pre-dump that is made elsewhere with --page-server
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: PageOptions,
    /// Where to listen, and nowhere else; port 0 is any free one. The address is printed once it is listened on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// The images of the pre-dump before, relative to --image-path
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Take out of the images before what arrives anew
    #[arg(long)]
    auto_dedup: bool,
    /// Return when all that was received is on the disk
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let (address, port) = endpoint("--listen", &arguments.listen)?;
    let request = Receive {
        place: arguments.options.place(context)?,
        address,
        port,
        parent: arguments.parent_path.clone().filter(|path| !path.as_os_str().is_empty()),
        auto_dedup: arguments.auto_dedup,
        sync: arguments.sync,
        tls: arguments.tls.tls(true)?,
    };
    let mut printed = Ok(());
    receive(request, |address| printed = output::line(&address.to_string()))?;
    printed.map(|()| Exit::Success)
}
