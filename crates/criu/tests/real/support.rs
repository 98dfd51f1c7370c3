//! Finding a criu, directories for images, and processes to dump.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criu::{CgroupMode, Dump, Images, Launch, NetworkLock, Restore, Session};

/// The criu to test with, if it works here.
pub(crate) fn binary() -> Option<PathBuf> {
    let skip = |why: String| {
        eprintln!("SKIP {why}");
        None
    };
    let (named, path) = (std::env::var_os("RT_CRIU"), std::env::var_os("PATH"));
    let binary = match criu::binary::find(None, named.as_deref(), path.as_deref()) {
        Ok(binary) => binary,
        Err(error) => return skip(error.to_string()),
    };
    if !rustix::process::geteuid().is_root() {
        return skip("criu needs root".into());
    }
    let dir = Dir::new();
    match Launch::new(binary.clone()).start().and_then(|session| session.check(&dir.images())) {
        Ok(()) => Some(binary),
        Err(error) => skip(error.to_string()),
    }
}

pub(crate) fn start(binary: &Path) -> Session {
    Launch::new(binary.to_owned()).start().unwrap()
}

/// A directory for images, removed at the end.
pub(crate) struct Dir {
    pub(crate) path: tempfile::TempDir,
    pub(crate) fd: OwnedFd,
}

impl Dir {
    pub(crate) fn new() -> Self {
        let path = tempfile::tempdir().unwrap();
        let fd = File::open(path.path()).unwrap().into();
        Self { path, fd }
    }

    pub(crate) fn images(&self) -> Images<'_> {
        Images::new(self.fd.as_fd())
    }

    pub(crate) fn has_pages(&self) -> bool {
        let mut names = self.path.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_str().unwrap().starts_with("pages-"))
    }

    pub(crate) fn dump(&self, victim: &Victim) -> Dump<'_> {
        let mut dump = Dump::new(victim.pid, self.images());
        dump.allow.network_lock = Some(NetworkLock::Skip);
        dump.cgroups.mode = Some(CgroupMode::Ignore);
        dump
    }

    pub(crate) fn restore(&self) -> Restore<'_> {
        let mut restore = Restore::new(self.images());
        restore.sibling = true;
        restore.allow.network_lock = Some(NetworkLock::Skip);
        restore.cgroups.mode = Some(CgroupMode::Ignore);
        restore
    }
}

/// A process in a session of its own without ties to us, killed at the end.
pub(crate) struct Victim {
    pub(crate) pid: i32,
    child: Option<Child>,
}

impl Victim {
    pub(crate) fn sleep() -> Self {
        Self::shell("exec sleep 1000", Stdio::null())
    }

    pub(crate) fn shell(script: &str, stdout: impl Into<Stdio>) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let victim = Self { pid: i32::try_from(child.id()).unwrap(), child: Some(child) };
        // setsid, the shell and the program proper each exec.
        victim.becomes(|victim| victim.runs("sleep"));
        victim
    }

    pub(crate) fn python(script: &str, args: &[&Path]) -> Option<Self> {
        let python = Path::new("/usr/bin/python3");
        if !python.exists() {
            eprintln!("SKIP this part needs /usr/bin/python3");
            return None;
        }
        let ready = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "import os,sys\nos.setsid()\n{script}\nopen({:?},'w').write('x')\nimport time\ntime.sleep(1000)",
            ready.path()
        );
        let mut command = Command::new(python);
        command
            .arg("-c")
            .arg(script)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let victim = Self { pid: i32::try_from(child.id()).unwrap(), child: Some(child) };
        let limit = Instant::now() + Duration::from_secs(10);
        while ready.path().metadata().unwrap().len() == 0 {
            assert!(Instant::now() < limit, "the script failed");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(victim)
    }

    pub(crate) fn restored(pid: i32) -> Self {
        Self { pid, child: None }
    }

    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default()
    }

    pub(crate) fn alive(&self) -> bool {
        let status = self.status();
        !status.is_empty() && !status.contains("State:\tZ")
    }

    pub(crate) fn stopped(&self) -> bool {
        self.status().contains("State:\tT")
    }

    /// Waits for what takes effect a moment after criu's answer: signals and execs.
    pub(crate) fn becomes(&self, state: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(10);
        while !state(self) {
            assert!(Instant::now() < limit, "{}", self.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn runs(&self, name: &str) -> bool {
        self.status().starts_with(&format!("Name:\t{name}\n"))
    }

    /// Reaps it, so that its pid is free for the restore.
    pub(crate) fn reap(mut self) {
        self.child.take().unwrap().wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.pid).unwrap();
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        } else if self.alive() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
    }
}
