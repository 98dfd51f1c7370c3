//! What kind of images lie in a directory.

use super::error::{Damage, Result};
use super::folder::Folder;
use super::frame::Magic;
use crate::wire::images::{InventoryEntry, TaskKobjIdsEntry};
use std::time::Duration;

/// `inventory.img`, which CRIU writes when everything else is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The version of the images' format: 1 or 2; 0 in a pre-dump.
    pub version: u32,
    /// How long the machine had been up; known where memory was tracked.
    pub uptime: Option<Duration>,
    /// How memory was taken, in a pre-dump.
    pub pre_dump: Option<&'static str>,
    /// The security module of the machine.
    pub lsm: Option<&'static str>,
    /// Connections were left out (`--tcp-close`).
    pub tcp_close: bool,
    /// CRIU's own namespaces.
    pub(super) own: Option<TaskKobjIdsEntry>,
}

/// What a directory holds, as far as its files tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of a process tree.
    Dump,
    /// All but its memory, which went to a page server.
    WithoutMemory,
    /// All but memory that is sent when it is touched.
    Lazy,
    /// Memory alone, written while the processes ran on.
    PreDump,
    /// Memory alone, as a page server has received it.
    Received,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::WithoutMemory => "dump-without-memory",
            Self::Lazy => "lazy-dump",
            Self::PreDump => "pre-dump",
            Self::Received => "received-memory",
        }
    }
}

const NAME: &str = "inventory.img";

/// None where there is none.
pub(super) fn read(folder: &Folder) -> Result<Option<Inventory>> {
    let Some(mut image) = folder.image(NAME, Magic::INVENTORY)? else { return Ok(None) };
    let entry: InventoryEntry = image.one().map_err(|damage| folder.error(NAME, damage))?;
    let version = image.need(entry.img_version, "img_version");
    match version.map_err(|damage| folder.error(NAME, damage))? {
        1 | 2 => Ok(Some(inventory(entry))),
        // CRIU leaves it at 0 in a pre-dump, which is restored by nobody.
        0 if entry.pre_dump_mode.is_some() => Ok(Some(inventory(entry))),
        other => Err(folder.error(NAME, Damage::Version(other))),
    }
}

fn inventory(entry: InventoryEntry) -> Inventory {
    Inventory {
        version: entry.img_version(),
        uptime: entry.dump_uptime.map(Duration::from_micros),
        pre_dump: entry.pre_dump_mode.map(|mode| if mode == 2 { "read" } else { "splice" }),
        lsm: match entry.lsmtype() {
            1 => Some("selinux"),
            2 => Some("apparmor"),
            _ => None,
        },
        tcp_close: entry.tcp_close(),
        own: entry.root_ids,
    }
}
