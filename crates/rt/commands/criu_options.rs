//! The options that `checkpoint` and `restore` share: how CRIU is to treat what it finds.

use anyhow::{Context as _, bail};
use clap::Args;
use container::checkpoint::Allowances;
use container::{CgroupMode, CpuCap, NetworkLock, Tcp};
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
    /// Close TCP connections instead of keeping them
    #[arg(long)]
    tcp_close: bool,
    /// Leave out TCP connections that nobody has accepted yet
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// How packets are held back meanwhile (iptables, nftables or skip) [default: only where there are connections]
    #[arg(long, value_name = "METHOD")]
    network_lock: Option<String>,
    /// Allow unix sockets that are connected to the outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a session or terminal of the outside; whoever restores lends his
    #[arg(long)]
    shell_job: bool,
    /// Handle file locks
    #[arg(long)]
    file_locks: bool,
    /// What CRIU does about cgroups (soft, full, strict or ignore)
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<String>,
    /// Leave what is in a namespace to somebody else (network is the only kind)
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Vec<String>,
    /// A resource of the outside, in CRIU's words (mnt[PLACE]:NAME, unix[INODE], dev[MAJOR/MINOR]:NAME, ...)
    #[arg(long, value_name = "RESOURCE")]
    external: Vec<String>,
    /// Leave out memory that the other images of the chain have
    #[arg(long)]
    auto_dedup: bool,
    /// What of the processor must be the same at the restore (none, all, or a list of fpu, cpu and ins) [default: not looked at]
    #[arg(long, value_name = "LIST")]
    cpu_cap: Option<String>,
    /// A configuration file that CRIU reads last, and that wins [default: the bundle's, or the machine's]
    #[arg(long, value_name = "FILE")]
    criu_config: Option<PathBuf>,
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
        if self.tcp_established && self.tcp_close {
            bail!("--tcp-established and --tcp-close exclude each other: connections are kept or closed");
        }
        if let Some(kind) = self.empty_ns.iter().find(|kind| *kind != "network") {
            bail!("--empty-ns {kind:?}: CRIU can leave out a network namespace only");
        }
        Ok(Allowances {
            tcp: Tcp {
                established: self.tcp_established,
                close: self.tcp_close,
                skip_in_flight: self.tcp_skip_in_flight,
            },
            network_lock: self.network_lock()?,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            empty_network: !self.empty_ns.is_empty(),
            external: self.external.clone(),
            cgroups: self.cgroups()?,
            cpu_cap: self.cpu_cap.as_deref().filter(|text| !text.is_empty()).map(cpu_cap).transpose()?,
        })
    }

    /// The configuration file that was named.
    pub(crate) fn criu_config(&self) -> Option<PathBuf> {
        self.criu_config.clone().filter(|path| !path.as_os_str().is_empty())
    }

    /// Whether pages are taken out where they are no longer needed.
    pub(crate) fn auto_dedup(&self) -> bool {
        self.auto_dedup
    }

    fn network_lock(&self) -> anyhow::Result<Option<NetworkLock>> {
        Ok(match self.network_lock.as_deref() {
            None | Some("") => None,
            Some("iptables") => Some(NetworkLock::Iptables),
            Some("nftables") => Some(NetworkLock::Nftables),
            Some("skip") => Some(NetworkLock::Skip),
            Some(other) => bail!("--network-lock {other:?}: must be iptables, nftables or skip"),
        })
    }

    fn cgroups(&self) -> anyhow::Result<Option<CgroupMode>> {
        Ok(match self.manage_cgroups_mode.as_deref() {
            None | Some("") => None,
            Some("soft") => Some(CgroupMode::Soft),
            Some("full") => Some(CgroupMode::Full),
            Some("strict") => Some(CgroupMode::Strict),
            Some("ignore") => Some(CgroupMode::Ignore),
            Some(other) => bail!("--manage-cgroups-mode {other:?}: must be soft, full, strict or ignore"),
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

/// A list as CRIU's own --cpu-cap takes it.
fn cpu_cap(text: &str) -> anyhow::Result<CpuCap> {
    let mut caps = CpuCap::default();
    for word in text.split(',') {
        match word {
            "none" => {}
            "all" => caps = CpuCap { fpu: true, cpu: true, instructions: true },
            "fpu" => caps.fpu = true,
            "cpu" => caps.cpu = true,
            "ins" => caps.instructions = true,
            _ => bail!("--cpu-cap {text:?}: must be none, all, or a list of fpu, cpu and ins with commas"),
        }
    }
    Ok(caps)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_processor_add_up() {
        assert_eq!(cpu_cap("none").unwrap(), CpuCap::default());
        assert_eq!(cpu_cap("all").unwrap(), cpu_cap("ins,fpu,cpu").unwrap());
        for text in [",", "fpu,", "FPU", "1"] {
            assert!(cpu_cap(text).is_err(), "{text}");
        }
    }
}
