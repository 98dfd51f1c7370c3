//! Whose memory lies where: pagemaps, and the mappings that they are about.

use super::error::{Damage, Error, Result};
use super::folder::{Folder, Image};
use super::frame::{Magic, embedded};
use crate::wire::images::{MmEntry, PagemapEntry, PagemapHead, VmaEntry};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// The size of a page nearly everywhere.
pub(super) const USUAL_PAGE: u64 = 4096;

/// The sizes of pages that Linux has, the most usual first.
const PAGE_SIZES: [u64; 3] = [USUAL_PAGE, 65536, 16384];

/// More pages than a machine can have.
const MOST_PAGES: u64 = 1 << 40;

/// Flags of a pagemap's entry.
mod entry {
    pub(super) const PARENT: u32 = 1;
    pub(super) const LAZY: u32 = 2;
    pub(super) const PRESENT: u32 = 4;
}

/// Flags of a mapping (CRIU's `VMA_*`).
mod mapping {
    /// Memory of the process, and no invention of the kernel's.
    pub(super) const REGULAR: u32 = 1;
    pub(super) const VDSO: u32 = 1 << 3;
    pub(super) const ANON_SHARED: u32 = 1 << 8;
    pub(super) const ANON_PRIVATE: u32 = 1 << 9;
    /// System V shared memory lies in images of its own.
    pub(super) const SYSVIPC: u32 = 1 << 10;
    pub(super) const VVAR: u32 = 1 << 12;
    /// Of a memfd, which is how CRIU sees most of what is shared.
    pub(super) const MEMFD: u32 = 1 << 14;
    pub(super) const GUARD: u32 = 1 << 16;
}

/// How many pages of a pagemap lie where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// In this directory.
    pub dumped: u64,
    /// In the directory that this one builds on, or one before.
    pub in_parent: u64,
    /// Nowhere: they are sent when they are touched.
    pub lazy: u64,
    /// Nowhere: they hold nothing but zeros.
    pub zero: u64,
}

impl std::ops::AddAssign for Pages {
    fn add_assign(&mut self, other: Self) {
        self.dumped = self.dumped.saturating_add(other.dumped);
        self.in_parent = self.in_parent.saturating_add(other.in_parent);
        self.lazy = self.lazy.saturating_add(other.lazy);
        self.zero = self.zero.saturating_add(other.zero);
    }
}

/// A process' memory, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What its pagemap says.
    pub own: Pages,
    /// Private anonymous memory that is in no pagemap, since it was never written to; None where its mappings are not known.
    pub untouched: Option<u64>,
    /// Dumped pages of the shared memory that it has mapped; others may have it mapped as well.
    pub shared: u64,
}

impl Memory {
    /// Says nothing of what depends on the size of a page, which was taken for the usual one.
    pub(super) fn forget_untouched(&mut self) {
        self.untouched = None;
    }

    /// What holds nothing but zeros, as far as that is known.
    pub fn zero(&self) -> Option<u64> {
        self.untouched.map(|pages| pages.saturating_add(self.own.zero))
    }
}

/// A piece of shared anonymous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    /// CRIU's number for it.
    pub id: u64,
    /// Where its pages lie.
    pub pages: Pages,
}

/// The memory of a directory, while its processes are read.
pub(super) struct Ledger<'a> {
    folder: &'a Folder,
    /// How many pages each of the files must hold, and which pagemap says so.
    wanted: BTreeMap<u32, (u64, String)>,
    pub(super) shared: Vec<SharedMemory>,
    /// Which piece of shared memory a memfd is, by the number of the open file.
    memfds: &'a BTreeMap<u32, u64>,
}

/// A process' mappings, as far as their memory is in the images.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    /// The program, as the number of an open file.
    pub(super) program: Option<u32>,
    /// Private anonymous memory: where it begins and ends, in order.
    private: Vec<(u64, u64)>,
    /// Shared anonymous memory that is mapped, by its number.
    shared: BTreeSet<u64>,
    /// Memfds that are mapped, by the number of the open file.
    memfds: BTreeSet<u64>,
}

impl<'a> Ledger<'a> {
    /// Begins with the memory that is nobody's own.
    pub(super) fn open(folder: &'a Folder, memfds: &'a BTreeMap<u32, u64>) -> Result<Self> {
        let mut ledger = Self { folder, wanted: BTreeMap::new(), shared: Vec::new(), memfds };
        for id in folder.numbered("pagemap-shmem-") {
            let nobody = Mappings::default();
            if let Some((pages, _)) = ledger.pagemap(format!("pagemap-shmem-{id}.img"), &nobody)? {
                ledger.shared.push(SharedMemory { id, pages });
            }
        }
        Ok(ledger)
    }

