//! Parts that more than one request has, and how they become CRIU's options.
//!
//! A field that is unset here is unset on the wire, so that /etc/criu/default.conf keeps its say: CRIU reads that
//! file first, then the request, then the request's `config_file`, and the last one wins.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use crate::{log, wire};

/// Where the images, the work files and the log are.
///
/// CRIU opens the directories as `/proc/<our pid>/fd/<number>`, which is why they are borrowed until it has answered.
#[derive(Clone, Debug)]
pub struct Images<'a> {
    /// The images.
    pub dir: BorrowedFd<'a>,
    /// The log, the statistics, sockets; the images' directory when unset.
    pub work_dir: Option<BorrowedFd<'a>>,
    /// Where the log is in the end, when it does not show by the descriptor.
    pub work_path: Option<PathBuf>,
    /// How much CRIU writes to its log; its default is [`LogLevel::Warning`], which also has every error.
    pub log_level: Option<LogLevel>,
    /// The log's name in the work directory, without a slash; `criu.log` when unset.
    pub log_file: Option<String>,
    /// A configuration file, read last: it wins over every other option.
    pub config_file: Option<String>,
}

impl<'a> Images<'a> {
    /// Images, log and all else in one directory.
    pub fn new(dir: BorrowedFd<'a>) -> Self {
        Self { dir, work_dir: None, work_path: None, log_level: None, log_file: None, config_file: None }
    }

    /// Where CRIU writes its log and its statistics.
    pub fn work(&self) -> BorrowedFd<'a> {
        self.work_dir.unwrap_or(self.dir)
    }

    /// The log's name in [`Images::work`].
    pub fn log_name(&self) -> &str {
        self.log_file.as_deref().unwrap_or("criu.log")
    }

    /// The log that an operation which begins now will write.
    pub(crate) fn log(&self) -> log::Expected<'_> {
        log::Expected::new(self.work(), self.log_name()).seen_in(self.work_path.as_deref())
    }

    /// Options with these places and nothing else.
    pub(crate) fn to_wire(&self) -> wire::CriuOpts {
        wire::CriuOpts {
            images_dir_fd: self.dir.as_raw_fd(),
            work_dir_fd: self.work_dir.map(|fd| fd.as_raw_fd()),
            log_level: self.log_level.map(|level| level as i32),
            log_file: self.log_file.clone(),
            config_file: self.config_file.clone(),
            ..Default::default()
        }
    }
}

/// How much CRIU logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only.
    Error = 1,
    /// And warnings; CRIU's default.
    Warning = 2,
    /// And what it does, with timestamps.
    Info = 3,
    /// And each step: megabytes for a large tree.
    Debug = 4,
}

/// What to do about TCP sockets that have a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Keep established connections: packets are held back until the restore.
    pub established: bool,
    /// Do not keep them: the restored sockets are closed.
    pub close: bool,
    /// Leave out connections that nobody has accepted yet.
    pub skip_in_flight: bool,
}

impl Tcp {
    pub(crate) fn put(self, opts: &mut wire::CriuOpts) {
        opts.tcp_established = set(self.established);
        opts.tcp_close = set(self.close);
        opts.tcp_skip_in_flight = set(self.skip_in_flight);
    }
}

/// How packets are held back while TCP sockets are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkLock {
    /// By running iptables-restore; CRIU's default.
    Iptables,
    /// By libnftables; CRIU 3.16.
    Nftables,
    /// Not at all: the caller does it, or there is no connection to protect; CRIU 3.19.
    Skip,
}

impl NetworkLock {
    pub(crate) fn to_wire(self) -> i32 {
        let method = match self {
            Self::Iptables => wire::CriuNetworkLockMethod::Iptables,
            Self::Nftables => wire::CriuNetworkLockMethod::Nftables,
            Self::Skip => wire::CriuNetworkLockMethod::Skip,
        };
        method.into()
    }
}

