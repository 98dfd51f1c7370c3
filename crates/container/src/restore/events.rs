//! What `rt` does at CRIU's stages of a restore.

use crate::checkpoint::network;
use crate::console;
use crate::error::Error;
use crate::hooks;
use crate::init::lsm;
use crate::launch::Terminal;
use crate::progress::Gauge;
use crate::state::HookState;
use cgroup::Cgroup;
use criu::{Answer, Notify};
use rustix::process::{Pid, Signal};
use spec::{Bundle, Config, HookKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use sys::path::Root;
use sys::view::MountView;

/// Listens to a restore: runs the hooks of creation, and takes the terminal.
pub(super) struct Events<'a> {
    config: &'a Config,
    bundle: &'a Path,
    plan: &'a rootfs::Plan,
    hollow: &'a [rootfs::Hollow],
    state: HookState,
    terminal: &'a Terminal,
    /// The network namespace was dumped as empty.
    is_network_empty: bool,
    /// What is to be done about the freezer, if anything.
    pub(super) freezer: Option<Freezer<'a>>,
    /// Who watches.
    pub(super) gauge: Option<Gauge<'a>>,
    /// The security profile in place of the bundle's.
    pub(super) profile: Option<&'a str>,
    /// Why the container must not run, whatever CRIU says.
    pub(super) spoiled: Option<Error>,
    /// Its init process, once CRIU has said which.
    init: Option<i32>,
    master: Option<OwnedFd>,
    /// Masters that are held until all is restored, since slaves are opened through them.
    orphaned: Vec<OwnedFd>,
}

/// A container that is to stand still from the beginning, or whose cgroup CRIU restores as it was at the dump: frozen. Right before
/// that criu, which is in there, too, must be out of it.
#[derive(Debug)]
pub(super) struct Freezer<'a> {
    /// Where its processes are.
    pub(super) cgroup: &'a Cgroup,
    /// The criu that makes them.
    pub(super) criu: Option<i32>,
    /// Whether it is to stand still.
    pub(super) pause: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(
        bundle: &'a Bundle,
        plan: &'a rootfs::Plan,
        hollow: &'a [rootfs::Hollow],
        state: HookState,
        terminal: &'a Terminal,
        is_network_empty: bool,
    ) -> Self {
        let (config, bundle) = (&bundle.config, bundle.dir.as_path());
        Self {
            config,
            bundle,
            plan,
            hollow,
            state,
            terminal,
            is_network_empty,
            freezer: None,
            gauge: None,
            profile: None,
            spoiled: None,
            init: None,
            master: None,
            orphaned: Vec::new(),
        }
    }

    /// Kills a container that has not the label that it is to have. CRIU no longer heeds a refusal then.
    fn check_label(&mut self) -> Answer {
        let Some(init) = self.init else { return Ok(()) };
        if let Err(error) = lsm::check_restored(&self.config.process()?, self.profile, init) {
            self.spoiled = Some(error);
            Pid::from_raw(init).map_or(Ok(()), |init| rustix::process::kill_process(init, Signal::KILL))?;
        }
        Ok(())
    }

    /// The terminal's master, where this process is to show it.
    pub(super) fn master(self) -> Option<OwnedFd> {
        self.master
    }
}

impl Notify for Events<'_> {
    fn interval(&self) -> Option<Duration> {
        self.gauge.as_ref().map(Gauge::every)
    }

    fn waiting(&mut self) {
        self.gauge.iter_mut().for_each(Gauge::look);
    }

    /// The namespaces exist and are empty: the moment at which network hooks expect to be called.
    fn setup_namespaces(&mut self, pid: i32) -> Answer {
        if self.is_network_empty {
            network::set_up(pid, self.config)?;
        }
        let state = self.state.json("creating", pid);
        hooks::run(self.config, HookKind::Prestart, &state, Some(self.bundle))?;
        hooks::run(self.config, HookKind::CreateRuntime, &state, Some(self.bundle))?;
        Ok(())
    }

    /// All is mounted, and nothing runs yet.
    fn post_restore(&mut self, pid: i32) -> Answer {
        self.init = Some(pid);
        let _view = MountView::of_process(pid)?;
        Ok(rootfs::protect_again(self.plan, self.hollow, &Root::at(Path::new("/"))?)?)
    }

    /// The processes are complete, and wait for CRIU to let go of them; the freezer then gets hold of them before they come to run.
    /// Nobody waits for that here: it happens when CRIU goes on, which therefore must not be frozen with them.
    fn pre_resume(&mut self) -> Answer {
        self.check_label()?;
        let Some(Freezer { cgroup, criu, pause }) = &self.freezer else { return Ok(()) };
        criu.map_or(Ok(()), |criu| cgroup.expel(criu))?;
        if *pause { Ok(cgroup.begin_freeze()?) } else { Ok(()) }
    }

    /// The container's own terminal is the first of its devpts. Others are those of executed processes: whoever held their master
    /// is gone, which they learn as always, by a hangup.
    fn orphan_pts_master(&mut self, master: OwnedFd) -> Answer {
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let is_own = self.config.process()?.terminal && name.as_bytes() == b"/dev/pts/0";
        match self.terminal {
            _ if !is_own => {
                log::warn!("terminal {}: nobody holds it any more", name.to_string_lossy());
                self.orphaned.push(master);
            }
            Terminal::Socket(path) => {
                let socket = console::connect(path, "console")?;
                sys::seqpacket::send(socket, name.as_bytes(), &[master.as_fd()])?;
            }
            Terminal::Relay => {
                console::end_lines_plainly(&master);
                self.master = Some(master);
            }
            Terminal::None => {
                return Err("the images hold a terminal, and there is nobody to get it".into());
            }
        }
        Ok(())
    }
}
