//! What is measured.

use std::cell::Cell;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};
use sys::rusage::Ended;

use crate::bundle::{Bundles, HOG_BYTES};
use crate::hog;
use crate::runner::{Cost, Runner};
use crate::runtime::Runtime;

/// The id of the container; there is one at a time, and each runtime has a state directory of its own.
const ID: &str = "bench";

/// The kernel takes namespaces and cgroups apart after the commands have returned. A pause keeps one runtime's rubbish out of
/// the next one's figures.
const SETTLE: Duration = Duration::from_millis(10);

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// `run` of /bin/true in the foreground.
    Run,
    /// `create`, `start`, `delete` of /bin/true.
    Lifecycle,
    /// `exec` of /bin/true in a container that sleeps.
    Exec,
    /// `checkpoint` of a container that sleeps.
    Checkpoint,
    /// `restore -d` of that.
    Restore,
    /// `checkpoint` of a container with 1 GiB of memory.
    CheckpointMemory,
}

impl Case {
    pub(crate) const ALL: [Self; 6] =
        [Self::Run, Self::Lifecycle, Self::Exec, Self::Checkpoint, Self::Restore, Self::CheckpointMemory];

    /// As it stands in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Run => "run /bin/true",
            Self::Lifecycle => "create+start+delete",
            Self::Exec => "exec /bin/true",
            Self::Checkpoint => "checkpoint idle",
            Self::Restore => "restore idle",
            Self::CheckpointMemory => "checkpoint 1 GiB",
        }
    }

    /// How many pairs are measured unless the user says otherwise.
    pub(crate) fn pairs(self) -> usize {
        match self {
            Self::Run | Self::Lifecycle | Self::Exec => 40,
            Self::Checkpoint | Self::Restore => 20,
            Self::CheckpointMemory => 8,
        }
    }

    /// Whether the case stands on CRIU.
    pub(crate) fn needs_criu(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Restore | Self::CheckpointMemory)
    }
}

/// A runtime at work.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// Which.
    pub(crate) runtime: &'a Runtime,
    pub(crate) runner: &'a Runner,
    pub(crate) bundles: &'a Bundles,
    dir: PathBuf,
}

impl<'a> Subject<'a> {
    /// With its state, logs and images below `dir`.
    pub(crate) fn new(runtime: &'a Runtime, runner: &'a Runner, bundles: &'a Bundles, dir: &Path) -> Self {
        Self { runtime, runner, bundles, dir: dir.join(format!("with-{}", runtime.name)) }
    }

    /// Makes a fresh directory, measures one case once, and takes everything away again.
    pub(crate) fn measure(&self, case: Case) -> Result<Cost> {
        self.runner.check_interrupt()?;
        self.runner.forget_ended();
        self.in_fresh_directory(|| self.sample(case))
    }

