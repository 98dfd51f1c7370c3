use crate::exit::Exit;
use anyhow::{Context as _, bail};
use clap::Args;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Write a config.json to start from
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory to write it to [default: the current one]
    #[arg(long, short, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// For a container of an unprivileged user
    #[arg(long)]
    rootless: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = ::spec::Host {
        cgroup2_only: container::cgroup2_only()?,
        rootless: arguments.rootless.then(sys::effective_ids),
    };
    let path = arguments.bundle.join("config.json");
    let mut file = match File::options().write(true).create_new(true).mode(0o644).open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("File {} exists. Remove it first", path.display())
        }
        other => other.with_context(|| path.display().to_string())?,
    };
    let text = serde_json::to_string_pretty(&::spec::default_config(host))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .with_context(|| path.display().to_string())?;
    Ok(Exit::Success)
}
