//! `images`: an image directory, whoever has written it. The input is a list of files: one byte that says which, the length in two
//! bytes, and the contents; where the highest bit of the first byte is not set, the magic numbers that belong to the file are put
//! before them.

use crate::one_line;
use criu::fuzzing;
use std::collections::BTreeMap;

const COMMON: u32 = 0x5456_4319;

/// The files that an input can have, with their magic numbers; 0 for what has none.
const FILES: [(&str, u32); 33] = [
    ("inventory.img", 0x5831_3116),
    ("pstree.img", 0x5027_3030),
    ("core-1.img", 0x5505_3847),
    ("core-46.img", 0x5505_3847),
    ("ids-1.img", 0x5443_2030),
    ("ids-46.img", 0x5443_2030),
    ("fs-1.img", 0x5140_3912),
    ("fs-46.img", 0x5140_3912),
    ("mm-1.img", 0x5749_2820),
    ("mm-46.img", 0x5749_2820),
    ("pagemap-1.img", 0x5608_4025),
    ("pagemap-46.img", 0x5608_4025),
    ("pagemap-shmem-7.img", 0x5608_4025),
    ("fdinfo-2.img", 0x5621_3732),
    ("fdinfo-3.img", 0x5621_3732),
    ("files.img", 0x5630_3138),
    ("reg-files.img", 0x5036_3636),
    ("pipes.img", 0x5651_3555),
    ("fifo.img", 0x5836_4939),
    ("inetsk.img", 0x5644_3851),
    ("unixsk.img", 0x5437_3943),
    ("tty.img", 0x5943_3025),
    ("memfd.img", 0x4845_3499),
    ("remap-fpath.img", 0x5913_3954),
    ("mountpoints-13.img", 0x5556_3928),
    ("utsns-12.img", 0x5447_3203),
    ("netns-10.img", 0x5593_3752),
    ("netdev-10.img", 0x5737_3951),
    ("pages-1.img", 0),
    ("pages-2.img", 0),
    ("pages-3.img", 0),
    ("tmpfs-dev-42.tar.gz.img", 0),
    ("dump.log", 0),
];

pub(crate) fn check(input: &[u8]) {
    match fuzzing::images(directory(input)) {
        Err(error) => {
            let text = one_line(&error);
            assert!(text.starts_with("images"), "an error without a file: {text}");
        }
        Ok(images) => {
            let mut pids = std::collections::BTreeSet::new();
            for process in &images.processes {
                assert!(pids.insert(process.pid), "{} stands there twice", process.pid);
                assert!((process.depth as usize) < images.processes.len(), "{process:?}");
                assert!(
                    process.depth == 0 || pids.contains(&process.parent),
                    "before its parent: {process:?}"
                );
                for descriptor in images.descriptors(process) {
                    let file = images.file(descriptor.kind, descriptor.id);
                    assert!(file.is_none_or(|file| file.id == descriptor.id && file.kind == descriptor.kind));
                }
            }
            assert_eq!(
                images.files().filter(|file| images.file(file.kind, file.id) != Some(file)).count(),
                0
            );
            assert_eq!(images.pages(), images.pages());
        }
    }
}

/// The files of an input of `images`. What is said of a file of pages is how many it has.
pub fn directory(mut input: &[u8]) -> BTreeMap<String, (Vec<u8>, u64)> {
    let mut files = BTreeMap::new();
    while let Some(([which, low, high], rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (contents, rest) = rest.split_at(length.min(rest.len()));
        input = rest;
        let (name, magic) = FILES[usize::from(which & 0x7f) % FILES.len()];
        let head = match (magic, which & 0x80) {
            (0, _) | (_, 0x80) => Vec::new(),
            // The inventory alone has one number.
            (magic, _) if name == "inventory.img" => magic.to_le_bytes().to_vec(),
            (magic, _) => [COMMON.to_le_bytes(), magic.to_le_bytes()].concat(),
        };
        let bytes = [&head[..], contents].concat();
        let length = match contents.first() {
            Some(pages) if name.starts_with("pages-") => u64::from(*pages) * 4096,
            _ => bytes.len() as u64,
        };
        files.insert(name.to_owned(), (bytes, length));
    }
    files
}
