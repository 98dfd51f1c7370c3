//! Memory on its way between a dump and a restore that are in different places: criu as a command.
//!
//! CRIU's requests have a page server, too, but that is a child of the criu that is asked, and outlives who has started both. They
//! have nothing for the daemon of a lazy restore.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use sys::spawn::{Child, Exit, Spawn};

use crate::error::Ended;
use crate::session::{Stdio, add_last_words};
use crate::{Error, Images, Result, Tls, diagnose};

/// The numbers of the directories and of what else is passed, inside criu.
const IMAGES: i32 = 3;
const WORK: i32 = 4;
const EXTRA: i32 = 5;

/// A criu that runs until all memory has passed, and dies with us.
#[derive(Debug)]
pub struct Daemon<'a> {
    /// The program, an absolute path.
    pub binary: PathBuf,
    /// The images; the work directory of a lazy restore is where it finds the daemon.
    pub images: Images<'a>,
    /// What it does.
    pub task: Task,
    /// Encrypts the connection.
    pub tls: Option<Tls>,
}

/// What there is to do.
#[derive(Debug)]
pub enum Task {
    /// Write the memory that one dump sends (`criu page-server`).
    Receive {
        /// The connection to it.
        connection: OwnedFd,
        /// The images of the round before, relative to these.
        parent: Option<PathBuf>,
        /// Punch holes in the parent's images where newer pages arrive.
        auto_dedup: bool,
    },
    /// Bring memory to a restored tree when it is touched, and the rest by and by (`criu lazy-pages`).
    Fetch {
        /// Where the memory is, if not in the images: address and port of the lazy dump.
        server: Option<(String, u16)>,
        /// Gets a NUL byte when the restore can begin.
        status: Option<File>,
    },
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Self::Receive { .. } => "page-server",
            Self::Fetch { .. } => "lazy-pages",
        }
    }

    /// Adds its options and descriptors to a command.
    fn put<'a>(&'a self, spawn: &mut Spawn<'a>) -> sys::Result<()> {
        let extra = EXTRA.to_string();
        match self {
            Self::Receive { connection, parent, auto_dedup } => {
                spawn.arg("--ps-socket")?.arg(extra)?.fd(connection.as_fd(), EXTRA);
                if let Some(parent) = parent {
                    spawn.arg("--prev-images-dir")?.arg(parent)?;
                }
                if *auto_dedup {
                    spawn.arg("--auto-dedup")?;
                }
            }
            Self::Fetch { server, status } => {
                if let Some((address, port)) = server {
                    spawn.arg("--page-server")?.arg("--address")?.arg(address)?;
                    spawn.arg("--port")?.arg(port.to_string())?;
                }
                if let Some(status) = status {
                    spawn.arg("--status-fd")?.arg(extra)?.fd(status.as_fd(), EXTRA);
                }
            }
        }
        Ok(())
    }
}

impl Daemon<'_> {
    /// Runs it until it is done.
    pub fn run(&self) -> Result<()> {
        let log = self.images.log();
        let stdio = Stdio::open().map_err(Error::Start)?;
        let exit = self.spawn(&stdio).and_then(|mut child| child.wait()).map_err(Error::Start)?;
        if exit == Exit::Code(0) {
            return Ok(());
        }
        let mut words = log.read();
        add_last_words(&mut words, &stdio.stderr);
        let diagnosis = diagnose::diagnose(&words.lines);
        Err(Error::Ended(Box::new(Ended { command: self.task.name(), exit, words, diagnosis })))
    }

    fn spawn(&self, stdio: &Stdio) -> sys::Result<Child> {
        let mut spawn = stdio.program(&self.binary)?;
        spawn.die_with_parent();
        let inside = |number: i32| format!("/proc/self/fd/{number}");
        spawn.arg(self.task.name())?;
        spawn.arg("--images-dir")?.arg(inside(IMAGES))?.arg("--work-dir")?.arg(inside(WORK))?;
        spawn.fd(self.images.dir, IMAGES).fd(self.images.work(), WORK);
        spawn.arg("--log-file")?.arg(self.images.log_name())?;
        if let Some(config) = &self.images.config_file {
            spawn.arg("--config")?.arg(config)?;
        }
        if let Some(level) = self.images.log_level {
            spawn.arg(format!("-v{}", level as i32))?;
        }
        self.task.put(&mut spawn)?;
        for argument in self.tls.iter().flat_map(Tls::arguments) {
            spawn.arg(argument)?;
        }
        spawn.spawn()
    }
}
