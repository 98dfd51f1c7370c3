//! Container engines of a case's own: podman, and docker with a daemon. All that they keep is below the case's directory, and their
//! cgroups carry the case's tag, so they see nothing of the machine's engines, nor of another case's.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::leftovers::{self, TAG_VARIABLE};
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

/// containerd, and its own client.
///
/// # Errors
/// The reason why they cannot be had.
pub fn containerd() -> Result<(), String> {
    needs(&["containerd", "ctr", "runc"], "containerd, ctr and runc")
}

/// Where an engine keeps all that is its own.
#[derive(Debug, Clone)]
pub struct Home {
    /// A directory that is not there yet.
    pub place: String,
    /// What its cgroups are called, and what stands in its processes' environment.
    pub tag: String,
    /// What its image is made of.
    pub image: String,
}

impl Home {
    fn of(test: &Test, name: &str) -> Fallible<Self> {
        let image = test.bundle()?.script("true").build()?.path("/");
        Ok(Self { place: test.new_path(name), tag: test.new_id(), image })
    }
}

/// How an engine's own words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Podman,
    Docker,
    Containerd,
}

/// An engine, with the image [`IMAGE`] (containerd has none: its client runs directories, too); dropped, its containers and its
/// daemon are ended.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    program: String,
    /// Its `place` is a tmpfs, which carries an overlay whatever it lies on.
    home: Home,
    daemon: Option<Running>,
}

impl Engine {
    /// podman with this storage driver and this runtime.
    ///
    /// # Errors
    /// When it does not work.
    pub fn podman(test: &Test, driver: &str, runtime: &Path) -> Fallible<Self> {
        Self::podman_at(Home::of(test, "podman")?, driver, runtime)
    }

    /// The same, anywhere.
    ///
    /// # Errors
    /// When it does not work.
    pub fn podman_at(home: Home, driver: &str, runtime: &Path) -> Fallible<Self> {
        let place = &home.place;
        let words = format!(
            "podman --root {place}/root --runroot {place}/run --tmpdir {place}/tmp --storage-driver {driver} \
             --cgroup-manager cgroupfs --runtime {}",
            runtime.display()
        );
        let this = Self::new(Kind::Podman, home, &words)?;
        this.import()?;
        Ok(this)
    }

