//! Running a bundle's hooks (runtime-spec, config.md#posix-platform-hooks).

use crate::error::{Error, Result};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::pipe::PipeFlags;
use spec::oci::Hook;
use spec::{Config, HookKind};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use sys::Context;
use sys::process::Exit;
use sys::spawn::{Child, Spawn};

/// Runs all hooks of one kind in order, each with the container's state on stdin; the first that fails ends it.
///
/// They run in `dir`, where one is given: those of creation in the bundle, as with runc; else in our own directory.
pub(crate) fn run(config: &Config, kind: HookKind, state: &[u8], dir: Option<&Path>) -> Result<()> {
    run_each(config, kind, state, dir).next().map_or(Ok(()), Err)
}

/// Runs the startContainer hooks. One that names no environment has the program's, as with runc and crun: it runs in its place.
pub(crate) fn run_before_program(config: &Config, state: &[u8], env: &[CString]) -> Result<()> {
    let place = Place { dir: None, env };
    run_all(config, HookKind::StartContainer, state, place).next().map_or(Ok(()), Err)
}

/// What a hook finds.
#[derive(Clone, Copy, Debug, Default)]
struct Place<'a> {
    /// The directory it runs in; None: our own.
    dir: Option<&'a Path>,
    /// The environment of a hook that names none.
    env: &'a [CString],
}

/// Runs the hooks of one kind as the failures are asked for; who asks for all of them runs all.
pub(crate) fn run_each<'a>(
    config: &'a Config,
    kind: HookKind,
    state: &'a [u8],
    dir: Option<&'a Path>,
) -> impl Iterator<Item = Error> + 'a {
    run_all(config, kind, state, Place { dir, ..Place::default() })
}

fn run_all<'a>(
    config: &'a Config,
    kind: HookKind,
    state: &'a [u8],
    place: Place<'a>,
) -> impl Iterator<Item = Error> + 'a {
    spec::hooks(&config.oci, kind).iter().enumerate().filter_map(move |(index, hook)| {
        log::debug!("{} hook #{index}: {}", kind.name(), hook.path().display());
        let reason = run_one(hook, state, place).err()?;
        let reason = format!("{}: {reason}", hook.path().display());
        Some(Error::Hook { kind: kind.name(), index, reason })
    })
}

/// Whether there are hooks of any of these kinds.
pub(crate) fn any(config: &Config, kinds: &[HookKind]) -> bool {
    kinds.iter().any(|kind| !spec::hooks(&config.oci, *kind).is_empty())
}

fn run_one(hook: &Hook, state: &[u8], place: Place<'_>) -> std::result::Result<(), String> {
    // Nobody reads along, so what a hook says must not fill a pipe; the end of its stderr is wanted when it fails.
    let said = File::from(memfd_create("hook-stderr", MemfdFlags::CLOEXEC).map_err(errno)?);
    let mut child = start(hook, state, place, &said).map_err(|e| sys::strerror(e.errno))?;
    let exit = match hook.timeout().map(i64::unsigned_abs) {
        None => child.wait().map_err(|e| e.to_string())?,
        Some(limit) => match child.wait_for(Duration::from_secs(limit)).map_err(|e| e.to_string())? {
            Some(exit) => exit,
            None => {
                // With all that it has started; dropped, it is reaped.
                child.kill_group();
                return Err(format!("hook ran past specified timeout of {limit}.0s"));
            }
        },
    };
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let output = end_of(&said);
    let how = match exit {
        Exit::Code(_) => exit.to_string(),
        Exit::Signal(signal) => format!("{exit} ({})", sys::signal::describe(signal)),
    };
    Err(match output.lines().rev().find(|l| !l.trim().is_empty()) {
        Some(last) => format!("{how}, stderr: {last}"),
        None => how,
    })
}

fn start(hook: &Hook, state: &[u8], place: Place<'_>, stderr: &File) -> sys::Result<Child> {
    let stdin = filled_pipe(state)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.call("open", || "\"/dev/null\"".into())?;
    let mut spawn = Spawn::new(hook.path())?;
    if let Some(args) = hook.args().as_ref().filter(|args| !args.is_empty()) {
        spawn.argv(args)?;
    }
    if hook.env().is_none() {
        spawn.environment(place.env);
    }
    for variable in hook.env().iter().flatten() {
        spawn.variable(variable)?;
    }
    if let Some(dir) = place.dir {
        spawn.current_dir(dir)?;
    }
    if hook.timeout().is_some() {
        spawn.own_group();
    }
    spawn.fd(stdin.as_fd(), 0).fd(null.as_fd(), 1).fd(stderr.as_fd(), 2);
    spawn.spawn()
}

/// A pipe that holds all of `data` before anyone reads it, so that a hook which does not read its state keeps nobody waiting, and
/// one that has ended already gives no SIGPIPE.
fn filled_pipe(data: &[u8]) -> sys::Result<OwnedFd> {
    /// What a new pipe holds (pipe(7)).
    const CAPACITY: usize = 65536;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).call("pipe2", String::new)?;
    if data.len() > CAPACITY {
        rustix::pipe::fcntl_setpipe_size(&write, data.len())
            .call("fcntl", || format!("F_SETPIPE_SZ, {}", data.len()))?;
    }
    File::from(write).write_all(data).call("write", || "the state to a hook".into())?;
    Ok(read)
}

/// The last 4 KiB of what was written.
fn end_of(said: &File) -> String {
    let size = said.metadata().map_or(0, |m| m.len());
    let mut bytes = vec![0; 4096];
    let read = said.read_at(&mut bytes, size.saturating_sub(4096)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

fn errno(errno: rustix::io::Errno) -> String {
    sys::strerror(errno.raw_os_error())
}
