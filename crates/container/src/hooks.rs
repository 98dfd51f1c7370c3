//! Running a bundle's hooks (runtime-spec, config.md#posix-platform-hooks).

use crate::error::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use spec::oci::Hook;
use spec::{Config, HookKind};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    let mut command = Command::new(hook.path());
    let mut args = hook.args().iter().flatten();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    // Nobody reads along, so what a hook says must not fill a pipe; the end of its stderr is wanted when it fails.
    let said = File::from(memfd_create("hook-stderr", MemfdFlags::CLOEXEC).map_err(|e| e.to_string())?);
    let stderr = said.try_clone().map_err(|e| text(&e))?;
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr);
    for entry in hook.env().iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
    }
    let path = hook.path().display();
    let mut child = command.spawn().map_err(|e| format!("{path}: {}", text(&e)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        let _ = stdin.write_all(state);
    }
    let limit = hook.timeout().map(|s| Duration::from_secs(s.max(0).unsigned_abs()));
    let status = wait(&mut child, limit).map_err(|e| format!("{path}: {e}"))?;
    if status.success() {
        return Ok(());
    }
    let output = end_of(&said);
    Err(match output.lines().rev().find(|l| !l.trim().is_empty()) {
        Some(last) => format!("{path}: {status}, stderr: {last}"),
        None => format!("{path}: {status}"),
    })
}

/// The last 4 KiB of what was written.
fn end_of(said: &File) -> String {
    let size = said.metadata().map_or(0, |m| m.len());
    let mut bytes = vec![0; 4096];
    let read = said.read_at(&mut bytes, size.saturating_sub(4096)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

fn wait(child: &mut Child, limit: Option<Duration>) -> std::result::Result<std::process::ExitStatus, String> {
    let Some(limit) = limit else { return child.wait().map_err(|e| text(&e)) };
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| text(&e))? {
            return Ok(status);
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("did not end within {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror)
}
