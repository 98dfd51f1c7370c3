//! What somebody reads at night: one fact in each line, and a table for each thing of which there are several.

use container::checkpoint::{Contents, Restored};
use container::images::{Images, Kind, OpenFile, Parent, Process};
use std::io::{self, Write};

/// Deeper trees are drawn as if they were this deep.
const DEEPEST: u32 = 24;

/// The longest path that Linux takes; more of a name is not shown.
const LONGEST_NAME: usize = 4096;

/// As many rows of a table tell how wide its columns are; later ones may be wider.
const MEASURED_ROWS: usize = 5_000;

pub(super) fn write(out: &mut dyn Write, contents: &Contents) -> io::Result<()> {
    let images = &contents.images;
    facts(out, contents)?;
    let head = ["PID", "PARENT", "STATE", "THREADS", "DUMPED", "IN PARENT", "LAZY", "SHARED", "ZERO", "NAME"];
    section(out, "PROCESSES", head, images.processes.iter().map(|it| process(images, it)))?;
    let open = images.processes.iter().flat_map(|process| {
        let places = [("cwd", process.cwd), ("root", process.root), ("program", process.program)];
        let places = places.into_iter().filter_map(move |(what, id)| {
            Some([process.pid.to_string(), what.into(), "file".into(), shown(images.path(id)?)])
        });
        places.chain(images.descriptors(process).iter().map(move |it| {
            let file = images.file(it.kind, it.id);
            [
                process.pid.to_string(),
                it.fd.to_string(),
                it.kind.name().into(),
                file.map_or_else(String::new, open_file),
            ]
        }))
    });
    section(out, "OPEN FILES", ["PID", "FD", "KIND", "NAME"], open)?;
    section(
        out,
        "SOCKETS",
        ["KIND", "PROTOCOL", "STATE", "ADDRESS", "PEER"],
        images.files().filter_map(socket),
    )?;
    let mounts = images.mounts.iter().map(|it| {
        let bound = if it.root == "/" { String::new() } else { format!(" at {}", shown(&it.root)) };
        let content = it.content.map_or_else(|| "-".into(), size);
        let external = it.external.as_deref().map_or_else(|| "-".into(), shown);
        [shown(&it.mountpoint), shown(&it.file_system), external, content, shown(&it.source) + &bound]
    });
    section(out, "MOUNTS", ["MOUNTPOINT", "TYPE", "EXTERNAL", "CONTENT", "SOURCE"], mounts)?;
    let mut kinds: Vec<_> = images.sizes.iter().collect();
    kinds.sort_by_key(|(_, it)| std::cmp::Reverse(it.size.length));
    let sizes = kinds
        .iter()
        .map(|(kind, it)| [size(it.size.length), size(it.size.on_disk), it.files.to_string(), shown(kind)]);
    section(out, "SIZES", ["BYTES", "ON DISK", "FILES", "KIND"], sizes)?;
    let head = ["LINK", "KIND", "BYTES", "PAGES", "PATH"];
    section(out, "PARENTS, THE NEAREST FIRST", head, images.parents.iter().map(parent))
}

fn facts(out: &mut dyn Write, contents: &Contents) -> io::Result<()> {
    let images = &contents.images;
    let mut fact = |name: &str, value: Option<String>| match value {
        Some(value) if !value.is_empty() => writeln!(out, "{name:<12}{value}"),
        _ => Ok(()),
    };
    fact("DIRECTORY", Some(shown(&contents.path.to_string_lossy())))?;
    fact("KIND", Some(kind(images.kind).into()))?;
    fact("WRITTEN", images.written.map(|time| humantime::format_rfc3339_seconds(time).to_string()))?;
    let version = images.inventory.as_ref().map(|inventory| format!("version {}", inventory.version));
    fact("IMAGES", version)?;
    let unknown = || Some("not known: neither rt.json nor dump.log tells".into());
    fact("CRIU", contents.criu().map(shown).or_else(unknown))?;
    fact("KERNEL", contents.kernel().map(shown).or_else(unknown))?;
    fact("HOSTNAME", images.namespaces.hostname.as_deref().map(shown))?;
    fact("NAMESPACES", Some(images.namespaces.own.join(" ")))?;
    fact("NETWORK", Some(network(contents)))?;
    fact("MEMORY", Some(memory(images)))?;
    fact(
        "FROZEN",
        contents.counted.map(|counted| format!("{:.1} ms", counted.criu_frozen_us as f64 / 1000.0)),
    )?;
    fact("RESTORED", contents.restored.map(restored))?;
    let beside = [("rt.json", contents.notes.is_some()), ("descriptors.json", contents.stdio.is_some())];
    let beside: Vec<_> = beside.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    fact("BESIDE", Some(if beside.is_empty() { "nothing of a runtime's".into() } else { beside.join(" ") }))?;
    let hollow = contents.notes.iter().flat_map(|notes| &notes.hollow);
    fact("HOLLOW", Some(hollow.map(|path| shown(&path.to_string_lossy())).collect::<Vec<_>>().join(" ")))
}

