//! The framing that CRIU's images share: magic numbers, then messages with the size of each before it.
//!
//! ```text
//!   [common or service magic] [magic of the kind] { [size, 32 bits] [message] }     all little-endian
//! ```
//!
//! Images of version 1, and the inventory of any, lack the first number. Nothing is believed: a size is not memory until its
//! bytes are there, and a file that ends within an entry is an error.

use prost::Message;
use std::io::Read;

use super::error::Damage;

const COMMON: u32 = 0x5456_4319;
const SERVICE: u32 = 0x5510_5940;

/// The largest entry; those of processes with very many mappings have some megabytes.
const LARGEST: u32 = 32 << 20;

/// What tells the kinds of images apart (CRIU's magic.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Magic(pub(crate) u32);

impl Magic {
    pub(crate) const INVENTORY: Self = Self(0x5831_3116);
    pub(crate) const STATS: Self = Self(0x5709_3306);
    pub(super) const PSTREE: Self = Self(0x5027_3030);
    pub(super) const CORE: Self = Self(0x5505_3847);
    pub(super) const IDS: Self = Self(0x5443_2030);
    pub(super) const FS: Self = Self(0x5140_3912);
    pub(super) const MM: Self = Self(0x5749_2820);
    pub(super) const PAGEMAP: Self = Self(0x5608_4025);
    pub(super) const FDINFO: Self = Self(0x5621_3732);
    pub(super) const FILES: Self = Self(0x5630_3138);
    pub(super) const REG_FILES: Self = Self(0x5036_3636);
    pub(super) const PIPES: Self = Self(0x5651_3555);
    pub(super) const FIFO: Self = Self(0x5836_4939);
    pub(super) const INETSK: Self = Self(0x5644_3851);
    pub(super) const UNIXSK: Self = Self(0x5437_3943);
    pub(super) const TTY: Self = Self(0x5943_3025);
    pub(super) const MEMFD_INODE: Self = Self(0x4845_3499);
    pub(super) const REMAP_FPATH: Self = Self(0x5913_3954);
    pub(super) const MNTS: Self = Self(0x5556_3928);
    pub(super) const UTSNS: Self = Self(0x5447_3203);
    pub(super) const NETNS: Self = Self(0x5593_3752);
    pub(super) const NETDEV: Self = Self(0x5737_3951);
}

/// The messages of one image.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    source: R,
    /// Where the next entry begins.
    at: u64,
    /// Where the last one did.
    last: u64,
    message: Vec<u8>,
}

impl<R: Read> Frames<R> {
    /// Looks at the magic numbers.
    pub(crate) fn open(source: R, kind: Magic) -> Result<Self, Damage> {
        let mut frames = Self { source, at: 0, last: 0, message: Vec::new() };
        let first = frames.word()?.ok_or(Damage::CutOff { at: 0 })?;
        let found = match first {
            COMMON | SERVICE => frames.word()?.ok_or(Damage::CutOff { at: 0 })?,
            _ => first,
        };
        if found == kind.0 {
            return Ok(frames);
        }
        if first == COMMON || first == SERVICE || first == Magic::INVENTORY.0 {
            return Err(Damage::OtherKind { found, wanted: kind.0 });
        }
        Err(Damage::Foreign(first.to_le_bytes().map(|byte| format!("{byte:02x}")).join(" ")))
    }

    /// The next message, not yet decoded; None at the end.
    pub(crate) fn bytes(&mut self) -> Result<Option<&[u8]>, Damage> {
        self.last = self.at;
        let Some(size) = self.word()? else { return Ok(None) };
        if size > LARGEST {
            return Err(self.damaged(&format!("it would have {size} bytes")));
        }
        self.message.clear();
        let read = self.source.by_ref().take(size.into()).read_to_end(&mut self.message)?;
        self.at += read as u64;
        if (read as u64) < u64::from(size) {
            return Err(Damage::CutOff { at: self.last });
        }
        Ok(Some(&self.message))
    }

    /// The next message; None at the end.
    pub(crate) fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Damage> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        M::decode(bytes).map(Some).map_err(|error| self.damaged(&error.to_string()))
    }

    /// The only message, or the first.
    pub(crate) fn one<M: Message + Default>(&mut self) -> Result<M, Damage> {
        let at = self.at;
        self.next()?.ok_or(Damage::CutOff { at })
    }

    /// What is wrong with the message that was read last.
    pub(crate) fn damaged(&self, reason: &str) -> Damage {
        Damage::Entry { at: self.last, reason: reason.to_owned() }
    }

    /// A field of the message that was read last, which must be there.
    pub(crate) fn need<T>(&self, field: Option<T>, name: &str) -> Result<T, Damage> {
        field.ok_or_else(|| self.damaged(&format!("{name} is missing")))
    }

    fn word(&mut self) -> Result<Option<u32>, Damage> {
        let mut bytes = [0; 4];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.source.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Damage::CutOff { at: self.at }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.at += 4;
        Ok(Some(u32::from_le_bytes(bytes)))
    }
}

/// The values of a repeated message field, one after the other, without a list of them in memory.
pub(super) fn embedded(message: &[u8], field: u64) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            match field_of(&mut rest) {
                Some((number, Some(value))) if number == field => return Some(Some(value)),
                Some(_) => {}
                None => {
                    rest = &[];
                    return Some(None);
                }
            }
        }
        None
    })
}

