//! Writing images of a process tree.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use crate::exchange::Timeline;
use crate::in_words;
use crate::lazy;
use crate::notify::{self, Notify};
use crate::options::set;
use crate::session::Request;
use crate::stats::{self, DumpStats};
use crate::wire::{CriuOpts, CriuPreDumpMode, CriuReqType};
use crate::{Allowances, Cgroups, Images, Mounts, Operation, PageSocket, Result, Session, Tls};

/// A dump. [`Dump::new`] has everything at CRIU's defaults.
#[derive(Clone, Debug)]
pub struct Dump<'a> {
    /// The root of the tree, in our pid namespace.
    pub pid: i32,
    /// Where to.
    pub images: Images<'a>,
    /// The tree's root directory as seen from here, where it has its own mount namespace.
    pub root: Option<String>,
    /// What becomes of the tasks.
    pub after: AfterDump,
    /// Seconds that freezing may take; 10 when unset, 0 for no limit.
    pub timeout: Option<u32>,
    /// The cgroup, as a directory, by which all tasks are frozen; found frozen already, it saves CRIU its polling.
    pub freeze_cgroup: Option<String>,
    /// Accept the limits of running without root (CAP_CHECKPOINT_RESTORE); CRIU 3.18.
    pub unprivileged: bool,

    /// The images that earlier pre-dumps wrote, relative to `images`: only what changed since is written.
    pub parent: Option<String>,
    /// Start tracking which memory changes, for a dump on top of this one.
    pub track_mem: bool,
    /// Punch holes in the parent's images where this one has newer pages.
    pub auto_dedup: bool,
    /// Keep the pages and serve them on demand over `page_server`, which must then be set.
    ///
    /// A server without an address listens on every interface and serves whoever connects first: name one, or a
    /// socket.
    pub lazy_pages: bool,
    /// Where pages go (or, with `lazy_pages`, where to listen) instead of into the images.
    pub page_server: Option<PageSocket>,
    /// Encrypts the connection to the page server.
    pub tls: Option<Tls>,
    /// Gets a NUL byte when a lazy dump listens; [`Notify::status_ready`] does the same.
    pub status_fd: Option<BorrowedFd<'a>>,
    /// An `AF_UNIX` datagram socket in which CRIU keeps pidfds from one pre-dump to the next; CRIU 3.16.
    pub pidfd_store: Option<BorrowedFd<'a>>,

    /// Resources of others that only a name of is written: `mnt[/path]:name`, `file[mnt:ino]`, `tty[rdev:dev]`,
    /// `unix[ino]`, `net[ino]:name`, `pid[ino]:name`, `dev[maj/min]:name`.
    pub external: Vec<String>,
    /// Mounts that are not in `external`.
    pub mounts: Mounts,
    /// Namespaces whose contents are not written: `CLONE_NEWNET` or nothing.
    pub empty_ns: Option<u32>,
    /// What of the outside may be met.
    pub allow: Allowances,
    /// The largest unlinked file whose contents go into the images, in bytes; 1 MiB when unset.
    pub ghost_limit: Option<u32>,
    /// Find paths for watched inodes by looking around, also where the kernel gives handles.
    pub force_irmap: bool,
    /// Where to look.
    pub irmap_scan_paths: Vec<String>,

    /// Cgroups.
    pub cgroups: Cgroups,
}

/// What becomes of the tasks when they are dumped. After a failure they run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDump {
    /// They are killed.
    #[default]
    Kill,
    /// They run on.
    Run,
    /// They are left stopped by SIGSTOP; CRIU 3.19.
    Stop,
}

/// What came of a dump or a pre-dump.
#[derive(Clone, Debug, Default)]
pub struct DumpOutcome {
    /// The course, as seen from outside CRIU.
    pub timeline: Timeline,
    /// CRIU's own numbers; none when it wrote none, and none for a lazy dump.
    pub stats: Option<DumpStats>,
}

