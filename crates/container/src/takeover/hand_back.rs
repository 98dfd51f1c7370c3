//! A container goes back to its engine, which restores it from the images as if it had made them: they have the names that its runtime
//! expects, and lie where it looks for them.

use super::engine::{Engine, Kind};
use super::images::Place;
use super::inspect::Inspect;
use super::record::Record;
use super::subject::{end_remains, short};
use crate::error::{Error, Result, Step};
use criu::log::{Expected, Line};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name that docker knows the images by, for as long as it takes.
pub(super) const CHECKPOINT: &str = "rt-docker";

/// docker passes images through containerd's store, which for some seconds does not take again what it has just had.
const ATTEMPTS: u32 = 8;

/// A request to have the engine restore a container.
#[derive(Clone, Debug)]
pub struct HandBack {
    /// The engine.
    pub engine: Engine,
    /// The container.
    pub container: Inspect,
    /// Where its images are.
    pub images: PathBuf,
    /// Let it keep TCP connections, and file locks: podman only.
    pub allow: super::Allowances,
}

/// What is going to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    request: &'a HandBack,
    record: Record,
    /// Where the engine looks for the images.
    place: PathBuf,
    words: Vec<&'a str>,
}

impl<'a> Plan<'a> {
    /// Looks at images and engine; nothing is changed.
    pub fn new(request: &'a HandBack) -> Result<Self> {
        let record = super::check_images(&request.images, &request.container)?;
        let container = &request.container;
        let place = match request.engine.kind() {
            Kind::Docker => container.docker_dir().map(|dir| dir.join("checkpoints").join(CHECKPOINT)),
            Kind::Podman => Some(container.static_dir.join("checkpoint")),
        };
        let place = place.filter(|place| place.is_absolute()).ok_or_else(|| {
            let program = request.engine.program().display();
            Error::Request(format!(
                "{program} does not tell where it keeps container {}",
                short(&container.id)
            ))
        })?;
        refuse_its_own(request, &place)?;
        let mut words = request.engine.restore_words(&container.id);
        let allowed = request.allow.words();
        match request.engine.kind() {
            Kind::Podman => words.splice(2..2, allowed).for_each(drop),
            Kind::Docker if allowed.is_empty() => {}
            Kind::Docker => {
                let words = allowed.join(", ");
                return Err(Error::Request(format!("docker restores without {words}: pass --alone")));
            }
        }
        Ok(Self { request, record, place, words })
    }

    /// The engine's command, for people.
    pub fn in_words(&self) -> Value {
        let program = self.request.engine.program().display().to_string();
        let command: Vec<&str> =
            std::iter::once(program.as_str()).chain(self.words.iter().copied()).collect();
        json!({"command": command, "images": self.request.images, "place": self.place})
    }
}

/// Podman keeps a checkpoint of its own at the same place; the one that the container has ended with is newer than ours.
fn refuse_its_own(request: &HandBack, place: &Path) -> Result<()> {
    if !request.container.state.checkpointed || !is_foreign(&request.images, place) {
        return Ok(());
    }
    Err(Error::Request(format!(
        "{} has a checkpoint of its own of container {}, in {}: have it restore that one, or remove it first",
        request.engine.program().display(),
        short(&request.container.id),
        place.display()
    )))
}

/// Whether a checkpoint is there that is not the one here. What a killed `rt` has left there is the same.
fn is_foreign(images: &Path, place: &Path) -> bool {
    let inventory = |dir: &Path| std::fs::read(dir.join("inventory.img")).ok();
    let its = inventory(place);
    its.is_some() && its != inventory(images)
}

/// Has the engine restore a container; its first process. `tell` hears of each step.
pub fn hand_back(request: &HandBack, tell: &mut dyn FnMut(&str)) -> Result<i32> {
    Plan::new(request)?;
    let _lock = Place::new(&request.images).hold()?;
    let plan = Plan::new(request)?;
    end_remains(&plan.record, &request.container.id)?;
    let log_dir = super::images::open_dir(&request.container.static_dir).ok();
    let log = log_dir.as_ref().map(|dir| Expected::new(dir.as_fd(), super::RESTORE_LOG));
    let handed = Handed::new(&request.images, &plan.place)?;
    tell(&format!("images for the engine are in {}", plan.place.display()));
    let done = plan.ask(tell);
    if let Err(error) = done {
        return Err(diagnosed(&error, log.as_ref()));
    }
    drop(handed);
    let now = request.engine.inspect(&request.container.id)?;
    if !now.state.running {
        return Err(Error::Request(format!("container {} has ended at once", short(&now.id))));
    }
    Ok(now.state.pid)
}

impl Plan<'_> {
    fn ask(&self, tell: &mut dyn FnMut(&str)) -> Result<()> {
        tell(&format!("{} {}", self.request.engine.program().display(), self.words.join(" ")));
        for _ in 1..ATTEMPTS {
            match self.request.engine.ask(&self.words) {
                Err(error) if is_busy(&error.to_string()) => {
                    tell("the engine's store is busy; once more");
                    std::thread::sleep(Duration::from_secs(1));
                }
                other => return other.map(drop),
            }
        }
        self.request.engine.ask(&self.words).map(drop)
    }
}

fn is_busy(said: &str) -> bool {
    said.contains("content sha256:") && said.contains("already exists")
}

/// The images, where the engine looks for them; dropped, they are there no more, and what was there before is.
struct Handed<'a>(&'a Path);

impl<'a> Handed<'a> {
    fn new(images: &Path, place: &'a Path) -> Result<Self> {
        let handed = Self(place);
        if is_foreign(images, place) {
            let step = || format!("move {} aside", place.display());
            // An older one, if an earlier one of us was killed.
            let _ = std::fs::remove_dir_all(handed.aside());
            std::fs::rename(place, handed.aside()).step(step)?;
        } else if place.exists() {
            // What an earlier one left that was killed.
            std::fs::remove_dir_all(place).step(|| format!("remove {}", place.display()))?;
        }
        Place::new(images).hand_to(place)?;
        Ok(handed)
    }

    /// Where the engine's own is meanwhile, which it was told to keep.
    fn aside(&self) -> PathBuf {
        self.0.with_extension("kept")
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        // podman removes them itself.
        let _ = std::fs::remove_dir_all(self.0);
        let _ = std::fs::rename(self.aside(), self.0);
    }
}

/// The engine's error, with what CRIU's log says where the engine keeps it. Its runtime may not be able to do what CRIU can: runc does
/// not know mounts below a bind mount, say.
fn diagnosed(error: &Error, log: Option<&Expected<'_>>) -> Error {
    let log = log.map(Expected::read).unwrap_or_default();
    let cause = match (criu::diagnose::diagnose(&log.lines), log.cause()) {
        (Some(found), _) => format!(": {found}: {}", sys::one_line(&found.line)),
        (None, Some(line)) => format!(": {}", sys::one_line(&Line::to_string(line))),
        (None, None) => String::new(),
    };
    Error::Request(format!("{error}{cause} (--alone restores it without the engine)"))
}