/// Takes one field off: its number, and its bytes where it has a length. None where that is not one.
fn field_of<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = prost::encoding::decode_varint(rest).ok()?;
    let length = match key & 7 {
        0 => prost::encoding::decode_varint(rest).map(|_| None).ok()?,
        1 => Some(8),
        2 => Some(prost::encoding::decode_varint(rest).ok()?),
        5 => Some(4),
        _ => return None,
    };
    let Some(length) = length else { return Some((key >> 3, None)) };
    let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some((key >> 3, (key & 7 == 2).then_some(value)))
}

/// An image of these messages.
#[cfg(test)]
pub(super) fn image(magic: &[u32], messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = magic.iter().flat_map(|word| word.to_le_bytes()).collect();
    for message in messages {
        bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::wire::images::PstreeEntry;

    fn process(pid: u32, ppid: u32) -> Vec<u8> {
        PstreeEntry { pid: Some(pid), ppid: Some(ppid), ..Default::default() }.encode_to_vec()
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(u32, u32)>, Damage> {
        let mut frames = Frames::open(bytes, Magic::PSTREE)?;
        let mut found = Vec::new();
        while let Some(entry) = frames.next::<PstreeEntry>()? {
            found.push((frames.need(entry.pid, "pid")?, entry.ppid()));
        }
        Ok(found)
    }

    #[test]
    fn both_versions_are_read_and_other_kinds_are_not() {
        let entries = [process(1, 0), process(7, 1)];
        for magic in [vec![COMMON, Magic::PSTREE.0], vec![Magic::PSTREE.0]] {
            assert_eq!(read_all(&image(&magic, &entries)).unwrap(), [(1, 0), (7, 1)]);
        }
        let wanted = Magic::PSTREE.0;
        for magic in [vec![COMMON, Magic::CORE.0], vec![Magic::INVENTORY.0]] {
            let found = *magic.last().unwrap();
            assert_eq!(read_all(&image(&magic, &[])).unwrap_err(), Damage::OtherKind { found, wanted });
        }
        assert_eq!(read_all(b"nonsense").unwrap_err(), Damage::Foreign("6e 6f 6e 73".into()));
        assert_eq!(read_all(b"").unwrap_err(), Damage::CutOff { at: 0 });
    }

    #[test]
    fn what_an_entry_lacks_and_claims_is_told_with_its_place() {
        let lacking = image(&[COMMON, Magic::PSTREE.0], &[process(1, 0), Vec::new()]);
        let at = 8 + 4 + process(1, 0).len() as u64;
        assert_eq!(
            read_all(&lacking).unwrap_err(),
            Damage::Entry { at, reason: "pid is missing".to_owned() }
        );
        let mut huge = image(&[COMMON, Magic::PSTREE.0], &[]);
        huge.extend([0xff; 4]);
        let reason = "it would have 4294967295 bytes".to_owned();
        assert_eq!(read_all(&huge).unwrap_err(), Damage::Entry { at: 8, reason });
        // What is not there is not allocated either.
        huge.splice(8.., (LARGEST).to_le_bytes());
        assert_eq!(read_all(&huge).unwrap_err(), Damage::CutOff { at: 8 });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_what_is_cut_off_is_not(
            entries in proptest::collection::vec((1..u32::MAX, 0..u32::MAX), 0..6),
            foreign in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let messages: Vec<_> = entries.iter().map(|(pid, ppid)| process(*pid, *ppid)).collect();
            let whole = image(&[COMMON, Magic::PSTREE.0], &messages);
            prop_assert_eq!(read_all(&whole).unwrap(), entries.clone());
            // A cut is seen everywhere but between two entries, where the rest is simply not there.
            let mut ends = vec![8];
            messages.iter().for_each(|m| ends.push(ends.last().unwrap() + 4 + m.len()));
            for cut in 0..whole.len() {
                let read = read_all(&whole[..cut]);
                match ends.iter().position(|end| *end == cut) {
                    Some(count) => prop_assert_eq!(read.unwrap(), &entries[..count]),
                    None => prop_assert!(matches!(read, Err(Damage::CutOff { .. })), "{:?}", read),
                }
            }
            let mut damaged = whole[..8].to_vec();
            damaged.extend(&foreign);
            let _ = read_all(&damaged);
            let _ = read_all(&foreign);
        }

        #[test]
        fn embedded_messages_are_those_that_prost_finds(
            ids in proptest::collection::vec(any::<u32>(), 0..9),
            foreign in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut message = Vec::new();
            for id in &ids {
                let inner = process(*id, 0);
                message.extend([8, 1, (14 << 3) | 2, u8::try_from(inner.len()).unwrap()]);
                message.extend(inner);
                message.extend([(3 << 3) | 5, 1, 2, 3, 4, (4 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8]);
            }
            let found: Vec<_> = embedded(&message, 14).map(|m| PstreeEntry::decode(m.unwrap()).unwrap().pid()).collect();
            prop_assert_eq!(found, ids);
            let steps = embedded(&foreign, 14).count();
            prop_assert!(steps <= foreign.len());
        }
    }
}
