//! The surroundings of one case: a runtime, a directory, a tag; and their removal.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::bundle::BundleBuilder;
use crate::leftovers::{Leftovers, TAG_VARIABLE};
use crate::runtime::{criu, path_with_criu};
use crate::{Bundle, Cmd, ConsoleSocket, Container, Fallible, Kind, Runtime, Value};

/// The directory of one run of the suite; what crashed runs left is removed when the next one starts.
///
/// Each run locks `<base>/<pid>.lock`; a lock that can be taken belongs to a run that is over. Its cases'
/// tags begin with `rtt-<pid>-`, whatever else became of them.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    base: PathBuf,
    busybox: PathBuf,
    _lock: File,
}

impl RunDirectory {
    pub(crate) fn create() -> Fallible<Self> {
        let base = std::env::temp_dir().join("rt-tests");
        fs::create_dir_all(&base)?;
        sweep(&base);
        let pid = std::process::id();
        let lock = File::create(base.join(format!("{pid}.lock")))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let busybox = base.join(format!("rtt-{pid}-busybox"));
        fs::copy(crate::bundle::busybox().ok_or("no static busybox")?, &busybox)?;
        Ok(Self { base, busybox, _lock: lock })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.busybox);
        let _ = fs::remove_file(self.base.join(format!("{}.lock", std::process::id())));
        // Fails when another run uses it, as it should.
        let _ = fs::remove_dir(&self.base);
    }
}

/// What one thread of a case leaves unfinished is no reason for the others not to go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what runs that are over left behind.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_suffix(".lock") else { continue };
        let Ok(lock) = File::open(entry.path()) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let tag = format!("rtt-{pid}-");
        Leftovers::find(&tag, &[]).remove();
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&tag) {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        let _ = fs::remove_file(entry.path());
    }
}

/// What the runtime sees at /sys/fs/cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// What the machine has.
    Machine,
    /// cgroup2 alone, in a mount namespace of each command's own. The hierarchy is the machine's; no controller is in it that the
    /// machine uses elsewhere.
    V2,
}

impl View {
    /// What the names of trials end with.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Machine => "",
            Self::V2 => "-v2",
        }
    }
}

/// Shows cgroup2 alone.
const ONLY_V2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup";

/// What a case gets.
#[derive(Debug)]
pub struct Test {
    runtime: Runtime,
    view: View,
    tag: String,
    directory: PathBuf,
    busybox: PathBuf,
    names: AtomicUsize,
    ids: Mutex<Vec<String>>,
    figures: Mutex<Vec<String>>,
    skipped: Mutex<Option<String>>,
}