/// What of the outside CRIU may meet in a tree, and how it is to treat it: a dump and the restore of it are to be told the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    /// TCP sockets that have a peer.
    pub tcp: Tcp,
    /// How packets are held back meanwhile.
    pub network_lock: Option<NetworkLock>,
    /// Unix sockets connected to peers outside the tree.
    pub ext_unix_sk: bool,
    /// A session or a terminal from outside the tree.
    pub shell_job: bool,
    /// Terminals whose masters are outside: the restore hands over new ones ([`crate::Notify::orphan_pts_master`]).
    pub orphan_pts_master: bool,
    /// File locks; they are safe only if nobody outside uses the files.
    pub file_locks: bool,
    /// Unlinked files that have other names: they get a temporary name until the restore.
    pub link_remap: bool,
    /// Device files that are not found by their own path: any path that leads to one will do.
    pub evasive_devices: bool,
    /// What of the processor is noted down, and must be the same.
    pub cpu_cap: Option<CpuCap>,
}

impl Allowances {
    pub(crate) fn put(self, opts: &mut wire::CriuOpts) {
        self.tcp.put(opts);
        opts.network_lock = self.network_lock.map(NetworkLock::to_wire);
        opts.ext_unix_sk = set(self.ext_unix_sk);
        opts.shell_job = set(self.shell_job);
        opts.orphan_pts_master = set(self.orphan_pts_master);
        opts.file_locks = set(self.file_locks);
        opts.link_remap = set(self.link_remap);
        opts.evasive_devices = set(self.evasive_devices);
        opts.cpu_cap = self.cpu_cap.map(CpuCap::to_wire);
    }
}

/// What CRIU does about cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    /// Nothing: not even which cgroup a task is in.
    Ignore,
    /// Tasks go back to their cgroups, which must exist; properties are left alone.
    None,
    /// The cgroups must exist, their properties are restored.
    Props,
    /// Missing cgroups are made, and only their properties restored; CRIU's default.
    Soft,
    /// Missing cgroups are made, all properties restored.
    Full,
    /// As `Full`, and none of the cgroups may exist yet.
    Strict,
}

impl CgroupMode {
    fn to_wire(self) -> i32 {
        let mode = match self {
            Self::Ignore => wire::CriuCgMode::Ignore,
            Self::None => wire::CriuCgMode::CgNone,
            Self::Props => wire::CriuCgMode::Props,
            Self::Soft => wire::CriuCgMode::Soft,
            Self::Full => wire::CriuCgMode::Full,
            Self::Strict => wire::CriuCgMode::Strict,
        };
        mode.into()
    }
}

/// Another root for the cgroup paths of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupRoot {
    /// The controller, as /proc/PID/cgroup names it; `None` for all. On cgroup v2 name the empty string.
    pub controller: Option<String>,
    /// The path in that hierarchy.
    pub path: String,
}

/// Everything about cgroups but the freezer.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// What to do about them at all.
    pub mode: Option<CgroupMode>,
    /// Other roots.
    pub roots: Vec<CgroupRoot>,
    /// Which properties to handle, in CRIU's YAML.
    pub properties: Option<String>,
    /// The same as a file.
    pub properties_file: Option<String>,
    /// Only these controllers.
    pub controllers: Vec<String>,
    /// A directory with cgroup mounts, so that CRIU need not mount them itself; CRIU 3.13.
    pub yard: Option<String>,
}

impl Cgroups {
    pub(crate) fn put(&self, opts: &mut wire::CriuOpts) {
        opts.manage_cgroups = self.mode.map(|_| true);
        opts.manage_cgroups_mode = self.mode.map(CgroupMode::to_wire);
        opts.cg_root = self
            .roots
            .iter()
            .map(|root| wire::CgroupRoot { ctrl: root.controller.clone(), path: root.path.clone() })
            .collect();
        opts.cgroup_props.clone_from(&self.properties);
        opts.cgroup_props_file.clone_from(&self.properties_file);
        opts.cgroup_dump_controller.clone_from(&self.controllers);
        opts.cgroup_yard.clone_from(&self.yard);
    }
}

/// What to do about mounts that are not listed as external.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// Take bind mounts from outside for external ones by themselves.
    pub auto_external: bool,
    /// With `auto_external`: allow those that share propagation with the outside.
    pub external_sharing: bool,
    /// With `auto_external`: allow those that are slaves of the outside.
    pub external_masters: bool,
    /// Mount points to leave out.
    pub skip: Vec<String>,
    /// File system types to accept although CRIU does not know them.
    pub enable_fs: Vec<String>,
}

impl Mounts {
    pub(crate) fn put(&self, opts: &mut wire::CriuOpts) {
        opts.auto_ext_mnt = set(self.auto_external);
        opts.ext_sharing = set(self.external_sharing);
        opts.ext_masters = set(self.external_masters);
        opts.skip_mnt.clone_from(&self.skip);
        opts.enable_fs.clone_from(&self.enable_fs);
    }
}

