//! Printing: results on stdout, everything else on stderr.

use anyhow::Context;
use std::io::{BufWriter, ErrorKind, Write};

/// Prints a result and its line end. A reader that has gone (`rt list | head -1`) is no error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a result as it is.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    has_reader(text).map(drop)
}

/// Prints a result piece by piece, for one that may be too long to be had in memory.
pub(crate) fn stream(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("write to stdout"),
        _ => Ok(()),
    }
}

/// Prints a result as it is; tells whether somebody is there to read more.
pub(crate) fn has_reader(text: &str) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).context("write to stdout"),
    }
}

/// Prints a message. Nobody can be told when that fails.
pub(crate) fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "rt: {text}");
}
