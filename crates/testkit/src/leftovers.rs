//! What a case may leave on the machine, found by its tag: processes, cgroups, mounts, files.
//!
//! The tag stands in each container id, each path and the environment of each command of a case, so the search
//! needs no picture of the machine from before, and other tests may run at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::becomes_true;

/// The environment variable that holds the tag.
pub(crate) const TAG_VARIABLE: &str = "RT_TEST_TAG";

/// Everything that carries one tag.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    processes: Vec<(i32, String)>,
    /// Deepest first.
    cgroups: Vec<PathBuf>,
    mounts: Vec<String>,
    files: Vec<PathBuf>,
}

impl Leftovers {
    /// Finds what carries `tag`; `clean` are directories that should be empty.
    pub(crate) fn find(tag: &str, clean: &[PathBuf]) -> Self {
        let mut cgroups = Vec::new();
        find_directories(Path::new("/sys/fs/cgroup"), tag, false, &mut cgroups);
        Self {
            processes: processes(tag),
            cgroups,
            mounts: mounts(tag),
            files: clean
                .iter()
                .flat_map(|directory| entries(directory))
                .filter(|path| !stays(path))
                .collect(),
        }
    }

    /// As [`Leftovers::find`], but gives what is about to vanish a moment to do so.
    pub(crate) fn find_settled(tag: &str, clean: &[PathBuf]) -> Self {
        let mut found = Self::default();
        becomes_true(Duration::from_secs(2), || {
            found = Self::find(tag, clean);
            found.is_empty()
        });
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Kills the processes, removes the cgroups, undoes the mounts; best effort, files are left to the owner of
    /// their directory.
    pub(crate) fn remove(&self) {
        for (pid, _) in &self.processes {
            kill(*pid);
        }
        // All of them first: a process that is frozen in one hierarchy stays in the others.
        self.cgroups.iter().for_each(|cgroup| empty_cgroup(cgroup));
        for cgroup in &self.cgroups {
            becomes_true(Duration::from_secs(1), || fs::remove_dir(cgroup).is_ok() || !cgroup.exists());
        }
        for mount in self.mounts.iter().rev() {
            let _ = unmount(mount, UnmountFlags::DETACH);
            // The empty file that a named network namespace was mounted on.
            if mount.starts_with("/run/netns/") {
                let _ = fs::remove_file(mount);
            }
        }
    }
}

impl std::fmt::Display for Leftovers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (pid, what) in &self.processes {
            writeln!(f, "  process {pid}: {what}")?;
        }
        for cgroup in &self.cgroups {
            writeln!(f, "  cgroup {}", cgroup.display())?;
        }
        for mount in &self.mounts {
            writeln!(f, "  mount {mount}")?;
        }
        for file in &self.files {
            writeln!(f, "  file {}", file.display())?;
        }
        Ok(())
    }
}

/// Compiled seccomp filters outlive the container that they were first made for.
fn stays(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "@seccomp")
}

/// Whether a living process has these words in its command line.
pub(crate) fn is_spoken_of(words: &str) -> bool {
    let own = std::process::id().cast_signed();
    pids().into_iter().any(|pid| pid != own && read(pid, "cmdline").contains(words) && is_alive(pid))
}

/// Living processes whose command line, environment or cgroup holds the tag.
fn processes(tag: &str) -> Vec<(i32, String)> {
    let own = std::process::id().cast_signed();
    pids()
        .into_iter()
        .filter(|pid| *pid != own && carries(*pid, tag) && is_alive(*pid))
        .map(|pid| (pid, read(pid, "cmdline").replace('\0', " ")))
        .collect()
}

fn pids() -> Vec<i32> {
    let pid = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    entries(Path::new("/proc")).into_iter().filter_map(pid).collect()
}

fn carries(pid: i32, tag: &str) -> bool {
    let variable = format!("{TAG_VARIABLE}={tag}");
    read(pid, "cmdline").contains(tag)
        || read(pid, "cgroup").contains(tag)
        || read(pid, "environ").contains(&variable)
}

fn is_alive(pid: i32) -> bool {
    let stat = read(pid, "stat");
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

fn read(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills what is in a cgroup, and thaws it so that it can die.
fn empty_cgroup(cgroup: &Path) {
    for pid in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
        kill(pid.parse().unwrap_or_default());
    }
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let path = cgroup.join(file);
        if path.exists() {
            let _ = fs::write(path, thawed);
        }
    }
}

/// Directories below `parent` whose name, or a parent's name, holds the tag.
fn find_directories(parent: &Path, tag: &str, inside: bool, found: &mut Vec<PathBuf>) {
    for path in entries(parent).into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        let inside = inside || path.file_name().is_some_and(|name| name.to_string_lossy().contains(tag));
        find_directories(&path, tag, inside, found);
        if inside {
            found.push(path);
        }
    }
}

/// Mount points of this namespace that hold the tag.
fn mounts(tag: &str) -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.contains(tag))
        .map(str::to_owned)
        .collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