    /// A process' memory; None where there is no pagemap of it. Without its mappings less is known.
    pub(super) fn process(&mut self, pid: u32, mappings: Option<&Mappings>) -> Result<Option<Memory>> {
        let nothing = Mappings::default();
        let known = mappings.unwrap_or(&nothing);
        let Some((own, held)) = self.pagemap(format!("pagemap-{pid}.img"), known)? else { return Ok(None) };
        let mapped = known.private.iter().fold(0_u64, |sum, (start, end)| sum.saturating_add(end - start));
        let memfd = |id: &u64| u32::try_from(*id).ok().and_then(|id| self.memfds.get(&id));
        let mapped_memfds: BTreeSet<_> = known.memfds.iter().filter_map(memfd).collect();
        let is_mapped = |id| known.shared.contains(id) || mapped_memfds.contains(id);
        let shared = self.shared.iter().filter(|piece| is_mapped(&piece.id));
        Ok(Some(Memory {
            own,
            untouched: mappings.map(|_| mapped.saturating_sub(held) / USUAL_PAGE),
            shared: shared.fold(0, |sum, piece| sum.saturating_add(piece.pages.dumped)),
        }))
    }

    /// Reads a pagemap: where its pages lie, and how many bytes of the private mappings are among them.
    fn pagemap(&mut self, name: String, mappings: &Mappings) -> Result<Option<(Pages, u64)>> {
        let Some(mut image) = self.folder.image(&name, Magic::PAGEMAP)? else { return Ok(None) };
        let read = entries(&mut image, mappings);
        let (id, pages, held) = read.map_err(|damage| self.folder.error(&name, damage))?;
        let (sum, by) = self.wanted.entry(id).or_default();
        *sum = sum.saturating_add(pages.dumped);
        *by = name;
        Ok(Some((pages, held)))
    }

    /// Holds what was read against the files that have the pages. The size of a page is the one with which they are as long as
    /// they must be: it is that of the machine where the dump was made.
    pub(super) fn page_size(&self) -> Result<u64> {
        let mut sizes = PAGE_SIZES.to_vec();
        for (id, (pages, by)) in self.wanted.iter().filter(|(_, (pages, _))| *pages > 0) {
            let file = format!("pages-{id}.img");
            let Some(size) = self.folder.files().get(&file) else {
                let needed_by = format!("{by} says what is in it");
                return Err(self.folder.error(&file, Damage::Missing { needed_by }));
            };
            sizes.retain(|page| pages.saturating_mul(*page) == size.length);
            if sizes.is_empty() {
                let reason = format!("has {} bytes, which are not the {pages} pages of {by}", size.length);
                return Err(self.folder.error(&file, Damage::Contradiction(reason)));
            }
        }
        Ok(sizes.first().copied().unwrap_or(USUAL_PAGE))
    }
}

/// The file's number, where the pages lie, and how many bytes of the private mappings are among them.
fn entries(image: &mut Image, mappings: &Mappings) -> std::result::Result<(u32, Pages, u64), Damage> {
    let head: PagemapHead = image.one()?;
    let pages_id = image.need(head.pages_id, "pages_id")?;
    let (mut pages, mut held) = (Pages::default(), 0_u64);
    let mut private = mappings.private.as_slice();
    while let Some(entry) = image.next::<PagemapEntry>()? {
        let count = entry.nr_pages.or(entry.compat_nr_pages.map(u64::from));
        let count = image.need(count, "nr_pages")?;
        let start = image.need(entry.vaddr, "vaddr")?;
        if count > MOST_PAGES {
            return Err(image.damaged(&format!("{count} pages")));
        }
        pages += place(&entry, count);
        let run = (start, start.saturating_add(count * USUAL_PAGE));
        held = held.saturating_add(common(&mut private, run));
    }
    Ok((pages_id, pages, held))
}

/// Where the pages of an entry lie.
fn place(entry: &PagemapEntry, count: u64) -> Pages {
    let flags = match (entry.in_parent(), entry.flags) {
        (true, flags) => flags.unwrap_or(0) | entry::PARENT,
        // Before there were flags, what was not in the parent was here.
        (false, None) => entry::PRESENT,
        (false, Some(flags)) => flags,
    };
    if flags & entry::PARENT != 0 {
        Pages { in_parent: count, ..Pages::default() }
    } else if flags & entry::PRESENT != 0 {
        Pages { dumped: count, ..Pages::default() }
    } else if flags & entry::LAZY != 0 {
        Pages { lazy: count, ..Pages::default() }
    } else {
        Pages { zero: count, ..Pages::default() }
    }
}

/// How many bytes of a run are in the ranges, which are in order. Those that end before it are passed over for good: runs are in
/// order as well.
fn common(ranges: &mut &[(u64, u64)], run: (u64, u64)) -> u64 {
    let mut bytes = 0_u64;
    while let Some((range, rest)) = ranges.split_first() {
        bytes = bytes.saturating_add(range.1.min(run.1).saturating_sub(range.0.max(run.0)));
        if range.1 > run.1 {
            break;
        }
        *ranges = rest;
    }
    bytes
}

