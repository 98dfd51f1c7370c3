//! Where a container that stands alone has its stdio: its engine's shim, which held the other ends, is gone.

use crate::checkpoint::descriptors;
use crate::error::{Result, Step};
use criu::{InheritFd, Launch};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio as End};

/// Where a container's output is carried by cat(1), which ends with the container: so stdout is the pipe or the terminal that it was, and
/// a later checkpoint is one that the engine can restore.
#[derive(Debug)]
pub(super) enum Output {
    /// To the end of a file.
    File(PathBuf, File),
    /// To our own stdout and stderr.
    Ours,
}

impl Output {
    pub(super) fn to_file(path: PathBuf) -> Result<Self> {
        let file = File::options().append(true).create(true).open(&path);
        let file = file.step(|| format!("open {}", path.display()))?;
        Ok(Self::File(path, file))
    }

    /// The file, if it is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path, _) => Some(path.clone()),
            Self::Ours => None,
        }
    }

    /// Carries what comes from `source`, which is the container's descriptor `fd`, until it ends.
    pub(super) fn carry(&self, source: OwnedFd, fd: usize) -> Result<Child> {
        let end = match self {
            Self::File(path, file) => file.try_clone().step(|| format!("open {}", path.display()))?.into(),
            Self::Ours => ours(fd)?,
        };
        let mut cat = Command::new("cat");
        // In a group of its own: what is typed to end the container must not end it before.
        cat.stdin(source).stdout(end).stderr(End::null()).current_dir("/").process_group(0);
        cat.spawn().step(|| "cat".into())
    }
}

/// What takes the place of the pipes that the images know.
#[derive(Debug)]
pub(super) struct Stdio {
    /// The new ends, each under its name in the images.
    given: Vec<(String, OwnedFd)>,
    carriers: Vec<Child>,
}

impl Stdio {
    pub(super) fn of_images(images: BorrowedFd<'_>, output: &Output) -> Result<Self> {
        let mut this = Self { given: Vec::new(), carriers: Vec::new() };
        for (fd, link) in descriptors::read(images)?.into_iter().enumerate() {
            // CRIU wants each name once; anything but a pipe it opens by itself.
            if link.starts_with("pipe:[") && this.given.iter().all(|(name, _)| *name != link) {
                let end = this.end(fd, output)?;
                this.given.push((link, end));
            }
        }
        Ok(this)
    }

    fn end(&mut self, fd: usize, output: &Output) -> Result<OwnedFd> {
        match (fd, output) {
            (0, Output::Ours) => ours(0),
            _ => {
                let (from, into) = pipe_with(PipeFlags::CLOEXEC).step(|| "pipe".into())?;
                if fd == 0 {
                    // Nothing comes from it, and the next dump finds the pipe that it expects.
                    return Ok(from);
                }
                self.carriers.push(output.carry(from, fd)?);
                Ok(into)
            }
        }
    }

    /// Passes the descriptors to the criu that is about to start.
    pub(super) fn pass<'a>(&'a self, launch: &mut Launch<'a>) -> Vec<InheritFd> {
        let pass =
            |(key, fd): &'a (String, OwnedFd)| InheritFd { key: key.clone(), fd: launch.pass(fd.as_fd()) };
        self.given.iter().map(pass).collect()
    }

    /// Leaves the ends to the container. Who carries its output outlives us, unless it is waited for.
    pub(super) fn into_carriers(self) -> Vec<Child> {
        self.carriers
    }
}

fn ours(fd: usize) -> Result<OwnedFd> {
    let end = match fd {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    };
    rustix::io::fcntl_dupfd_cloexec(end, 3).step(|| format!("duplicate descriptor {fd}"))
}