impl Test {
    pub(crate) fn new(run: &RunDirectory, runtime: Runtime, view: View) -> Fallible<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The letter at the end keeps number 1 from being a part of number 10.
        let tag = format!("rtt-{}-{number}-t", std::process::id());
        Self::at(run.base.join(&tag), tag, run.busybox.clone(), runtime, view)
    }

    fn at(directory: PathBuf, tag: String, busybox: PathBuf, runtime: Runtime, view: View) -> Fallible<Self> {
        for name in ["state", "tmp"] {
            fs::create_dir_all(directory.join(name))?;
        }
        let names = AtomicUsize::new(0);
        let (ids, figures, skipped) = Default::default();
        Ok(Self { runtime, view, tag, directory, busybox, names, ids, figures, skipped })
    }

    /// Whether the runtime is `rt`.
    #[must_use]
    pub fn is_rt(&self) -> bool {
        self.runtime.kind == Kind::Rt
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whether the runtime sees cgroup2 alone.
    #[must_use]
    pub fn is_on_v2(&self) -> bool {
        self.view == View::V2 || crate::needs::cgroup_v2().is_ok()
    }

    /// The same surroundings with another runtime, for cases that compare two.
    ///
    /// Its containers belong to this case: `used` runs while both exist.
    ///
    /// # Errors
    /// Those of `used`, and those of cleaning up.
    pub fn with_runtime<T>(&self, runtime: Runtime, used: impl FnOnce(&Self) -> Fallible<T>) -> Fallible<T> {
        let directory = self.directory.join(runtime.name());
        let tag = format!("{}-{}", self.tag, runtime.name());
        used(&Self::at(directory, tag, self.busybox.clone(), runtime, self.view)?)
    }

    /// Surroundings that all cases of this run share, of the first that asks for `name`: for what is slow to make, such as an
    /// engine's daemon. They are removed when dropped, and by the next run of the suite when this one is killed.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn shared(&self, name: &str) -> Fallible<Self> {
        let base = self.directory.ancestors().find(|path| path.ends_with("rt-tests"));
        let tag = format!("rtt-{}-{name}", std::process::id());
        let directory = base.ok_or("the case's directory is elsewhere")?.join(&tag);
        Self::at(directory, tag, self.busybox.clone(), self.runtime.clone(), self.view)
    }

    /// The word that all names of the case hold.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The static busybox that bundles are made of.
    #[must_use]
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// Reports the case as skipped, since what it needs turned out not to work here; for what only a try can tell.
    pub fn skip(&self, reason: &str) {
        *lock(&self.skipped) = Some(reason.to_owned());
    }

    /// The reason of [`Test::skip`].
    pub(crate) fn skipped(&self) -> Option<String> {
        lock(&self.skipped).take()
    }

    /// Adds a line to the closing words of the suite, for what was measured.
    pub fn figure(&self, line: String) {
        lock(&self.figures).push(line);
    }

    /// The lines of [`Test::figure`].
    pub(crate) fn figures(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.figures))
    }

    /// A path in the case's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// A path in the case's directory that no earlier call has returned.
    #[must_use]
    pub fn new_path(&self, name: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("{name}{number}"))
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> String {
        self.path("state")
    }

    /// A container id that nobody else has; what runs under it is removed with the case.
    #[must_use]
    pub fn new_id(&self) -> String {
        let id = format!("{}{}", self.tag, self.names.fetch_add(1, Ordering::Relaxed));
        lock(&self.ids).push(id.clone());
        id
    }

    /// `<runtime> --root <state root> <args>`.
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        self.bare(&["--root", &self.root()]).args(args)
    }

    /// `<runtime> <args>` in the case's environment.
    pub fn bare(&self, args: &[&str]) -> Cmd {
        let command = self.host(&self.runtime.binary);
        let command = match self.view {
            View::Machine => command,
            View::V2 => command.in_private_mounts(ONLY_V2),
        };
        let command = command.args(args);
        match self.criu_config().filter(|_| self.runtime.kind == Kind::Runc) {
            Some(config) => command.env("CRIU_CONFIG_FILE", config),
            None => command,
        }
    }

    /// Any program, in the case's environment.
    pub fn host(&self, program: impl AsRef<OsStr>) -> Cmd {
        let command = Cmd::new(program)
            .env("PATH", path_with_criu())
            .env("TMPDIR", self.path("tmp"))
            .env(TAG_VARIABLE, &self.tag)
            .current_dir(&self.directory);
        match criu() {
            Some(criu) => command.env("RT_CRIU", criu),
            None => command,
        }
    }

    /// A configuration that keeps runc's CRIU to the hierarchies that runc uses where v1 and v2 are mounted side by side.
    ///
    /// In the other one its containers sit in the same cgroup as everybody. CRIU would write down all cgroups below that, those
    /// of cases that run meanwhile too, and make them again at the restore, for others to stumble over.
    #[must_use]
    pub fn criu_config(&self) -> Option<String> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let hierarchies = own.lines().filter_map(|line| line.split(':').nth(1));
        let (v2, v1): (Vec<_>, Vec<_>) = hierarchies.partition(|controllers| controllers.is_empty());
        let lines: String = v1.iter().map(|name| format!("cgroup-dump-controller {name}\n")).collect();
        let path = self.path("criu.conf");
        let is_hybrid = !v1.is_empty() && !v2.is_empty();
        (is_hybrid && fs::write(&path, lines).is_ok()).then_some(path)
    }

    /// As [`Test::cmd`], with /dev/null as its standard streams; the output's `stderr` is then the
    /// runtime's log.
    pub fn quiet(&self, args: &[&str]) -> Cmd {
        let log = self.new_path("log");
        self.cmd(&["--log", &log, "--log-format", "json"]).args(args).quiet(log.into())
    }

    /// A new bundle to be changed: no terminal, writable root.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bundle(&self) -> Fallible<BundleBuilder> {
        let builder = self.bundle_as_written()?;
        Ok(builder.set("/process/terminal", false.into()).set("/root/readonly", false.into()))
    }

    /// A new bundle whose config.json is what the runtime's `spec` writes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bundle_as_written(&self) -> Fallible<BundleBuilder> {
        let directory = self.new_path("bundle");
        fs::create_dir(&directory)?;
        self.cmd(&["spec", "--bundle", &directory]).succeeds()?;
        BundleBuilder::open(&directory, &self.busybox)
    }

    /// A new bundle with this config.json.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bundle_of(&self, config: Value) -> Fallible<BundleBuilder> {
        let directory = self.new_path("bundle");
        fs::create_dir(&directory)?;
        BundleBuilder::new(&directory, &self.busybox, config)
    }

    /// A container with a new id; nothing runs yet.
    #[must_use]
    pub fn container(&self, bundle: &Bundle) -> Container<'_> {
        Container { test: self, id: self.new_id(), bundle: bundle.clone() }
    }

    /// A container of the script that runs detached.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_script(&self, script: &str) -> Fallible<Container<'_>> {
        let container = self.container(&self.bundle()?.script(script).build()?);
        container.run(&[])?;
        Ok(container)
    }

    /// A socket for `--console-socket`.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn console_socket(&self) -> Fallible<ConsoleSocket> {
        ConsoleSocket::bind(self.new_path("tty"))
    }

    /// Checks that nothing with the case's tag is left: processes, cgroups, mounts, state, temporary files.
    ///
    /// # Errors
    /// Lists what is left.
    pub fn leaves_nothing(&self) -> Fallible<()> {
        let clean = [self.directory.join("state"), self.directory.join("tmp")];
        let left = Leftovers::find_settled(&self.tag, &clean);
        if left.is_empty() { Ok(()) } else { Err(format!("left behind:\n{left}").into()) }
    }

    /// Deletes the containers, as `delete --force` promises to do in any state, and checks that nothing is
    /// left.
    pub(crate) fn finish(&self) -> Fallible<()> {
        self.delete_all()?;
        self.leaves_nothing()
    }

    fn delete_all(&self) -> Fallible<()> {
        let ids = std::mem::take(&mut *lock(&self.ids));
        for id in ids.iter().filter(|id| Path::new(&self.root()).join(id).exists()) {
            self.cmd(&["delete", "--force", id]).succeeds()?;
        }
        Ok(())
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let _ = self.delete_all();
        Leftovers::find(&self.tag, &[]).remove();
        if std::env::var_os("RT_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
