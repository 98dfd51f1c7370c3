//! Running a bundle's hooks (runtime-spec, config.md#posix-platform-hooks).

use crate::error::{Error, Result};
use spec::oci::Hook;
use spec::{Config, HookKind};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs all hooks of one kind in order, each with the container's state on stdin; the first that fails ends it.
pub(crate) fn run(config: &Config, kind: HookKind, state: &[u8]) -> Result<()> {
    for (index, hook) in spec::hooks(&config.oci, kind).iter().enumerate() {
        log::debug!("{} hook #{index}: {}", kind.name(), hook.path().display());
        run_one(hook, state).map_err(|reason| Error::Hook { kind: kind.name(), index, reason })?;
    }
    Ok(())
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
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
    let mut output = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut output);
    }
    Err(match output.lines().rev().find(|l| !l.trim().is_empty()) {
        Some(last) => format!("{path}: {status}, stderr: {last}"),
        None => format!("{path}: {status}"),
    })
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