impl<'a> Dump<'a> {
    /// A dump of the tree below `pid`, which is killed afterwards.
    pub fn new(pid: i32, images: Images<'a>) -> Self {
        Self {
            pid,
            images,
            root: None,
            after: AfterDump::Kill,
            timeout: None,
            freeze_cgroup: None,
            unprivileged: false,
            parent: None,
            track_mem: false,
            auto_dedup: false,
            lazy_pages: false,
            page_server: None,
            tls: None,
            status_fd: None,
            pidfd_store: None,
            external: Vec::new(),
            mounts: Mounts::default(),
            empty_ns: None,
            allow: Allowances::default(),
            ghost_limit: None,
            force_irmap: false,
            irmap_scan_paths: Vec::new(),
            cgroups: Cgroups::default(),
        }
    }

    pub(crate) fn to_wire(&self) -> CriuOpts {
        let mut opts = CriuOpts {
            pid: Some(self.pid),
            root: self.root.clone(),
            leave_running: set(self.after == AfterDump::Run),
            leave_stopped: set(self.after == AfterDump::Stop),
            timeout: self.timeout,
            freeze_cgroup: self.freeze_cgroup.clone(),
            unprivileged: set(self.unprivileged),
            parent_img: self.parent.clone(),
            track_mem: set(self.track_mem),
            auto_dedup: set(self.auto_dedup),
            lazy_pages: set(self.lazy_pages),
            ps: self.page_server.as_ref().map(PageSocket::to_wire),
            status_fd: self.status_fd.map(|fd| fd.as_raw_fd()),
            pidfd_store_sk: self.pidfd_store.map(|fd| fd.as_raw_fd()),
            external: self.external.clone(),
            empty_ns: self.empty_ns,
            ghost_limit: self.ghost_limit,
            force_irmap: set(self.force_irmap),
            irmap_scan_paths: self.irmap_scan_paths.clone(),
            ..self.images.to_wire()
        };
        self.mounts.put(&mut opts);
        self.allow.put(&mut opts);
        self.cgroups.put(&mut opts);
        Tls::put(self.tls.as_ref(), &mut opts);
        opts
    }
}

/// A copy of the memory alone, while the tasks run on but for moments; a [`Dump`] with this as `parent` completes it.
#[derive(Clone, Debug)]
pub struct PreDump<'a> {
    /// The root of the tree, in our pid namespace.
    pub pid: i32,
    /// Where to; a directory for each round.
    pub images: Images<'a>,
    /// The round before, relative to `images`.
    pub parent: Option<String>,
    /// How memory is read.
    pub mode: Option<PreDumpMode>,
    /// See [`Dump::auto_dedup`].
    pub auto_dedup: bool,
    /// See [`Dump::page_server`].
    pub page_server: Option<PageSocket>,
    /// See [`Dump::tls`].
    pub tls: Option<Tls>,
    /// See [`Dump::freeze_cgroup`].
    pub freeze_cgroup: Option<String>,
    /// See [`Dump::timeout`].
    pub timeout: Option<u32>,
    /// See [`Dump::pidfd_store`].
    pub pidfd_store: Option<BorrowedFd<'a>>,
    /// See [`Dump::external`].
    pub external: Vec<String>,
    /// See [`Dump::force_irmap`].
    pub force_irmap: bool,
    /// See [`Dump::unprivileged`].
    pub unprivileged: bool,
}

/// How a pre-dump reads memory; CRIU 3.14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreDumpMode {
    /// Pages are held in pipes while the tasks run on; CRIU's default.
    Splice,
    /// process_vm_readv(2) after the tasks run on: less time frozen, less memory.
    VmRead,
}

impl<'a> PreDump<'a> {
    /// A pre-dump of the tree below `pid`.
    pub fn new(pid: i32, images: Images<'a>) -> Self {
        Self {
            pid,
            images,
            parent: None,
            mode: None,
            auto_dedup: false,
            page_server: None,
            tls: None,
            freeze_cgroup: None,
            timeout: None,
            pidfd_store: None,
            external: Vec::new(),
            force_irmap: false,
            unprivileged: false,
        }
    }

