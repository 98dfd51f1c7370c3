mod document;
mod table;

use super::list::Format;
use crate::exit::Exit;
use crate::output;
use clap::Args;
use std::path::PathBuf;

/// Show what an image directory holds
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How to print it
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The directory that a checkpoint has written, or a pre-dump or a page server
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let contents = container::checkpoint::contents(&arguments.directory)?;
    match arguments.format {
        Format::Table => output::stream(|out| table::write(out, &contents))?,
        Format::Json => output::stream(|out| document::write(out, &contents))?,
    }
    Ok(Exit::Success)
}
