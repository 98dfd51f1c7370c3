//! A cgroup with processes in it, for one case.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Created, Layout};
use rustix::process::Pid;
use spec::oci::LinuxResources;
use sys::process::{Child, Exit, Forked, Namespaces, exit_now, fork, wait};

/// A cgroup that goes away with the case, whatever happens.
pub(crate) struct Fixture {
    pub(crate) cgroup: Cgroup,
    pub(crate) children: Vec<Child>,
}

impl Fixture {
    pub(crate) fn new(name: &str) -> Self {
        let this = Self { cgroup: locate(name), children: Vec::new() };
        let _: Created = this.cgroup.create().unwrap();
        this
    }

    /// A child that runs `work` in the cgroup, which it enters as a container's init does.
    pub(crate) fn start(&self, work: impl FnOnce() -> i32) -> Child {
        let inside = self.cgroup.clone_fd().unwrap();
        let entry = self.cgroup.entry(inside.is_some()).unwrap();
        match fork(Namespaces(0), inside.as_ref().map(AsFd::as_fd)).unwrap() {
            Forked::Child => exit_now(if entry.enter().is_ok() { work() } else { 99 }),
            Forked::Parent(child) => child,
        }
    }

    /// Leaves `work` running in the cgroup.
    pub(crate) fn run(&mut self, work: impl FnOnce() -> i32) -> Pid {
        let child = self.start(work);
        let pid = child.pid;
        self.children.push(child);
        wait_until("the child is inside", || self.cgroup.processes().unwrap() == [raw(pid)]);
        pid
    }

    /// The exit code of `work`, run in the cgroup.
    pub(crate) fn result(&self, work: impl FnOnce() -> i32) -> i32 {
        match wait(self.start(work).pid).unwrap() {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }

    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.cgroup.paths().map(|(_, dir)| dir.to_owned()).collect()
    }

    pub(crate) fn text(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.path(controller).unwrap().join(file);
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub(crate) fn reap(&mut self) {
        for child in self.children.drain(..) {
            wait(child.pid).unwrap();
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_all();
        for child in self.children.drain(..) {
            let _ = wait(child.pid);
        }
        let _ = self.cgroup.remove();
    }
}

pub(crate) fn locate(name: &str) -> Cgroup {
    let id = format!("rt-test-{}-{name}", std::process::id());
    Cgroup::locate(&Layout::detect().unwrap(), None, &id).unwrap()
}

pub(crate) fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_true() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}
