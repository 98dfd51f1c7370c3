//! What is said of an operation: one line at its end, and with --verbose the way there.

use super::settings::in_path;
use super::{Action, Subject};
use crate::exit::Exit;
use crate::output;
use container::takeover::criu_errors;
use std::path::Path;
use std::process::Command;

/// Speaks to the user on stdout; the reason of a failure goes to stderr, as with every command.
pub(super) struct Verdict {
    /// The script's word for it.
    word: &'static str,
    verbose: bool,
}

impl Verdict {
    pub(super) fn new(action: Action, verbose: bool) -> Self {
        let word = match action {
            Action::Checkpoint => "dump",
            Action::Restore => "restore",
        };
        Self { word, verbose }
    }

    /// What is used.
    pub(super) fn surroundings(&self, subject: &Subject) -> anyhow::Result<()> {
        if self.verbose {
            let engine = subject.engine.program();
            let engine = in_path(engine).unwrap_or_else(|| engine.to_owned());
            let all = [
                ("docker binary", Some(&engine)),
                ("dockerinit binary", subject.dockerinit.as_ref()),
                ("criu binary", Some(&subject.criu)),
                ("image directory", Some(&subject.images)),
            ];
            for (what, path) in all {
                let Some(path) = path else { continue };
                // As the script has it: where the program really is.
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                output::line(&format!("{what}: {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// A step that is taken. That nobody reads of it does not stop it.
    pub(super) fn step(&self, step: &str) {
        if self.verbose {
            let _ = output::line(&sys::one_line(step));
        }
    }

    /// All went well, and this is the container's process now.
    pub(super) fn good(&self, pid: Option<i32>, its_output: Option<&Path>) {
        let _ = output::line(&format!("{} successful", self.word));
        if let Some(path) = its_output {
            self.step(&format!("its output goes to {}", path.display()));
        }
        if let Some(pid) = pid.filter(|_| self.verbose) {
            let shown = Command::new("ps").args(["-f", "--no-headers", "-p", &pid.to_string()]).output();
            let line = shown.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            self.step(line.as_deref().unwrap_or_default());
        }
    }

    /// How it went.
    pub(super) fn give<T>(
        &self,
        done: container::Result<T>,
        pid: impl FnOnce(&T) -> Option<i32>,
    ) -> anyhow::Result<Exit> {
        match done {
            Ok(outcome) => {
                self.good(pid(&outcome), None);
                Ok(Exit::Success)
            }
            Err(error) => self.bad(error),
        }
    }

    /// It failed.
    pub(super) fn bad(&self, error: container::Error) -> anyhow::Result<Exit> {
        let _ = output::line(&format!("{} failed", self.word));
        criu_errors(&error).iter().for_each(|line| self.step(line));
        Err(error.into())
    }
}
