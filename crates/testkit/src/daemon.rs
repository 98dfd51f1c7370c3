//! Container engines of a case's own: podman, and docker with a daemon. All that they keep is below the case's directory, and their
//! cgroups carry the case's tag, so they see nothing of the machine's engines, nor of another case's.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::leftovers::TAG_VARIABLE;
use crate::runtime::{in_path, path_with_criu};
use crate::wait::becomes_true;
use crate::{Cmd, Fallible, Running, Test, patience};

/// The one image: busybox.
pub const IMAGE: &str = "busybox";

/// podman, and conmon.
///
/// # Errors
/// The reason why it cannot be had.
pub fn podman() -> Result<(), String> {
    needs(&["podman", "conmon", "runc"], "podman, conmon and runc")
}

/// docker's daemon, its client and containerd.
///
/// # Errors
/// The reason why they cannot be had.
pub fn docker() -> Result<(), String> {
    needs(&["dockerd", "docker", "containerd", "runc"], "dockerd, docker, containerd and runc")
}

fn needs(programs: &[&str], what: &str) -> Result<(), String> {
    let all = programs.iter().all(|program| in_path(program).is_some());
    if all { Ok(()) } else { Err(format!("needs {what} in PATH")) }
}

/// An engine, with the image [`IMAGE`]; dropped, its containers and its daemon are ended.
#[derive(Debug)]
pub struct Engine {
    program: String,
    /// A tmpfs, which carries an overlay whatever the case's directory lies on.
    place: String,
    tag: String,
    daemon: Option<Running>,
}

impl Engine {
    /// podman with this storage driver and this runtime.
    ///
    /// # Errors
    /// When it does not work.
    pub fn podman(test: &Test, driver: &str, runtime: &Path) -> Fallible<Self> {
        let this = Self::new(test, "podman", |place| {
            format!(
                "podman --root {place}/root --runroot {place}/run --tmpdir {place}/tmp --storage-driver {driver} \
                 --cgroup-manager cgroupfs --runtime {}",
                runtime.display()
            )
        })?;
        this.import(test)?;
        Ok(this)
    }

    /// docker with this storage driver and runc. Its daemon is experimental, so that it restores containers; it makes no networks.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn docker(test: &Test, driver: &str) -> Fallible<Self> {
        let mut this = Self::new(test, "docker", |place| format!("docker -H unix://{place}/socket"))?;
        let place = &this.place;
        let daemon = Cmd::new("dockerd")
            .args(["--experimental", "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--storage-driver", driver, "--cgroup-parent", &format!("/{}", this.tag)])
            .args(["-H", &format!("unix://{place}/socket"), "-p", &format!("{place}/pid")])
            .args(["--data-root", &format!("{place}/root"), "--exec-root", &format!("{place}/exec")])
            .env("PATH", path_with_criu())
            .env(TAG_VARIABLE, &this.tag);
        this.daemon = Some(daemon.spawn()?);
        let is_up =
            becomes_true(patience() * 3, || this.cmd(&["info"]).output().is_ok_and(|info| info.code == 0));
        if !is_up {
            return Err("dockerd does not come up".into());
        }
        this.import(test)?;
        Ok(this)
    }

    /// A command of this engine's: a script, since there is but one word for it.
    fn new(test: &Test, name: &str, words: impl FnOnce(&str) -> String) -> Fallible<Self> {
        let (place, program) = (test.new_path(name), format!("{}.sh", test.new_path(name)));
        fs::create_dir(&place)?;
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), None)?;
        let this = Self { program, place, tag: test.new_id(), daemon: None };
        let path = path_with_criu();
        let script = format!(
            "#!/bin/sh\nPATH={}\n{TAG_VARIABLE}={}\nexport PATH {TAG_VARIABLE}\nexec {} \"$@\"\n",
            path.display(),
            this.tag,
            words(&this.place)
        );
        // Not by us: a child of another case's would have it open for writing for a moment (ETXTBSY).
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        Cmd::new("sh").args(["-c", write, &this.program, &script]).succeeds()?;
        Ok(this)
    }

    fn import(&self, test: &Test) -> Fallible<()> {
        let root = test.bundle()?.script("true").build()?.path("/");
        let script = "tar -C \"$0\" -c . | \"$1\" import - \"$2\"";
        Cmd::new("sh").args(["-c", script, &root, &self.program, IMAGE]).succeeds()?;
        Ok(())
    }

    /// Its command, as one word.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// `<engine> <args>`.
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        Cmd::new(&self.program).args(args)
    }

    /// Runs a container of the shell's script in the background, in a cgroup that carries the case's tag.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&self, name: &str, options: &[&str], script: &str) -> Fallible<()> {
        // This machine's root may not raise limits, and not every docker's filter is known to CRIU.
        let own = match &self.daemon {
            None => ["--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"],
            Some(_) => ["--security-opt=seccomp=unconfined", "--ulimit=nofile=1024:1024"],
        };
        let parent = format!("--cgroup-parent=/{}", self.tag);
        let run = self.cmd(&["run", "-d", "--network=none", &parent, "--name", name]).args(own).args(options);
        run.args([IMAGE, "sh", "-c", script]).succeeds()?;
        Ok(())
    }

    /// What `inspect` tells of a container in a format of Go's.
    ///
    /// # Errors
    /// When it tells nothing.
    pub fn fact(&self, container: &str, format: &str) -> Fallible<String> {
        let output = self.cmd(&["container", "inspect", "--format", format, container]).succeeds()?;
        Ok(output.stdout.trim_end().to_owned())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let ids = self.cmd(&["ps", "-aq"]).output().map(|output| output.stdout).unwrap_or_default();
        for id in ids.split_whitespace() {
            // podman would first ask it to end, for ten seconds.
            let _ = self.cmd(&["kill", id]).output();
            let _ = self.cmd(&["rm", "-f", id]).output();
        }
        if let Some(daemon) = &mut self.daemon {
            if let Some(pid) = Pid::from_raw(daemon.pid().cast_signed()) {
                let _ = kill_process(pid, Signal::TERM);
            }
            becomes_true(Duration::from_secs(15), || !daemon.is_running());
            daemon.kill();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for place in places.filter(|place| place.starts_with(&self.place)).collect::<Vec<_>>().iter().rev() {
            let _ = unmount(*place, UnmountFlags::DETACH);
        }
        remove_cgroups(&self.tag);
    }
}

/// The cgroups above the containers', which engines leave; a conmon may still be about to end there.
fn remove_cgroups(name: &str) {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
        let top = hierarchy.path().join(name);
        becomes_true(Duration::from_secs(5), || {
            for below in entries(&top).filter(|entry| entry.path().is_dir()) {
                let _ = fs::remove_dir(below.path());
            }
            fs::remove_dir(&top).is_ok() || !top.exists()
        });
    }
}
