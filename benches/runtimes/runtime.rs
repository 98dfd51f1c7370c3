//! The runtimes that are compared, and the programs that they need.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One of the runtimes.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// As it stands in the table.
    pub(crate) name: &'static str,
    /// Its program.
    pub(crate) path: PathBuf,
    /// The first line of what it says for `--version`.
    pub(crate) version: String,
    /// Whether it can checkpoint: some are built without.
    pub(crate) checkpoints: bool,
}

impl Runtime {
    fn new(name: &'static str, path: PathBuf) -> Result<Self> {
        let about = output(&path, "--version")?;
        let version = about.lines().next().unwrap_or_default().to_owned();
        // crun lists what it was built with; the others always can.
        let checkpoints = !version.starts_with("crun") || about.contains("+CRIU");
        Ok(Self { name, path, version, checkpoints })
    }
}

/// All programs that take part.
#[derive(Debug)]
pub(crate) struct Programs {
    /// rt first, then those that it is measured against.
    pub(crate) runtimes: Vec<Runtime>,
    /// runc once more: it writes the bundles' configuration.
    pub(crate) runc: PathBuf,
    /// CRIU, if there is one.
    pub(crate) criu: Option<PathBuf>,
    /// A statically linked busybox.
    pub(crate) busybox: PathBuf,
}

impl Programs {
    /// Finds them. crun and CRIU may be missing.
    pub(crate) fn find() -> Result<Self> {
        let Some(runc) = in_path("runc") else { bail!("needs runc in PATH (Debian: apt install runc)") };
        let Some(busybox) = in_path("busybox") else {
            bail!("needs a static busybox in PATH (Debian: apt install busybox-static)")
        };
        let rt = std::env::var_os("RT_BIN").map_or_else(|| env!("CARGO_BIN_EXE_rt").into(), PathBuf::from);
        let mut runtimes = vec![Runtime::new("rt", rt)?, Runtime::new("runc", runc.clone())?];
        if let Some(crun) = in_path("crun") {
            runtimes.push(Runtime::new("crun", crun)?);
        }
        let criu = std::env::var_os("RT_CRIU").map(PathBuf::from).or_else(|| in_path("criu"));
        Ok(Self { runtimes, runc, criu, busybox })
    }

    /// CRIU's version, or that there is none.
    pub(crate) fn criu_version(&self) -> String {
        let asked = self.criu.as_ref().and_then(|criu| output(criu, "--version").ok());
        asked.as_deref().and_then(|text| text.lines().next()).unwrap_or("none").replace("Version: ", "")
    }

    /// The environment of every command: all runtimes find the same `criu`, rt by RT_CRIU and the others in PATH.
    pub(crate) fn environment(&self, dir: &Path) -> Result<Vec<String>> {
        let mut path = std::env::var("PATH").unwrap_or_default();
        let mut env = vec!["HOME=/root".to_owned()];
        if let Some(criu) = &self.criu {
            symlink(criu, dir.join("criu")).context("link to criu")?;
            path = format!("{}:{path}", dir.display());
            env.push(format!("RT_CRIU={}", criu.display()));
        }
        env.push(format!("PATH={path}"));
        Ok(env)
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}

fn output(program: &Path, arg: &str) -> Result<String> {
    let output = Command::new(program).arg(arg).output().with_context(|| format!("{}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