    /// Does something with the state directory, log and images below a directory that is new, and gone afterwards.
    pub(crate) fn in_fresh_directory<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        fs::create_dir(&self.dir).with_context(|| format!("{}", self.dir.display()))?;
        let outcome = work().with_context(|| self.last_words());
        fs::remove_dir_all(&self.dir).with_context(|| format!("{}", self.dir.display()))?;
        std::thread::sleep(SETTLE);
        outcome
    }

    fn sample(&self, case: Case) -> Result<Cost> {
        match case {
            Case::Run => self.command(&["run", "--bundle", text(&self.bundles.brief)?, ID]),
            Case::Lifecycle => self.lifecycle(),
            Case::Exec => {
                let _container = self.start(&self.bundles.idle)?;
                self.command(&["exec", ID, "/bin/true"])
            }
            Case::Checkpoint => {
                let container = self.start(&self.bundles.idle)?;
                self.checkpoint(&container)
            }
            Case::Restore => {
                let container = self.start(&self.bundles.idle)?;
                self.checkpoint(&container)?;
                drop(container);
                self.restore()
            }
            Case::CheckpointMemory => {
                let container = self.start(&self.bundles.hog)?;
                while !hog::is_ready(container.pid.as_raw_nonzero().get(), HOG_BYTES)? {
                    std::thread::sleep(SETTLE);
                }
                let cost = self.checkpoint(&container)?;
                let written = size_of_files(&self.dir.join("images"))?;
                ensure!(written >= HOG_BYTES as u64, "1 GiB of memory made images of {written} bytes only");
                Ok(cost)
            }
        }
    }

    /// Three commands and, in the background, the container's process, which did part of `create`'s work.
    fn lifecycle(&self) -> Result<Cost> {
        let pid_file = self.dir.join("pid");
        let create = self.command(&[
            "create",
            "--bundle",
            text(&self.bundles.brief)?,
            "--pid-file",
            text(&pid_file)?,
            ID,
        ])?;
        let container = self.container(&pid_file)?;
        let start = self.command(&["start", ID])?;
        let process = container.wait()?;
        ensure!(process.status.success(), "/bin/true in the container: {}", process.status);
        let delete = self.command(&["delete", ID])?;
        container.gone.set(true);
        Ok((create + start + delete).with(&process))
    }

    /// Into a directory in tmpfs; the container's end is waited for, but is not part of the cost.
    fn checkpoint(&self, container: &Container<'_>) -> Result<Cost> {
        let images = self.dir.join("images");
        let work = self.dir.join("work");
        let cost =
            self.command(&["checkpoint", "--image-path", text(&images)?, "--work-path", text(&work)?, ID])?;
        container.wait()?;
        ensure!(images.join("inventory.img").exists(), "checkpoint has left no images");
        Ok(cost)
    }

    /// With the CPU time of the process that came back: part of the work is done in its name.
    fn restore(&self) -> Result<Cost> {
        let (images, work, pid_file) = (self.dir.join("images"), self.dir.join("work"), self.dir.join("pid"));
        let cost = self.command(&[
            "restore",
            "--detach",
            "--bundle",
            text(&self.bundles.idle)?,
            "--image-path",
            text(&images)?,
            "--work-path",
            text(&work)?,
            "--pid-file",
            text(&pid_file)?,
            ID,
        ])?;
        let process = self.container(&pid_file)?.kill()?;
        ensure!(
            process.status.signal() == Some(9),
            "the restored process has ended by itself: {}",
            process.status
        );
        Ok(cost.with(&process))
    }

    /// A container in the background.
    pub(crate) fn start(&self, bundle: &Path) -> Result<Container<'_>> {
        let pid_file = self.dir.join("pid");
        self.command(&["run", "--detach", "--bundle", text(bundle)?, "--pid-file", text(&pid_file)?, ID])?;
        self.container(&pid_file)
    }

    fn container(&self, pid_file: &Path) -> Result<Container<'_>> {
        let number = fs::read_to_string(pid_file).context("the pid file")?;
        let pid = Pid::from_raw(number.trim().parse()?).context("the pid file holds 0")?;
        fs::remove_file(pid_file)?;
        Ok(Container { subject: self, pid, ended: Cell::new(None), gone: Cell::new(false) })
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &'static str {
        ID
    }

    /// One command of the runtime.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Cost> {
        let (root, log) = (self.dir.join("state"), self.dir.join("log"));
        let mut line = vec![text(&self.runtime.path)?, "--root", text(&root)?, "--log", text(&log)?];
        line.extend(args);
        self.runner.run(&line).with_context(|| args[0].to_owned())
    }

    /// The last line of its log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().next_back().unwrap_or("nothing in its log").to_owned()
    }
}

/// A container, killed and deleted when dropped.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    subject: &'a Subject<'a>,
    pid: Pid,
    ended: Cell<Option<Ended>>,
    /// The runtime has deleted it.
    gone: Cell<bool>,
}

impl Container<'_> {
    /// Waits for the end of its first process.
    fn wait(&self) -> Result<Ended> {
        if self.ended.get().is_none() {
            self.ended.set(Some(self.subject.runner.wait(self.pid)?));
        }
        self.ended.get().context("waited for a process that is not ours")
    }

    /// Ends its first process, and with it all others: we do it, since runtimes differ in how long they watch it die.
    fn kill(&self) -> Result<Ended> {
        if self.ended.get().is_none() {
            rustix::process::kill_process(self.pid, Signal::KILL).context("kill the container")?;
        }
        self.wait()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.gone.get() {
            // After a checkpoint there is nothing left to kill or to delete; real leftovers are swept up at the end.
            let _ = self.kill();
            let _ = self.subject.command(&["delete", "--force", ID]);
        }
    }
}

fn size_of_files(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
