//! The options that `checkpoint` and `restore` share: how CRIU is to treat what it finds.

use anyhow::{Context as _, bail};
use clap::Args;
use container::checkpoint::Allowances;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Options of both commands.
#[derive(Debug, Args)]
pub(crate) struct CriuOptions {
    /// The directory of the images [default: ./checkpoint]
    #[arg(long, value_name = "DIR", default_value = "checkpoint", hide_default_value = true)]
    image_path: PathBuf,
    /// The directory of CRIU's log and working files [default: the images']
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Allow established TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Allow unix sockets that are connected to the outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a session or terminal of the outside
    #[arg(long)]
    shell_job: bool,
    /// Handle file locks
    #[arg(long)]
    file_locks: bool,
    /// What CRIU does about cgroups (soft, full, strict or ignore)
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<String>,
    /// Write the operation's times and counts as JSON to this file, or to stdout for `-`
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
}

impl CriuOptions {
    /// The image directory.
    pub(crate) fn images(&self) -> PathBuf {
        self.image_path.clone()
    }

    /// The work directory, where it is another.
    pub(crate) fn work(&self) -> Option<PathBuf> {
        self.work_path.clone().filter(|path| !path.as_os_str().is_empty())
    }

    /// What CRIU may find.
    pub(crate) fn allowances(&self) -> anyhow::Result<Allowances> {
        use container::CgroupMode::{Full, Ignore, Soft, Strict};
        let cgroups = match self.manage_cgroups_mode.as_deref() {
            None | Some("") => None,
            Some("soft") => Some(Soft),
            Some("full") => Some(Full),
            Some("strict") => Some(Strict),
            Some("ignore") => Some(Ignore),
            Some(other) => bail!("--manage-cgroups-mode {other:?}: must be soft, full, strict or ignore"),
        };
        Ok(Allowances {
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            cgroups,
        })
    }

    /// Opens the destination of the statistics, before anything is done that they would tell of.
    pub(crate) fn open_stats(&self) -> anyhow::Result<Stats> {
        let Some(path) = &self.stats else { return Ok(Stats(None)) };
        if path.as_os_str() == "-" {
            return Ok(Stats(Some(Box::new(std::io::stdout()))));
        }
        let file = File::create(path).with_context(|| format!("--stats {}", path.display()))?;
        Ok(Stats(Some(Box::new(file))))
    }
}

/// Where statistics go, if anywhere.
pub(crate) struct Stats(Option<Box<dyn Write>>);

impl Stats {
    /// Writes them as one line of JSON. The operation is done by now, so trouble here is only a warning.
    pub(crate) fn write(&mut self, outcome: &impl Serialize) {
        let Some(to) = &mut self.0 else { return };
        let line = serde_json::to_string(outcome).unwrap_or_default();
        if let Err(e) = writeln!(to, "{line}").and_then(|()| to.flush()) {
            log::warn!("--stats: {e}");
        }
    }
}
