//! An engine, by its command line: what it knows of a container, and what it is to do with one.

use super::inspect::Inspect;
use crate::error::{Error, Result, Step};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// docker's or podman's command, which was asked for its name.
#[derive(Clone, Debug)]
pub struct Engine {
    program: PathBuf,
    kind: Kind,
    /// What it says of its version.
    version: String,
}

/// Whose words it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// docker's.
    Docker,
    /// podman's.
    Podman,
}

impl Engine {
    /// The engine whose command is `program`: a path, or a name to be found in PATH. What it is it says itself: `docker` may
    /// well be podman.
    pub fn find(program: &Path) -> Result<Self> {
        let unknown = Self { program: program.to_owned(), kind: Kind::Docker, version: String::new() };
        let version = unknown.ask(&["--version"])?;
        let kind = if version.to_lowercase().contains("podman") { Kind::Podman } else { Kind::Docker };
        Ok(Self { kind, version, ..unknown })
    }

    /// The file, below `init` in its home, that docker before 1.9 mounts at /.dockerinit.
    pub fn dockerinit(&self) -> Option<String> {
        let version = self.version.split_once("version ")?.1.split([',', ' ', '\n']).next()?;
        let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
        let number = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (self.kind == Kind::Docker && number < (1, 9)).then(|| format!("dockerinit-{version}"))
    }

    /// Whose words it speaks.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its command.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its table of running containers, or of all.
    pub fn list(&self, all: bool) -> Result<String> {
        self.ask(if all { &["ps", "-a"] } else { &["ps"] })
    }

    /// What it knows of a container, by id or name.
    pub fn inspect(&self, container: &str) -> Result<Inspect> {
        let answer = self.ask(&["container", "inspect", "--", container])?;
        let refused =
            |reason| Error::Request(format!("{} container inspect: {reason}", self.program.display()));
        Inspect::parse(&answer).map_err(refused)
    }

    /// Where it keeps its containers.
    pub fn home(&self) -> Result<PathBuf> {
        let format = match self.kind {
            Kind::Docker => "{{.DockerRootDir}}",
            Kind::Podman => "{{.Store.GraphRoot}}",
        };
        let home = PathBuf::from(self.ask(&["info", "--format", format])?.trim());
        if home.is_absolute() {
            return Ok(home);
        }
        Err(Error::Request(format!(
            "{} info: it does not tell where it keeps its containers",
            self.program.display()
        )))
    }

    /// Whether it restores containers itself: podman does, docker where the daemon is experimental.
    pub fn can_restore(&self) -> Result<bool> {
        Ok(match self.kind {
            Kind::Docker => self.ask(&["version", "--format", "{{.Server.Experimental}}"])?.trim() == "true",
            Kind::Podman => true,
        })
    }

    /// The words with which it restores a container.
    pub(super) fn restore_words<'a>(&self, id: &'a str) -> Vec<&'a str> {
        match self.kind {
            Kind::Docker => vec!["start", "--checkpoint", super::hand_back::CHECKPOINT, id],
            Kind::Podman => vec!["container", "restore", id],
        }
    }

    /// Runs the command and gives what it prints; its error is the last line that it says.
    pub(super) fn ask(&self, args: &[impl AsRef<OsStr>]) -> Result<String> {
        let program = self.program.display();
        let output = match Command::new(&self.program).args(args).stdin(Stdio::null()).output() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::Request(format!(
                    "{program} not found: install docker or podman, or name the engine's command with --docker-binary \
                     (DOCKER_BINARY)"
                )));
            }
            other => other.step(|| program.to_string())?,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Request(format!("{program}: {}", reason(&String::from_utf8_lossy(&output.stderr)))))
    }
}

/// The error in what a command says: the last one with all that is said of it, or the last line.
fn reason(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(last) = lines.len().checked_sub(1) else { return "it does not say why".into() };
    let first = lines.iter().rposition(|line| line.starts_with("Error")).unwrap_or(last);
    let text = sys::one_line(&lines[first..].join(", "));
    text.strip_prefix("Error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker");
        // Not by us: a child of another test's would have it open for writing for a moment (ETXTBSY).
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap();
        assert!(written.success());
        (dir, path)
    }

    #[test]
    fn an_engine_says_itself_whose_words_it_speaks() {
        let (_dir, podman) = engine("echo podman version 4.3.1");
        assert_eq!(Engine::find(&podman).unwrap().kind(), Kind::Podman);
        let (_dir, docker) = engine("echo Docker version 20.10.24, build 1");
        assert_eq!(Engine::find(&docker).unwrap().kind(), Kind::Docker);
    }

    #[test]
    fn old_dockers_mount_their_own_init() {
        let of = |version: &str, kind| {
            let version = version.to_owned();
            Engine { program: PathBuf::from("docker"), kind, version }.dockerinit()
        };
        let docker = |version| of(version, Kind::Docker);
        assert_eq!(docker("Docker version 1.8.3, build f4bf5c7\n").as_deref(), Some("dockerinit-1.8.3"));
        assert_eq!(docker("Docker version 0.9.1-dev, build 1").as_deref(), Some("dockerinit-0.9.1-dev"));
        for newer in
            ["Docker version 1.9.0, build 1", "Docker version 20.10.24+dfsg1, build 297e128", "nonsense"]
        {
            assert_eq!(docker(newer), None, "{newer}");
        }
        assert_eq!(of("podman version 1.8.2", Kind::Podman), None);
    }

    #[test]
    fn its_last_word_is_the_error() {
        let (_dir, path) =
            engine("echo warning >&2; echo 'Error: no such container x' >&2; echo >&2; exit 125");
        let error = Engine::find(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: no such container x", path.display()));
        let daemon = "WARNING: x\nError response from daemon: OCI runtime restore failed\nlog file: /restore.log: unknown\n";
        assert_eq!(
            reason(daemon),
            "Error response from daemon: OCI runtime restore failed, log file: /restore.log: unknown"
        );
        assert_eq!(reason("Error: a\nError: b\n"), "b");
        assert_eq!(reason(" \n"), "it does not say why");
        let error = Engine::find(Path::new("/no/docker")).unwrap_err().to_string();
        assert!(error.starts_with("/no/docker not found: install docker or podman"), "{error}");
    }
}