    pub(crate) fn to_wire(&self) -> CriuOpts {
        let mode = self.mode.map(|mode| match mode {
            PreDumpMode::Splice => CriuPreDumpMode::Splice,
            PreDumpMode::VmRead => CriuPreDumpMode::VmRead,
        });
        let mut opts = CriuOpts {
            pid: Some(self.pid),
            parent_img: self.parent.clone(),
            pre_dump_mode: mode.map(i32::from),
            auto_dedup: set(self.auto_dedup),
            ps: self.page_server.as_ref().map(PageSocket::to_wire),
            freeze_cgroup: self.freeze_cgroup.clone(),
            timeout: self.timeout,
            pidfd_store_sk: self.pidfd_store.map(|fd| fd.as_raw_fd()),
            external: self.external.clone(),
            force_irmap: set(self.force_irmap),
            unprivileged: set(self.unprivileged),
            // A pre-dump tracks memory by nature; naming it makes CRIU say so early where the kernel cannot.
            track_mem: Some(true),
            ..self.images.to_wire()
        };
        Tls::put(self.tls.as_ref(), &mut opts);
        opts
    }
}

impl Dump<'_> {
    /// The request as JSON, for people: what would be sent, with the directory of the images by its path.
    pub fn in_words(&self, images: &Path, notify: &dyn Notify) -> serde_json::Value {
        let mut opts = self.to_wire();
        notify::put(notify, &mut opts);
        in_words::request(CriuReqType::Dump, &opts, images)
    }
}

impl Session {
    /// Dumps a process tree.
    pub fn dump(mut self, dump: &Dump<'_>, notify: &mut dyn Notify) -> Result<DumpOutcome> {
        run_dump(&mut self, dump, notify)
    }

    /// One pre-dump and nothing after it; CRIU 3.17.
    pub fn pre_dump(mut self, round: &PreDump<'_>, notify: &mut dyn Notify) -> Result<DumpOutcome> {
        let (request, kind) = (pre_dump_request(round, notify), CriuReqType::SinglePreDump.into());
        let (_, timeline) = self.call_as(Operation::PreDump, request, kind, notify)?;
        Ok(DumpOutcome { timeline, stats: stats::read_dump(round.images.work()) })
    }

    /// Rounds of pre-dumps with a dump at their end, all by this criu.
    pub fn pre_copy(self) -> PreCopy {
        PreCopy { session: self }
    }
}

/// A session that makes rounds of pre-dumps. CRIU forks for each, so each has its own options and images; the dump
/// at the end has criu's process to itself. Dropping it instead gives up, and the tasks run on.
#[derive(Debug)]
pub struct PreCopy {
    session: Session,
}

impl PreCopy {
    /// One round.
    pub fn round(&mut self, round: &PreDump<'_>, notify: &mut dyn Notify) -> Result<DumpOutcome> {
        let (request, kind) = (pre_dump_request(round, notify), CriuReqType::PreDump.into());
        let (_, timeline) = self.session.exchange(Operation::PreDump, request, kind, notify)?;
        Ok(DumpOutcome { timeline, stats: stats::read_dump(round.images.work()) })
    }

    /// The dump that ends the rounds.
    pub fn dump(mut self, dump: &Dump<'_>, notify: &mut dyn Notify) -> Result<DumpOutcome> {
        run_dump(&mut self.session, dump, notify)
    }
}

fn run_dump(session: &mut Session, dump: &Dump<'_>, notify: &mut dyn Notify) -> Result<DumpOutcome> {
    let mut opts = dump.to_wire();
    notify::put(notify, &mut opts);
    let _config = lazy::put_address(dump, &mut opts)?;
    let request = Request { opts: Some(opts), images: Some(&dump.images), ..Default::default() };
    let (_, timeline) = session.call(Operation::Dump, request, notify)?;
    // CRIU(4.1): the numbers of a lazy dump are nonsense (2509 s frozen), since its clocks have not been stopped.
    let stats = if dump.lazy_pages { None } else { stats::read_dump(dump.images.work()) };
    Ok(DumpOutcome { timeline, stats })
}

fn pre_dump_request<'a>(round: &'a PreDump<'_>, notify: &dyn Notify) -> Request<'a> {
    let mut opts = round.to_wire();
    notify::put(notify, &mut opts);
    Request { opts: Some(opts), images: Some(&round.images), ..Default::default() }
}