    /// docker with this storage driver and runc. Its daemon is experimental, so that it restores containers; it makes no networks.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn docker(test: &Test, driver: &str) -> Fallible<Self> {
        Self::docker_at(Home::of(test, "docker")?, driver, &[])
    }

    /// The same anywhere, and with other runtimes beside runc, by their names.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn docker_at(home: Home, driver: &str, runtimes: &[(&str, &Path)]) -> Fallible<Self> {
        let words = format!("docker -H unix://{}/socket", home.place);
        let mut this = Self::new(Kind::Docker, home, &words)?;
        let (place, tag) = (&this.home.place, &this.home.tag);
        let runtimes = runtimes.iter().map(|(name, path)| format!("--add-runtime={name}={}", path.display()));
        let daemon = Cmd::new("dockerd")
            .args(["--experimental", "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--storage-driver", driver, "--cgroup-parent", &format!("/{tag}")])
            .args(["-H", &format!("unix://{place}/socket"), "-p", &format!("{place}/pid")])
            .args(["--data-root", &format!("{place}/root"), "--exec-root", &format!("{place}/exec")])
            .args(runtimes);
        this.serve(daemon, "info")?;
        this.import()?;
        Ok(this)
    }

    /// containerd, and `ctr` in a namespace that is called after the tag, as its cgroups are.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn containerd_at(home: Home) -> Fallible<Self> {
        let words = format!("ctr --address {}/socket --namespace {}", home.place, home.tag);
        let mut this = Self::new(Kind::Containerd, home, &words)?;
        let (place, config) = (&this.home.place, format!("{}/config.toml", this.home.place));
        let text = format!(
            "version = 2\nroot = \"{place}/root\"\nstate = \"{place}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{place}/socket\"\n"
        );
        fs::write(&config, text)?;
        this.serve(Cmd::new("containerd").args(["--config", &config]), "version")?;
        Ok(this)
    }

    /// A command of this engine's: a script, since there is but one word for it.
    fn new(kind: Kind, home: Home, words: &str) -> Fallible<Self> {
        let Home { place, tag, .. } = &home;
        let program = format!("{place}.sh");
        fs::create_dir(place)?;
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), None)?;
        let path = path_with_criu();
        let script = format!(
            "#!/bin/sh\nPATH={}\n{TAG_VARIABLE}={tag}\nexport PATH {TAG_VARIABLE}\nexec {words} \"$@\"\n",
            path.display(),
        );
        // Not by us: a child of another case's would have it open for writing for a moment (ETXTBSY).
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        Cmd::new("sh").args(["-c", write, &program, &script]).succeeds()?;
        Ok(Self { kind, program, home, daemon: None })
    }

    /// Starts its daemon, and waits until it answers.
    fn serve(&mut self, daemon: Cmd, question: &str) -> Fallible<()> {
        let mut daemon = daemon.env("PATH", path_with_criu()).env(TAG_VARIABLE, &self.home.tag).spawn()?;
        let answers = || self.cmd(&[question]).output().is_ok_and(|answer| answer.code == 0);
        let is_settled = becomes_true(patience() * 3, || !daemon.is_running() || answers());
        if is_settled && daemon.is_running() {
            self.daemon = Some(daemon);
            return Ok(());
        }
        daemon.kill();
        Err(format!("does not come up: {}", daemon.output()?).into())
    }

    fn import(&self) -> Fallible<()> {
        let script = "tar -C \"$0\" -c . | \"$1\" import - \"$2\"";
        Cmd::new("sh").args(["-c", script, &self.home.image, &self.program, IMAGE]).succeeds()?;
        Ok(())
    }

    /// Its command, as one word.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Its daemon's process.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().map(Running::pid)
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
        let run = self.cmd(&["run"]).args(self.options()).args(["-d", "--name", name]).args(options);
        run.args([IMAGE, "sh", "-c", script]).succeeds()?;
        Ok(())
    }

    /// What `run` needs on machines like the test's: root may not raise limits there, and not every docker's filter is known to CRIU.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let own: &[&str] = match self.kind {
            Kind::Podman => &["--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"],
            Kind::Docker => {
                &["--network=none", "--security-opt=seccomp=unconfined", "--ulimit=nofile=1024:1024"]
            }
            Kind::Containerd => return Vec::new(),
        };
        let parent = format!("--cgroup-parent=/{}", self.home.tag);
        own.iter().map(|option| (*option).to_owned()).chain([parent]).collect()
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
        let (list, removal): (&[&str], [&[&str]; 2]) = match self.kind {
            // podman would first ask it to end, for ten seconds.
            Kind::Podman | Kind::Docker => (&["ps", "-aq"], [&["kill"], &["rm", "-f"]]),
            Kind::Containerd => (&["container", "ls", "-q"], [&["task", "rm", "-f"], &["container", "rm"]]),
        };
        let ids = self.cmd(list).output().map(|output| output.stdout).unwrap_or_default();
        for id in ids.split_whitespace() {
            for words in removal {
                let _ = self.cmd(words).arg(id).output();
            }
        }
        if let Some(daemon) = &mut self.daemon {
            if let Some(pid) = Pid::from_raw(daemon.pid().cast_signed()) {
                let _ = kill_process(pid, Signal::TERM);
            }
            becomes_true(Duration::from_secs(15), || !daemon.is_running());
            daemon.kill();
        }
        // A monitor has podman clean up after its container, and podman mounts its store on itself whenever it starts.
        let place = format!("{}/", self.home.place);
        becomes_true(Duration::from_secs(5), || !leftovers::is_spoken_of(&place));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for place in
            places.filter(|place| place.starts_with(&self.home.place)).collect::<Vec<_>>().iter().rev()
        {
            let _ = unmount(*place, UnmountFlags::DETACH);
        }
        remove_cgroups(&self.home.tag);
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
