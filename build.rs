//! Build facts for `rt --version`; works without git and without a repository.

use std::process::Command;

fn main() {
    println!("cargo::rustc-env=RT_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=RT_RUSTC={}", rustc().unwrap_or_else(|| "unknown".into()));
    println!("cargo::rerun-if-changed=build.rs");
    // The linker reads it when the Makefile says so, which cargo does not see.
    println!("cargo::rerun-if-changed=crates/rt/seldom.ld");
    // A missing file counts as changed on every build, so only what is there is watched.
    for path in [".git/HEAD", ".git/refs/heads/main"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn commit() -> Option<String> {
    output(Command::new("git").args(["describe", "--always", "--abbrev=12", "--exclude=*"]))
}

fn rustc() -> Option<String> {
    let version = output(Command::new(std::env::var_os("RUSTC")?).arg("--version"))?;
    version.split_whitespace().nth(1).map(str::to_owned)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
