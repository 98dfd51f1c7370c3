//! Where everything is: an option says it, else the environment variable of the script that came before, else the engine.

use crate::context::Context;
use anyhow::bail;
use clap::Args;
use container::takeover::Engine;
use std::path::{Path, PathBuf};

/// The options for it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The engine's command, docker or podman [default: $DOCKER_BINARY, or docker]
    #[arg(long, value_name = "PROGRAM")]
    docker_binary: Option<PathBuf>,
    /// Where the engine keeps its containers [default: $DOCKER_HOME, or what the engine says]
    #[arg(long, value_name = "DIR")]
    docker_home: Option<PathBuf>,
    /// Where images are kept, a directory for each container [default: $CRIU_IMG_DIR, or criu_img in --docker-home]
    #[arg(long, value_name = "DIR")]
    criu_img_dir: Option<PathBuf>,
    /// The criu to use [default: $CRIU_BINARY, or as rt finds it]
    #[arg(long, value_name = "PROGRAM")]
    criu_binary: Option<PathBuf>,
    /// What docker before 1.9 mounts at /.dockerinit: a path, or a name in --docker-home/init [default: $DOCKERINIT_BINARY, or the one of docker's version]
    #[arg(long, value_name = "PROGRAM")]
    dockerinit_binary: Option<PathBuf>,
}

/// What was said.
pub(super) struct Settings {
    pub(super) engine: PathBuf,
    home: Option<PathBuf>,
    images: Option<PathBuf>,
    criu: Option<PathBuf>,
    dockerinit: Option<PathBuf>,
}

impl Settings {
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            engine: said(options.docker_binary.as_ref(), "DOCKER_BINARY").unwrap_or_else(|| "docker".into()),
            home: absolute(said(options.docker_home.as_ref(), "DOCKER_HOME"))?,
            images: absolute(said(options.criu_img_dir.as_ref(), "CRIU_IMG_DIR"))?,
            criu: said(options.criu_binary.as_ref(), "CRIU_BINARY"),
            dockerinit: said(options.dockerinit_binary.as_ref(), "DOCKERINIT_BINARY"),
        })
    }

    fn home(&self, engine: &Engine) -> anyhow::Result<PathBuf> {
        self.home.clone().map_or_else(|| Ok(engine.home()?), Ok)
    }

    /// Where the images of all containers are.
    pub(super) fn images(&self, engine: &Engine) -> anyhow::Result<PathBuf> {
        match &self.images {
            Some(images) => Ok(images.clone()),
            None => Ok(self.home(engine)?.join("criu_img")),
        }
    }

    /// The criu program. A bare name is looked for in PATH.
    pub(super) fn criu(&self, context: &Context) -> anyhow::Result<PathBuf> {
        let Some(said) = &self.criu else { return context.criu() };
        let path = match said.components().count() {
            1 => in_path(said).unwrap_or_else(|| said.clone()),
            _ => std::path::absolute(said)?,
        };
        Ok(container::find_criu(Some(path.as_os_str()), None)?)
    }

    /// The init of an old engine: the one that was named, or its version's.
    pub(super) fn dockerinit(&self, engine: &Engine) -> anyhow::Result<Option<PathBuf>> {
        let name = self.dockerinit.clone().or_else(|| engine.dockerinit().map(PathBuf::from));
        let Some(name) = name else { return Ok(None) };
        let path = if name.is_absolute() { name } else { self.home(engine)?.join("init").join(name) };
        if !path.exists() {
            bail!("{} does not exist", path.display());
        }
        Ok(Some(path))
    }
}

/// An option, else the variable.
fn said(option: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    let variable = || std::env::var_os(variable).map(PathBuf::from);
    option.cloned().or_else(variable).filter(|path| !path.as_os_str().is_empty())
}

fn absolute(path: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}

pub(super) fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_absolute() && file.is_file())
}
