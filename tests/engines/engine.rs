//! The engines, and what the operations of each share: an image, and a daemon where there is one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::world::script;
use rustix::process::{Pid, Signal, kill_process};
use testkit::needs::{self, Need};
use testkit::{Fallible, Running, Test, wait_until};

const PRELUDE: &str = include_str!("shell/prelude.bash");

/// An engine.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    /// Its part of the shell's functions.
    pub(crate) shell: &'static str,
    pub(crate) needs: &'static [Need],
    /// Whether there is a daemon; where there is none, each operation has a network and a /run of its own.
    pub(crate) has_daemon: bool,
    /// Prints the versions of its programs.
    pub(crate) versions: &'static str,
    /// What is done with it.
    pub(crate) tables: &'static [&'static str],
}

/// All of them.
pub(crate) static ALL: [Engine; 5] = [PODMAN, CONTAINERD, CRI, CRI_2, DOCKER];

const PODMAN: Engine = Engine {
    name: "podman",
    shell: include_str!("shell/podman.bash"),
    needs: &[needs::podman],
    has_daemon: false,
    versions: "podman --version; conmon --version | head -n 1",
    tables: &[
        include_str!("tables/podman-life.txt"),
        include_str!("tables/podman-sharing.txt"),
        include_str!("tables/podman-files.txt"),
        include_str!("tables/podman-limits.txt"),
        include_str!("tables/podman-confinement.txt"),
        include_str!("tables/podman-checkpoint.txt"),
        include_str!("tables/podman-systemd.txt"),
    ],
};

/// With its own client, `ctr`, and the shim for runc.
const CONTAINERD: Engine = Engine {
    name: "containerd",
    shell: include_str!("shell/containerd.bash"),
    needs: &[needs::containerd],
    has_daemon: true,
    versions: "containerd --version | cut -d ' ' -f 1,3",
    tables: &[include_str!("tables/containerd-life.txt"), include_str!("tables/containerd-checkpoint.txt")],
};

/// containerd as Kubernetes uses it: pods, and containers in them; the runtimes are its handlers.
const CRI: Engine = Engine {
    name: "cri",
    shell: concat!(include_str!("shell/containerd.bash"), include_str!("shell/cri.bash")),
    needs: &[needs::containerd, needs::cni],
    has_daemon: true,
    versions: CONTAINERD.versions,
    tables: &[
        include_str!("tables/cri-life.txt"),
        include_str!("tables/cri-pods.txt"),
        include_str!("tables/cri-streams.txt"),
        include_str!("tables/cri-crash.txt"),
    ],
};

/// The same with a containerd that has CheckpointContainer.
const CRI_2: Engine = Engine {
    name: "cri-2",
    shell: concat!(
        include_str!("shell/containerd.bash"),
        include_str!("shell/cri.bash"),
        include_str!("shell/cri-2.bash")
    ),
    needs: &[needs::containerd_2, needs::cni],
    has_daemon: true,
    versions: "/opt/rt-containerd/bin/containerd --version | cut -d ' ' -f 1,3",
    tables: &[include_str!("tables/cri-2.txt")],
};

/// One daemon knows both runtimes; some operations have one of their own, with the runtime as its default.
const DOCKER: Engine = Engine {
    name: "docker",
    shell: include_str!("shell/docker.bash"),
    needs: &[needs::docker],
    has_daemon: true,
    versions: "dockerd --version | cut -d , -f 1 | sed 's/Docker/dockerd/'",
    tables: &[include_str!("tables/docker-life.txt"), include_str!("tables/docker-checkpoint.txt")],
};

/// What is made once.
struct Made {
    place: Test,
    daemon: Option<Running>,
}

/// Where that is.
#[derive(Debug, Clone)]
pub(crate) struct Kit {
    pub(crate) directory: String,
    pub(crate) tag: String,
}

/// By the engine's name; or why it could not be made.
type Kits = BTreeMap<&'static str, Result<Made, String>>;

static KITS: Mutex<Kits> = Mutex::new(BTreeMap::new());

fn kits() -> MutexGuard<'static, Kits> {
    KITS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// What the operations share; made for the first one that asks.
    pub(crate) fn kit(&self, test: &Test) -> Fallible<Kit> {
        let mut kits = kits();
        let made = kits.entry(self.name).or_insert_with(|| {
            self.make(test).map_err(|error| error.message().unwrap_or_default().to_owned())
        });
        let place = &made.as_ref().map_err(|text| format!("{} does not start: {text}", self.name))?.place;
        Ok(Kit { directory: place.path("").trim_end_matches('/').to_owned(), tag: place.tag().to_owned() })
    }

    fn make(&self, test: &Test) -> Fallible<Made> {
        let mut made = Made { place: test.shared(&format!("{}-kit", self.name))?, daemon: None };
        self.run(&made.place, "make_probe", false)?.output()?;
        if self.has_daemon {
            made.daemon = Some(self.run(&made.place, "serve", true)?);
        }
        let output = self.run(&made.place, "set -e; stock", !self.has_daemon)?.output()?;
        if output.code == 0 { Ok(made) } else { Err(output.to_string().into()) }
    }

    /// Starts one of the shell's functions for what is shared.
    fn run(&self, place: &Test, function: &str, apart: bool) -> Fallible<Running> {
        let text = format!("{PRELUDE}\n{}\n{function}\n", self.shell);
        let command = script(place, &text, apart)?;
        let command = command.env("KIT", place.path("").trim_end_matches('/')).env("KITTAG", place.tag());
        command.env("PROBE", place.path("probe")).spawn()
    }

    fn stop(&self, made: Made) -> Fallible<()> {
        if let Some(mut daemon) = made.daemon {
            if let Some(pid) = Pid::from_raw(daemon.pid().cast_signed()) {
                kill_process(pid, Signal::TERM)?;
            }
            wait_until("the daemon's end", || !daemon.is_running())?;
        }
        // What docker leaves in its TMPDIR of a checkpoint is its own affair.
        self.run(&made.place, "remove_cgroups; rm -rf \"$D\"/tmp/*", false)?.output()?;
        made.place.leaves_nothing()
    }
}

/// Stops all that was started; what is left of it, which should be nothing.
pub(crate) fn stop_all() -> String {
    let mut left = String::new();
    for (engine, _) in crate::table() {
        let Some(Ok(made)) = kits().remove(engine.name) else { continue };
        if let Err(error) = engine.stop(made) {
            left += &format!("{}: {}\n", engine.name, error.message().unwrap_or_default());
        }
    }
    left
}
