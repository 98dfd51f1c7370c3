//! Performing an operation: the engine's commands, in surroundings of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::engine::{Engine, Kit};
use crate::row::Row;
use testkit::{Cmd, Fallible, Runtime, Test, patience};

const PRELUDE: &str = include_str!("shell/prelude.bash");

/// Nothing, or how the operation failed: the first line says what, the others are what was seen.
pub(crate) fn perform(engine: &'static Engine, row: &Row, place: &Test) -> Result<(), String> {
    let said = |error: testkit::Failed| error.message().unwrap_or_default().to_owned();
    let kit = engine.kit(place).map_err(said)?;
    let output = command(engine, row, place, &kit).and_then(Cmd::output).map_err(said)?;
    let trace = fs::read_to_string(place.path("trace")).unwrap_or_default();
    let seen = || {
        format!("stdout:\n{}stderr:\n{}commands:\n{}", output.stdout, output.stderr, last_lines(&trace, 30))
    };
    // For RT_TEST_KEEP.
    let _ = fs::write(place.path("seen"), seen());
    let reason = reason(&output.stderr).map_or_else(|| last_lines(&trace, 1), str::to_owned);
    match output.code {
        0 if output.stdout.trim_end() == row.prints.trim_end() => {}
        0 => return Err(format!("prints {:?} instead of {:?}\n{}", output.stdout, row.prints, seen())),
        code => return Err(format!("{reason} (status {code})\n{}", seen())),
    }
    place.leaves_nothing().map_err(|error| format!("{}\n{}", said(error).replace('\n', " "), seen()))
}

/// The operation's script.
fn command(engine: &Engine, row: &Row, place: &Test, kit: &Kit) -> Fallible<Cmd> {
    let text = format!("{PRELUDE}\n{}\noperation() {{\n{}\n}}\nperform\n", engine.shell, row.script);
    let word = |holds| if holds { "1" } else { "" };
    let is_apart = row.own_daemon || !engine.has_daemon;
    let command = script(place, &text, is_apart)?.env("OWN", word(row.own_daemon)).patient(4);
    Ok(command
        .env("SYSTEMD", word(row.under_systemd))
        .env("KIT", &kit.directory)
        .env("KITTAG", &kit.tag)
        .env("PROBE", format!("{}/probe", kit.directory)))
}

/// A script of bash with what the prelude needs; `apart` is in mount and network namespaces of its own.
pub(crate) fn script(place: &Test, text: &str, apart: bool) -> Fallible<Cmd> {
    let path = place.new_path("script");
    fs::write(&path, text)?;
    let (rt, runc) = (Runtime::rt(env!("CARGO_BIN_EXE_rt")).binary.display().to_string(), runc(place)?);
    let (name, runtime) = if place.is_rt() { ("rt", &rt) } else { ("runc", &runc) };
    let command = match apart {
        true => place.host("unshare").args(["-m", "-n", "--propagation", "private", "bash", &path]),
        false => place.host("bash").arg(&path),
    };
    let command = command
        .env("D", place.path("").trim_end_matches('/'))
        .env("TAG", place.tag())
        .env("BUSYBOX", place.busybox());
    let command = command.env("RT", &rt).env("RUNC", &runc).env("RUNTIME", runtime).env("NAME", name);
    let command = command.env("SELF", std::env::current_exe()?);
    let command = command.env("DOCKER_NAME", if place.is_rt() { "rt" } else { "plain" });
    Ok(command.env("LIMIT", patience().as_secs().to_string()))
}

/// runc, with a CRIU that keeps to runc's hierarchies: engines do not hand the case's environment on.
fn runc(place: &Test) -> Fallible<String> {
    let path = place.path("runc.sh");
    if !fs::exists(&path)? {
        let config =
            place.criu_config().map(|config| format!("CRIU_CONFIG_FILE={config} ")).unwrap_or_default();
        fs::write(&path, format!("#!/bin/sh\n{config}exec {} \"$@\"\n", Runtime::runc().binary.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// The last line that tells of an error, or the last one.
fn reason(stderr: &str) -> Option<&str> {
    stderr.lines().rev().find(|line| line.contains("rror")).or(stderr.lines().last())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
