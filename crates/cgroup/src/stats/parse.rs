//! The kernel's texts, pure.

use super::{BlkioEntry, Pressure, Stall};

/// A number; `max` is the highest there is, what is below zero is zero, and what is no number, too.
pub(crate) fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or_default(),
    }
}

/// Numbers with blanks between them.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Lines of a name and a number.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, number) = line.split_once(' ')?;
        Some((name, number.trim().parse().ok()?))
    })
}

/// The number behind `name` in lines of a name and a number.
pub(crate) fn value(text: &str, name: &str) -> u64 {
    pairs(text).find(|(found, _)| *found == name).map_or(0, |(_, number)| number)
}

/// `cpuacct.usage_all`: a head, then processor, time in programs, time in the kernel. Returns kernel and programs.
pub(super) fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    let row = |line: &str| match numbers(line).as_slice() {
        [_, user, kernel] => Some((*kernel, *user)),
        _ => None,
    };
    text.lines().skip(1).filter_map(row).unzip()
}

/// A list such as `0-3,8`.
pub(super) fn ranges(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Lines of v1's blkio: `8:0 Read 4096`, or without the word; a line for all devices (`Total 4096`) is left out.
pub(super) fn device_lines(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let (major, minor) = words.first()?.split_once(':')?;
        let (op, value) = match words.get(1..)? {
            [op, value] => (*op, *value),
            [value] => ("", *value),
            _ => return None,
        };
        let (major, minor, value) = (major.parse().ok()?, minor.parse().ok()?, value.parse().ok()?);
        Some(BlkioEntry { major, minor, op: op.to_owned(), value })
    };
    text.lines().filter_map(entry).collect()
}

/// `io.stat` of v2 (`8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...`) as v1's two tables: bytes, and operations.
pub(super) fn io_stat(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let (table, op) = match name {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                table.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    (bytes, operations)
}

/// A `.pressure` file; none where the kernel does not count.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let (name, rest) = line.split_once(' ')?;
        match name {
            "some" => pressure.some = stall(rest),
            "full" => pressure.full = stall(rest),
            _ => {}
        }
    }
    (!text.is_empty()).then_some(pressure)
}

fn stall(text: &str) -> Stall {
    let mut stall = Stall::default();
    for (name, value) in text.split(' ').filter_map(|word| word.split_once('=')) {
        let share = value.parse().ok().filter(|share: &f64| share.is_finite()).unwrap_or_default();
        match name {
            "avg10" => stall.avg10 = share,
            "avg60" => stall.avg60 = share,
            "avg300" => stall.avg300 = share,
            "total" => stall.total = number(value),
            _ => {}
        }
    }
    stall
}

/// `hugepages-2048kB`, a directory of /sys/kernel/mm/hugepages, as the kernel's cgroup files say it: `2MB`.
pub(super) fn huge_page_size(directory: &str) -> Option<String> {
    let kilobytes: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        0x10_0000.. => format!("{}GB", kilobytes >> 20),
        0x400.. => format!("{}MB", kilobytes >> 10),
        _ => format!("{kilobytes}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> BlkioEntry {
        BlkioEntry { major, minor, op: op.to_owned(), value }
    }

    #[test]
    fn numbers_of_every_kind() {
        assert_eq!(["7\n", "max", "-1", "", "x"].map(number), [7, u64::MAX, 0, 0, 0]);
        assert_eq!(numbers("1 22  3 \n"), [1, 22, 3]);
        assert_eq!(pairs("a 1\nb\nc x\nd 2").collect::<Vec<_>>(), [("a", 1), ("d", 2)]);
        assert_eq!(value("oom 1\noom_kill 2\n", "oom_kill"), 2);
        assert_eq!(ranges("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(ranges("\n"), Vec::<u16>::new());
        assert_eq!(ranges("3-1,7"), [7]);
    }

    #[test]
    fn tables_of_v1() {
        assert_eq!(usage_all("cpu user system\n0 10 20\n1 30 40\nx\n"), (vec![20, 40], vec![10, 30]));
        let text = "8:0 Read 12\n8:0 Write 0\n8:16 77\n8:0 Total 12\nTotal 12\n";
        let expected = [
            entry(8, 0, "Read", 12),
            entry(8, 0, "Write", 0),
            entry(8, 16, "", 77),
            entry(8, 0, "Total", 12),
        ];
        assert_eq!(device_lines(text), expected);
    }

    #[test]
    fn tables_of_v2() {
        let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:1\nx y=1\n";
        let (bytes, operations) = io_stat(text);
        assert_eq!(bytes, [entry(8, 0, "Read", 1), entry(8, 0, "Write", 2)]);
        assert_eq!(operations, [entry(8, 0, "Read", 3), entry(8, 0, "Write", 4)]);
    }

    #[test]
    fn pressure_is_there_or_not() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=42\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = pressure(text).unwrap();
        assert_eq!(pressure.some, Stall { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 42 });
        assert_eq!((pressure.full.avg10, pressure.full.total), (0.1, 7));
        assert_eq!(super::pressure(""), None);
    }

    #[test]
    fn sizes_of_huge_pages() {
        let sizes = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "hugepages-x", "y"];
        assert_eq!(
            sizes.map(huge_page_size),
            [Some("64KB".into()), Some("2MB".into()), Some("1GB".into()), None, None]
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-z0-9:=., \\n-]{0,80}") {
            let _ = (number(&text), numbers(&text), usage_all(&text), device_lines(&text), io_stat(&text), pressure(&text));
            prop_assert!(ranges(&text).len() <= text.len() * 65_536);
        }

        #[test]
        fn a_list_is_read_as_it_is_written(list in proptest::collection::btree_set(0u16..300, 0..40)) {
            let text = list.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
            prop_assert_eq!(ranges(&text), list.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn pairs_are_read_as_they_are_written(list in proptest::collection::vec(("[a-z_]{1,9}", any::<u64>()), 0..9)) {
            let text: String = list.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
            let read: Vec<_> = pairs(&text).map(|(name, value)| (name.to_owned(), value)).collect();
            prop_assert_eq!(read, list);
        }
    }
}
