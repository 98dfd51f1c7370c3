//! `docker.json`: what a restore must know of a container that neither its engine nor CRIU's images tell then. It lies beside the
//! images; those of the script that came before have none, and can do without.

use super::links::Link;
use super::mounts::Bind;
use super::tree::Tree;
use crate::checkpoint::small_file;
use crate::error::{Error, Result, Step};
use crate::store::ProcessId;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;
use std::path::Path;

const NAME: &str = "docker.json";
/// The version of the format below; a later one is refused.
const VERSION: u32 = 1;
/// The process id alone, under the script's name.
const PID_FILE: &str = "restore.pid";

/// What was seen of a container when it was dumped, and who it is since it was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    pub(super) version: u32,
    /// Its name, by which it is asked for when its engine no longer knows it.
    pub(super) name: String,
    /// Where its root came from.
    pub(super) tree: Option<Tree>,
    /// What was mounted from outside.
    pub(super) binds: Vec<Bind>,
    /// Its network namespace is not among the images.
    pub(super) external_network: bool,
    /// Its virtual ethernet devices.
    pub(super) links: Vec<Link>,
    /// Its cgroups: the hierarchies' controllers and its place there.
    pub(super) cgroups: Vec<(String, String)>,
    /// The process that it became when it was restored standing alone.
    pub(super) restored: Option<ProcessId>,
}

impl Record {
    /// Reads it; without one nothing is known.
    pub(super) fn read(images: BorrowedFd<'_>) -> Result<Self> {
        let Some(bytes) = small_file::read(images, NAME)? else { return Ok(Self::default()) };
        let record: Self = small_file::parse(&bytes, NAME)?;
        if record.version > VERSION {
            return Err(Error::Request(format!(
                "{NAME}: written by a newer rt (version {})",
                record.version
            )));
        }
        Ok(record)
    }

    /// Writes it beside the images.
    pub(super) fn write(&self, images: BorrowedFd<'_>) -> Result<()> {
        small_file::write(images, NAME, &Self { version: VERSION, ..self.clone() })
    }

    /// Notes down whom the container has become.
    pub(super) fn write_restored(&mut self, images: BorrowedFd<'_>, dir: &Path, pid: i32) -> Result<()> {
        let process = Pid::from_raw(pid).map(ProcessId::of).transpose()?.flatten();
        let Some(process) = process.filter(|process| process.is_alive().unwrap_or(false)) else {
            return Err(Error::Request(format!("the restored process {pid} has ended at once")));
        };
        self.restored = Some(process);
        self.write(images)?;
        let path = dir.join(PID_FILE);
        std::fs::write(&path, format!("{pid}\n")).step(|| format!("write {}", path.display()))
    }

    /// The process of a container that was restored standing alone, if it still lives.
    pub(super) fn living(&self) -> Result<Option<i32>> {
        match self.restored {
            Some(process) if process.is_alive()? => Ok(Some(process.pid)),
            _ => Ok(None),
        }
    }
}
