//! Running a bundle's hooks (runtime-spec, config.md#posix-platform-hooks).

use crate::error::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use spec::oci::Hook;
use spec::{Config, HookKind};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use sys::spawn::{Child, Exit, Spawn};

/// Runs all hooks of one kind in order, each with the container's state on stdin; the first that fails ends it.
pub(crate) fn run(config: &Config, kind: HookKind, state: &[u8]) -> Result<()> {
    run_each(config, kind, state).next().map_or(Ok(()), Err)
}

/// Runs the hooks of one kind as the failures are asked for; who asks for all of them runs all.
pub(crate) fn run_each<'a>(
    config: &'a Config,
    kind: HookKind,
    state: &'a [u8],
) -> impl Iterator<Item = Error> + 'a {
    spec::hooks(&config.oci, kind).iter().enumerate().filter_map(move |(index, hook)| {
        log::debug!("{} hook #{index}: {}", kind.name(), hook.path().display());
        run_one(hook, state).err().map(|reason| Error::Hook { kind: kind.name(), index, reason })
    })
}

/// Whether there are hooks of any of these kinds.
pub(crate) fn any(config: &Config, kinds: &[HookKind]) -> bool {
    kinds.iter().any(|kind| !spec::hooks(&config.oci, *kind).is_empty())
}

fn run_one(hook: &Hook, state: &[u8]) -> std::result::Result<(), String> {
    let path = hook.path().display();
    // Nobody reads along, so what a hook says must not fill a pipe; the end of its stderr is wanted when it fails. And a hook
    // need not read its state.
    let said = file("hook-stderr", b"").map_err(|e| text(&e))?;
    let mut child = start(hook, state, &said).map_err(|e| format!("{path}: {}", sys::strerror(e.errno)))?;
    let exit = match hook.timeout().map(|s| Duration::from_secs(s.max(0).unsigned_abs())) {
        None => child.wait().map(Some),
        Some(limit) => wait(&mut child, limit),
    };
    let exit = match exit.map_err(|e| format!("{path}: {e}"))? {
        Some(Exit::Code(0)) => return Ok(()),
        // Dropped, it is killed.
        None => return Err(format!("{path}: did not end within {} s", hook.timeout().unwrap_or_default())),
        Some(Exit::Code(code)) => format!("exit status: {code}"),
        Some(Exit::Signal(signal)) => format!("signal: {signal}"),
    };
    let output = end_of(&said);
    Err(match output.lines().rev().find(|l| !l.trim().is_empty()) {
        Some(last) => format!("{path}: {exit}, stderr: {last}"),
        None => format!("{path}: {exit}"),
    })
}

/// Starts a hook with its state on stdin. It gets no other descriptor, not even those that are for the container
/// (`--preserve-fds`; CVE-2024-21626).
fn start(hook: &Hook, state: &[u8], said: &File) -> sys::Result<Child> {
    use sys::Context;
    let state = file("hook-state", state).call("memfd_create", || "hook-state".into())?;
    let null = File::options().write(true).open("/dev/null").call("open", || "\"/dev/null\"".into())?;
    let mut program = Spawn::new(hook.path())?;
    for (index, arg) in hook.args().iter().flatten().enumerate() {
        if index == 0 {
            program.arg0(arg)?
        } else {
            program.arg(arg)?
        };
    }
    for entry in hook.env().iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        program.env(name, value)?;
    }
    program.fd(state.as_fd(), 0).fd(null.as_fd(), 1).fd(said.as_fd(), 2).spawn()
}

/// A file in memory, to be read from its start.
fn file(name: &str, contents: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(contents)?;
    file.rewind()?;
    Ok(file)
}

/// The last 4 KiB of what was written.
fn end_of(said: &File) -> String {
    let size = said.metadata().map_or(0, |m| m.len());
    let mut bytes = vec![0; 4096];
    let read = said.read_at(&mut bytes, size.saturating_sub(4096)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// Waits for at most `limit`; a signal for us does not count as its end.
fn wait(child: &mut Child, limit: Duration) -> sys::Result<Option<Exit>> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match child.wait_for(left)? {
            None if !left.is_zero() => {}
            ended => return Ok(ended),
        }
    }
}

fn text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror)
}
