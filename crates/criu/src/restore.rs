//! Making a process tree from images.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use crate::exchange::Timeline;
use crate::in_words;
use crate::notify::{self, Notify};
use crate::options::set;
use crate::session::{Request, missing};
use crate::stats::{self, RestoreStats};
use crate::wire::{CriuOpts, CriuReqType};
use crate::{
    Allowances, Cgroups, Images, InheritFd, JoinNamespace, Mounts, Operation, PageSocket, Result, Session,
    Tls,
};

/// A restore. [`Restore::new`] has everything at CRIU's defaults.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// Where from.
    pub images: Images<'a>,
    /// The new root directory, for a tree with its own mount namespace. It must be a mount point, and the mount it
    /// is on must not be hidden by another.
    pub root: Option<String>,
    /// Make the root task our child instead of criu's.
    pub sibling: bool,
    /// Leave the tasks stopped; CRIU 3.19.
    pub leave_stopped: bool,
    /// Accept the limits of running without root; CRIU 3.18.
    pub unprivileged: bool,

    /// Get pages on demand from `criu lazy-pages`, which must run in the same work directory.
    pub lazy_pages: bool,
    /// Punch holes in the images where pages have been taken from.
    pub auto_dedup: bool,
    /// The page server to take pages from.
    pub page_server: Option<PageSocket>,
    /// Encrypts the connection to it.
    pub tls: Option<Tls>,
    /// Gets a NUL byte when the tasks are there; obsolete in CRIU 4.
    pub status_fd: Option<BorrowedFd<'a>>,

    /// What stands for external resources here: `mnt[name]:/path`, `veth[inner]:outer@bridge`, ...
    pub external: Vec<String>,
    /// Descriptors that stand for them.
    pub inherit_fds: Vec<InheritFd>,
    /// Namespaces to join.
    pub join_ns: Vec<JoinNamespace>,
    /// Namespaces to make but leave empty: `CLONE_NEWNET` or nothing.
    pub empty_ns: Option<u32>,
    /// Mounts that are not in `external`.
    pub mounts: Mounts,
    /// Restore mounts the way CRIU did before 3.17, for kernels older than 5.15.
    pub mntns_compat: bool,
    /// What of the outside was met.
    pub allow: Allowances,
    /// Accept files whose permissions changed; CRIU 3.18.
    pub skip_file_rwx_check: bool,

    /// Cgroups.
    pub cgroups: Cgroups,
    /// Skip sysctls that this kernel does not have.
    pub weak_sysctls: bool,
    /// Another security profile: `apparmor:NAME` or `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// Another SELinux context for mounts.
    pub lsm_mount_context: Option<String>,
}

/// What came of a restore.
#[derive(Clone, Debug)]
pub struct RestoreOutcome {
    /// The root of the tree, in criu's pid namespace, which is ours.
    pub pid: i32,
    /// The course, as seen from outside CRIU.
    pub timeline: Timeline,
    /// CRIU's own numbers; none when it wrote none.
    pub stats: Option<RestoreStats>,
}

impl<'a> Restore<'a> {
    /// A restore from `images`.
    pub fn new(images: Images<'a>) -> Self {
        Self {
            images,
            root: None,
            sibling: false,
            leave_stopped: false,
            unprivileged: false,
            lazy_pages: false,
            auto_dedup: false,
            page_server: None,
            tls: None,
            status_fd: None,
            external: Vec::new(),
            inherit_fds: Vec::new(),
            join_ns: Vec::new(),
            empty_ns: None,
            mounts: Mounts::default(),
            mntns_compat: false,
            allow: Allowances::default(),
            skip_file_rwx_check: false,
            cgroups: Cgroups::default(),
            weak_sysctls: false,
            lsm_profile: None,
            lsm_mount_context: None,
        }
    }

    pub(crate) fn to_wire(&self) -> CriuOpts {
        let mut opts = CriuOpts {
            root: self.root.clone(),
            rst_sibling: set(self.sibling),
            leave_stopped: set(self.leave_stopped),
            unprivileged: set(self.unprivileged),
            lazy_pages: set(self.lazy_pages),
            auto_dedup: set(self.auto_dedup),
            ps: self.page_server.as_ref().map(PageSocket::to_wire),
            status_fd: self.status_fd.map(|fd| fd.as_raw_fd()),
            external: self.external.clone(),
            inherit_fd: InheritFd::list(&self.inherit_fds),
            join_ns: self.join_ns.iter().map(JoinNamespace::to_wire).collect(),
            empty_ns: self.empty_ns,
            mntns_compat_mode: set(self.mntns_compat),
            skip_file_rwx_check: set(self.skip_file_rwx_check),
            weak_sysctls: set(self.weak_sysctls),
            lsm_profile: self.lsm_profile.clone(),
            lsm_mount_context: self.lsm_mount_context.clone(),
            ..self.images.to_wire()
        };
        self.mounts.put(&mut opts);
        self.allow.put(&mut opts);
        self.cgroups.put(&mut opts);
        Tls::put(self.tls.as_ref(), &mut opts);
        opts
    }
}

impl Restore<'_> {
    /// See [`crate::Dump::in_words`].
    pub fn in_words(&self, images: &Path, notify: &dyn Notify) -> serde_json::Value {
        let mut opts = self.to_wire();
        notify::put(notify, &mut opts);
        in_words::request(CriuReqType::Restore, &opts, images)
    }
}

impl Session {
    /// Restores a process tree; when this returns its tasks run (or stand still, if so asked).
    pub fn restore(mut self, restore: &Restore<'_>, notify: &mut dyn Notify) -> Result<RestoreOutcome> {
        let mut opts = restore.to_wire();
        notify::put(notify, &mut opts);
        let request = Request { opts: Some(opts), images: Some(&restore.images), ..Default::default() };
        let (answer, timeline) = self.call(Operation::Restore, request, notify)?;
        let pid = answer.restore.ok_or_else(|| missing(Operation::Restore, "pid"))?.pid;
        Ok(RestoreOutcome { pid, timeline, stats: stats::read_restore(restore.images.work()) })
    }
}
