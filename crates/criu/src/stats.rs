//! CRIU's own numbers about a finished dump or restore, from the images `stats-dump` and `stats-restore`.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, openat};

use crate::images::frame::{Frames, Magic};
use crate::wire;

/// Statistics are some sixty bytes; a file of more than this is none.
const MAX_SIZE: u64 = 4096;

/// Numbers of a dump or a pre-dump. Pages are 4 KiB on x86-64, else the kernel's page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpStats {
    /// Stopping the tasks.
    pub freezing: Duration,
    /// While the tasks stood still, freezing not included.
    pub frozen: Duration,
    /// Finding the pages and taking them over.
    pub memory_dump: Duration,
    /// Writing the pages to the images or the page server.
    pub memory_write: Duration,
    /// Finding paths for watched inodes.
    pub irmap_resolve: Duration,
    /// Private pages looked at.
    pub pages_scanned: u64,
    /// Private pages not written, because the parent images have them.
    pub pages_skipped_parent: u64,
    /// Private pages written.
    pub pages_written: u64,
    /// Pages left to be sent when they are asked for.
    pub pages_lazy: u64,
    /// Shared pages looked at.
    pub shared_pages_scanned: u64,
    /// Shared pages not written, because the parent images have them.
    pub shared_pages_skipped_parent: u64,
    /// Shared pages written.
    pub shared_pages_written: u64,
}

/// Numbers of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// Until all tasks existed.
    pub forking: Duration,
    /// Until all were ready to run.
    pub restore: Duration,
    /// Pages compared with those inherited from the parent task.
    pub pages_compared: u64,
    /// Pages that were the same and are shared copy-on-write.
    pub pages_skipped_cow: u64,
    /// Pages filled from the images.
    pub pages_restored: u64,
}

/// Reads `stats-dump` in CRIU's work directory; `None` when there is none or it is not one.
pub fn read_dump(work_dir: BorrowedFd<'_>) -> Option<DumpStats> {
    Some(dump(&parse(&read(work_dir, "stats-dump")?)?.dump?))
}

/// Reads `stats-restore` in CRIU's work directory; `None` when there is none or it is not one.
pub fn read_restore(work_dir: BorrowedFd<'_>) -> Option<RestoreStats> {
    Some(restore(&parse(&read(work_dir, "stats-restore")?)?.restore?))
}

fn read(dir: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let file = openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
    );
    let mut bytes = Vec::new();
    File::from(file.ok()?).take(MAX_SIZE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The message of such a file.
pub(crate) fn parse(bytes: &[u8]) -> Option<wire::StatsEntry> {
    Frames::open(bytes, Magic::STATS).ok()?.one().ok()
}

fn micros(value: u32) -> Duration {
    Duration::from_micros(value.into())
}

pub(crate) fn dump(entry: &wire::DumpStatsEntry) -> DumpStats {
    DumpStats {
        freezing: micros(entry.freezing_time()),
        frozen: micros(entry.frozen_time()),
        memory_dump: micros(entry.memdump_time()),
        memory_write: micros(entry.memwrite_time()),
        irmap_resolve: micros(entry.irmap_resolve()),
        pages_scanned: entry.pages_scanned(),
        pages_skipped_parent: entry.pages_skipped_parent(),
        pages_written: entry.pages_written(),
        pages_lazy: entry.pages_lazy(),
        shared_pages_scanned: entry.shpages_scanned(),
        shared_pages_skipped_parent: entry.shpages_skipped_parent(),
        shared_pages_written: entry.shpages_written(),
    }
}

pub(crate) fn restore(entry: &wire::RestoreStatsEntry) -> RestoreStats {
    RestoreStats {
        forking: micros(entry.forking_time()),
        restore: micros(entry.restore_time()),
        pages_compared: entry.pages_compared(),
        pages_skipped_cow: entry.pages_skipped_cow(),
        pages_restored: entry.pages_restored(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A file that CRIU 4.1.1 wrote for a sleeping process.
    const REAL: [u8; 44] = [
        0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57, 0x20, 0, 0, 0, 0x0a, 0x1e, 0x08, 0x76, 0x10, 0x89,
        0x74, 0x18, 0x9f, 0x02, 0x20, 0x4c, 0x28, 0x39, 0x30, 0, 0x38, 0x1e, 0x40, 0, 0x48, 0, 0x50, 0x06,
        0x58, 0x06, 0x60, 0, 0x68, 0, 0x70, 0,
    ];

    #[test]
    fn reads_what_criu_writes() {
        let stats = dump(&parse(&REAL).unwrap().dump.unwrap());
        assert_eq!(stats.freezing, Duration::from_micros(118));
        assert_eq!(stats.frozen, Duration::from_micros(14857));
        assert_eq!((stats.pages_scanned, stats.pages_written), (57, 30));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0..44_usize) {
            let _ = parse(&bytes);
            prop_assert!(parse(&REAL[..cut]).is_none());
            let mut damaged = REAL.to_vec();
            damaged.splice(12.., bytes);
            let _ = parse(&damaged);
        }
    }
}
