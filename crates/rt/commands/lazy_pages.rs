use super::pages::{PageOptions, peer};
use super::tls::TlsOptions;
use crate::context::Context;
use crate::exit::Exit;
use clap::Args;
use container::pages::{Fetch, fetch};

/// Bring memory to a container that is restored with --lazy-pages and the same --work-path
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: PageOptions,
    /// Where a checkpoint with --lazy-pages serves the memory [default: it is in the images]
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    #[command(flatten)]
    tls: TlsOptions,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let server = arguments.page_server.as_deref().filter(|text| !text.is_empty());
    let server = server.map(|text| peer("--page-server", text)).transpose()?;
    let tls = arguments.tls.tls(server.is_some())?;
    fetch(Fetch { place: arguments.options.place(context)?, server, tls })?;
    Ok(Exit::Success)
}