/// `mm-PID.img`; None where there is none, as in a pre-dump.
pub(super) fn mappings(folder: &Folder, pid: u32) -> Result<Option<Mappings>> {
    let name = format!("mm-{pid}.img");
    let Some(mut image) = folder.image(&name, Magic::MM)? else { return Ok(None) };
    let failed = |damage| -> Error { folder.error(&name, damage) };
    let cut_off = || failed(Damage::CutOff { at: 8 });
    let message = image.bytes().map_err(failed)?.ok_or_else(cut_off)?;
    let read = read_mappings(message).map_err(|reason| Damage::Entry { at: 8, reason });
    read.map(Some).map_err(failed)
}

fn read_mappings(message: &[u8]) -> std::result::Result<Mappings, String> {
    const VMAS: u64 = 14;
    let program = MmEntry::decode(message).map_err(|error| error.to_string())?.exe_file_id;
    let mut found = Mappings { program, ..Mappings::default() };
    for vma in embedded(message, VMAS) {
        let vma = vma.ok_or("vmas")?;
        let vma = VmaEntry::decode(vma).map_err(|error| error.to_string())?;
        let (start, end, status) = (vma.start(), vma.end(), vma.status());
        if start > end {
            return Err(format!("a mapping from {start:x} to {end:x}"));
        }
        let is = |flag| status & flag != 0;
        if is(mapping::ANON_SHARED) && !is(mapping::SYSVIPC) {
            found.shared.insert(vma.shmid());
        }
        if is(mapping::MEMFD) {
            found.memfds.insert(vma.shmid());
        }
        let is_of_the_kernel = is(mapping::VDSO | mapping::VVAR | mapping::GUARD);
        // Without any permission it is address space that was set aside.
        if is(mapping::REGULAR) && is(mapping::ANON_PRIVATE) && !is_of_the_kernel && vma.prot() != 0 {
            found.private.push((start, end));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pages_lie_where_old_and_new_entries_say() {
        let entry = |in_parent, flags| PagemapEntry { in_parent, flags, ..Default::default() };
        let of = |in_parent, flags| {
            let Pages { dumped, in_parent, lazy, zero } = place(&entry(in_parent, flags), 1);
            [dumped, in_parent, lazy, zero]
        };
        assert_eq!(of(None, None), [1, 0, 0, 0]);
        assert_eq!(of(Some(false), None), [1, 0, 0, 0]);
        assert_eq!(of(Some(true), None), [0, 1, 0, 0]);
        assert_eq!(of(None, Some(entry::PARENT)), [0, 1, 0, 0]);
        assert_eq!(of(None, Some(entry::PRESENT)), [1, 0, 0, 0]);
        assert_eq!(of(None, Some(entry::PRESENT | entry::LAZY)), [1, 0, 0, 0]);
        assert_eq!(of(None, Some(entry::LAZY)), [0, 0, 1, 0]);
        assert_eq!(of(None, Some(0)), [0, 0, 0, 1]);
    }

    #[test]
    fn what_runs_and_ranges_have_in_common_is_counted_once() {
        let mut ranges: &[(u64, u64)] = &[(10, 20), (30, 40), (40, 50)];
        let runs = [(0, 5), (5, 12), (15, 35), (36, 60), (70, 80)];
        assert_eq!(runs.map(|run| common(&mut ranges, run)), [0, 2, 10, 14, 0]);
    }

    #[test]
    fn mappings_that_can_have_pages_are_found() {
        let vma = |start, end, prot, status| {
            let vma = VmaEntry {
                start: Some(start),
                end: Some(end),
                prot: Some(prot),
                status: Some(status),
                shmid: Some(7),
            };
            let vma = vma.encode_to_vec();
            [vec![14 << 3 | 2, u8::try_from(vma.len()).unwrap()], vma].concat()
        };
        let private = mapping::REGULAR | mapping::ANON_PRIVATE;
        let message = [
            MmEntry { exe_file_id: Some(3) }.encode_to_vec(),
            vma(0x1000, 0x3000, 3, private),
            vma(0x3000, 0x4000, 0, private),
            vma(0x4000, 0x5000, 1, private | mapping::VVAR),
            vma(0x5000, 0x6000, 3, mapping::REGULAR | mapping::ANON_SHARED),
            vma(0x6000, 0x7000, 3, mapping::REGULAR | mapping::MEMFD),
        ]
        .concat();
        let found = read_mappings(&message).unwrap();
        assert_eq!((found.program, found.private), (Some(3), vec![(0x1000, 0x3000)]));
        assert_eq!((found.shared, found.memfds), (BTreeSet::from([7]), BTreeSet::from([7])));
        assert!(read_mappings(&vma(2, 1, 3, private)).is_err());
        assert!(read_mappings(&message[..message.len() - 1]).is_err());
    }
}