/// A descriptor that takes the place of an external resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritFd {
    /// The resource: `pipe:[ino]`, `socket:[ino]`, `file[mnt:ino]`, `tty[rdev:dev]`, a path, or a key of our own.
    pub key: String,
    /// The number inside CRIU, as [`crate::Launch::pass`] gave it.
    pub fd: i32,
}

impl InheritFd {
    pub(crate) fn list(list: &[Self]) -> Vec<wire::InheritFd> {
        list.iter().map(|one| wire::InheritFd { key: one.key.clone(), fd: one.fd }).collect()
    }
}

/// An existing namespace that the restored tree joins instead of getting its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinNamespace {
    /// `net`, `uts`, `time`, `ipc`, `user`, `mnt`.
    pub kind: String,
    /// A path to it, or a pid.
    pub path: String,
    /// For `user`: `UID,GID` to become.
    pub extra: Option<String>,
}

impl JoinNamespace {
    pub(crate) fn to_wire(&self) -> wire::JoinNamespace {
        wire::JoinNamespace {
            ns: self.kind.clone(),
            ns_file: self.path.clone(),
            extra_opt: self.extra.clone(),
        }
    }
}

/// The other end of a page server's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageSocket {
    /// TCP. On the server's side no address means every interface, and port 0 any free port.
    Tcp {
        /// A numeric address or a host's name.
        address: Option<String>,
        /// The port.
        port: u16,
    },
    /// A connected socket, by its number inside CRIU, as [`crate::Launch::pass`] gave it.
    Fd(i32),
}

impl PageSocket {
    pub(crate) fn to_wire(&self) -> wire::CriuPageServerInfo {
        match self {
            Self::Tcp { address, port } => wire::CriuPageServerInfo {
                address: address.clone(),
                port: Some((*port).into()),
                ..Default::default()
            },
            Self::Fd(fd) => wire::CriuPageServerInfo { fd: Some(*fd), ..Default::default() },
        }
    }
}

/// Encryption of a page server's connection; needs a criu that was built with GnuTLS. Paths are of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authority that must have signed the peer's certificate.
    pub ca_cert: Option<String>,
    /// Certificates that it has revoked.
    pub ca_crl: Option<String>,
    /// Our certificate.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Accept a peer whose name is not in its certificate.
    pub no_name_check: bool,
}

impl Tls {
    pub(crate) fn put(tls: Option<&Self>, opts: &mut wire::CriuOpts) {
        let Some(tls) = tls else { return };
        opts.tls = Some(true);
        opts.tls_cacert.clone_from(&tls.ca_cert);
        opts.tls_cacrl.clone_from(&tls.ca_crl);
        opts.tls_cert.clone_from(&tls.cert);
        opts.tls_key.clone_from(&tls.key);
        opts.tls_no_cn_verify = set(tls.no_name_check);
    }
}

impl Tls {
    /// The same for criu's command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let files = [
            ("--tls-cacert", &self.ca_cert),
            ("--tls-cacrl", &self.ca_crl),
            ("--tls-cert", &self.cert),
            ("--tls-key", &self.key),
        ];
        let files = files.into_iter().filter_map(|(flag, file)| Some([flag.to_owned(), file.clone()?]));
        let mut arguments = vec!["--tls".to_owned()];
        arguments.extend(files.flatten());
        arguments.extend(self.no_name_check.then(|| "--tls-no-cn-verify".to_owned()));
        arguments
    }
}

/// What of the processor a restore depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCap {
    /// The registers of floating point and vectors.
    pub fpu: bool,
    /// All that the processor says of itself.
    pub cpu: bool,
    /// The instructions that it knows.
    pub instructions: bool,
}

impl CpuCap {
    /// CRIU's `CPU_CAP_FPU`, `_CPU`, `_INS`, and `_IMAGE`: the one that has an image written and compared.
    pub(crate) fn to_wire(self) -> u32 {
        u32::from(self.fpu) | u32::from(self.cpu) << 1 | u32::from(self.instructions) << 2 | 1 << 3
    }
}

/// True is sent, false is left to the configuration files.
pub(crate) fn set(on: bool) -> Option<bool> {
    on.then_some(true)
}
