//! Printing: results on stdout, everything else on stderr.

use anyhow::Context;
use std::io::{ErrorKind, Write};

/// Prints a result and its line end. A reader that has gone (`rt list | head -1`) is no error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a result as it is.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    has_reader(text).map(drop)
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