fn restored(restored: Restored) -> String {
    format!("{} pages, in {:.1} ms", restored.pages_restored, restored.restore_us as f64 / 1000.0)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Dump => "dump",
        Kind::WithoutMemory => "dump without its memory, which a page server has",
        Kind::Lazy => "dump of which a part of the memory is sent when it is touched",
        Kind::PreDump => "pre-dump: memory alone, to build on",
        Kind::Received => "memory that a page server has received; the rest of the dump is elsewhere",
    }
}

fn network(contents: &Contents) -> String {
    let networks = contents.images.namespaces.networks.iter().map(|network| match &network.external {
        Some(_) if contents.notes.as_ref().is_some_and(|notes| notes.new_network) => {
            "new one at the restore: there was nothing in it".to_owned()
        }
        Some(name) => format!("external, {}", shown(name)),
        None => network.devices.iter().map(|name| shown(name)).collect::<Vec<_>>().join(" "),
    });
    networks.collect::<Vec<_>>().join("; ")
}

fn memory(images: &Images) -> String {
    let pages = images.pages();
    let of = |pages: u64| size(pages.saturating_mul(images.page_size));
    let mut text =
        format!("{} dumped ({} pages of {} bytes)", of(pages.dumped), pages.dumped, images.page_size);
    for (count, words) in [(pages.in_parent, "in the parents"), (pages.lazy, "to be sent")] {
        if count > 0 {
            text += &format!(", {} {words} ({count} pages)", of(count));
        }
    }
    text
}

fn process(images: &Images, process: &Process) -> [String; 10] {
    let of = |pages: Option<u64>| {
        pages.map_or_else(|| "-".to_owned(), |pages| size(pages.saturating_mul(images.page_size)))
    };
    let memory = process.memory;
    let own = memory.map(|memory| memory.own);
    let is_known = process.state.is_some();
    let known = |text: String| if is_known { text } else { "-".to_owned() };
    let indent = "  ".repeat(process.depth.min(DEEPEST) as usize);
    [
        process.pid.to_string(),
        known(process.parent.to_string()),
        process.state.map_or("-", container::images::State::name).to_owned(),
        known(process.threads.to_string()),
        of(own.map(|own| own.dumped)),
        of(own.map(|own| own.in_parent)),
        of(own.map(|own| own.lazy)),
        of(memory.filter(|_| is_known).map(|memory| memory.shared)),
        of(memory.and_then(|memory| memory.zero())),
        indent + &process.name.as_deref().map_or_else(|| "-".to_owned(), shown),
    ]
}

/// The name of what is open, with what is special about it.
fn open_file(file: &OpenFile) -> String {
    let marks = [(file.removed, " (removed)"), (file.external, " (external)")];
    marks.iter().filter(|(holds, _)| *holds).fold(shown(&file.name), |name, (_, mark)| name + mark)
}

fn socket(file: &OpenFile) -> Option<[String; 5]> {
    let socket = file.socket.as_ref()?;
    let state = if socket.external { "external" } else { socket.state };
    let peer = socket.remote().map_or_else(|| "-".to_owned(), |peer| shown(&peer));
    Some([file.kind.name().into(), shown(&socket.protocol), state.into(), shown(&socket.local()), peer])
}

fn parent(parent: &Parent) -> [String; 5] {
    let found = parent.found.as_ref();
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        shown(&parent.link),
        found.map_or("MISSING", |found| found.kind.name()).to_owned(),
        or_nothing(found.map(|found| size(found.total.length))),
        or_nothing(found.map(|found| size(found.pages.length))),
        shown(&parent.path.to_string_lossy()),
    ]
}

/// Nothing that moves a cursor, and not without end.
fn shown(text: &str) -> String {
    let mut text = sys::one_line(text);
    if let Some((end, _)) = text.char_indices().nth(LONGEST_NAME) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// In the unit that leaves one to three digits before the point.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A title and a table; nothing where there are no rows. The first ones are made twice, since they tell how wide the columns are,
/// and a table of a million rows is neither to be kept nor to be waited for.
fn section<const N: usize>(
    out: &mut dyn Write,
    title: &str,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]> + Clone,
) -> io::Result<()> {
    if rows.clone().next().is_none() {
        return Ok(());
    }
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(head.clone()).chain(rows.clone().take(MEASURED_ROWS)) {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.chars().count().max(*width);
        }
    }
    writeln!(out, "\n{title}")?;
    for row in std::iter::once(head).chain(rows) {
        for (cell, width) in row[..N - 1].iter().zip(widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", row[N - 1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_few_digits() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16.0 EiB"]);
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(shown("a\nb\x1b[2J"), "a b [2J");
        assert_eq!(shown(&"ä".repeat(5000)).chars().count(), LONGEST_NAME + 3);
    }

    #[test]
    fn columns_are_as_wide_as_they_need_and_empty_tables_are_left_out() {
        let print = |rows: &[[&str; 2]]| {
            let mut out = Vec::new();
            section(&mut out, "THINGS", ["A", "NAME"], rows.iter().map(|row| row.map(str::to_owned)))
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(&[]), "");
        assert_eq!(print(&[["long", "x"], ["1", "y"]]), "\nTHINGS\nA     NAME\nlong  x\n1     y\n");
    }
}
