//! One mount: made detached, then attached to a descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;
use sys::Context;
use sys::mount::{self, AttrChange, Depth, FsContext, Propagation, attr};
use sys::path::{self, PROC_SUPER_MAGIC};

use super::{Rootfs, copy_up};
use crate::error::InStep;
use crate::options::FsOption;
use crate::plan::{Fs, Kind, MountStep, V1View, Within};
use crate::{Error, Result};

/// The files under /proc that may be replaced: what lxcfs and its like provide. All else there would let a container
/// fake what security relies on (CVE-2019-19921).
const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

impl Rootfs<'_> {
    /// Performs one step with the mounts that were opened for it.
    pub(super) fn mount(&mut self, step: &MountStep, sources: Vec<OwnedFd>) -> Result<()> {
        let mount = match &step.kind {
            Kind::Bind(_) => match sources.into_iter().next() {
                Some(mount) => self.bind(step, mount)?,
                None => return Err(Error::refused(step.name(), "its source was not opened")),
            },
            Kind::Within(within) => self.bind(step, self.clone_within(within).step(|| step.name())?)?,
            Kind::Fs(fs) => self.fs(step, fs)?,
            Kind::CgroupV1(view) => self.cgroup_v1(step, view, sources)?,
            Kind::Remount => self.remount(step)?,
        };
        for &(propagation, depth) in &step.propagation {
            mount::set_propagation(&mount, depth, propagation).step(|| step.name())?;
        }
        if step.late_readonly {
            self.late_readonly.push((step.name(), mount));
        }
        Ok(())
    }

    fn clone_within(&self, within: &Within) -> sys::Result<OwnedFd> {
        mount::clone_tree(self.root.open(&within.source)?, within.depth)
    }

    fn bind(&self, step: &MountStep, mount: OwnedFd) -> Result<OwnedFd> {
        change_attrs(&mount, Depth::One, step.attrs, step.lenient).step(|| step.name())?;
        change_attrs(&mount, Depth::Tree, step.tree_attrs, 0).step(|| step.name())?;
        let target = match self.root.open(&step.destination) {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => {
                if path::is_dir(&mount).step(|| step.name())? {
                    self.root.make_dir(&step.destination)
                } else {
                    self.root.make_file(&step.destination)
                }
            }
            found => found,
        };
        self.attach(step, mount, &target.step(|| step.name())?)
    }

    /// Attaches a mount, unless the place is one that a container must not replace.
    fn attach(&self, step: &MountStep, mount: OwnedFd, target: &OwnedFd) -> Result<OwnedFd> {
        check_proc(step, &mount, target)?;
        match mount::move_mount(&mount, target) {
            Ok(()) => Ok(mount),
            // The kernel says EINVAL, as for many other things.
            Err(_) if matches!((path::is_dir(&mount), path::is_dir(target)), (Ok(one), Ok(other)) if one != other) => {
                Err(Error::refused(
                    step.name(),
                    "not a directory: a directory and a file cannot be mounted on each other",
                ))
            }
            Err(error) => Err(error).step(|| step.name()),
        }
    }

    fn fs(&self, step: &MountStep, fs: &Fs) -> Result<OwnedFd> {
        let (target, existed) = self.directory(step, fs.real_directory)?;
        let mut options = fs.options.clone();
        if fs.inherit_mode && existed {
            let mode = path::permissions(&target).step(|| step.name())?;
            options.push(FsOption::Value("mode".to_owned(), format!("{mode:o}")));
        }
        if needs_legacy(fs) {
            check_proc(step, &target, &target)?;
            return self.fs_legacy(step, fs, &target).step(|| step.name());
        }
        let mount = match (new_fs(fs, &options, step.attrs.set), &fs.fallback) {
            (Err(error), Some(source)) if is_forbidden(&error) => host_tree(source, step.attrs),
            (made, _) => made,
        };
        let mount = mount.step(|| step.name())?;
        change_attrs(&mount, Depth::Tree, step.tree_attrs, 0).step(|| step.name())?;
        if let Some(label) = &fs.label {
            set_label(&mount, label).step(|| step.name())?;
        }
        if fs.copy_up && existed {
            copy_up::copy_tree(&target, &mount).step(|| format!("{}, tmpcopyup", step.name()))?;
        }
        self.attach(step, mount, &target)
    }

    /// The directory that a filesystem is mounted on, and whether it was there before.
    fn directory(&self, step: &MountStep, real: bool) -> Result<(OwnedFd, bool)> {
        let open = || match real {
            true => self.root.open_no_links(&step.destination),
            false => self.root.open(&step.destination),
        };
        let (opened, existed) = match open() {
            Err(error) if error.is(Errno::NOENT.raw_os_error()) => {
                let made = self.root.make_dir(&step.destination);
                (if real { made.and_then(|_| open()) } else { made }, false)
            }
            found => (found, true),
        };
        let refused = || {
            Error::refused(
                step.name(),
                "it must be mounted on ordinary directory, and this is something else",
            )
        };
        match opened {
            Err(error) if real && error.is(Errno::LOOP.raw_os_error()) => Err(refused()),
            Ok(fd) if real && !path::is_dir(&fd).step(|| step.name())? => Err(refused()),
            opened => Ok((opened.step(|| step.name())?, existed)),
        }
    }

    /// Mounts by `mount(2)`, then looks the mount up: in the root, since the name is the container's.
    fn fs_legacy(&self, step: &MountStep, fs: &Fs, target: &OwnedFd) -> sys::Result<OwnedFd> {
        let words = fs.options.iter().map(|option| match option {
            FsOption::Flag(key) => key.clone(),
            FsOption::Value(key, value) => format!("{key}={value}"),
        });
        let data = words.collect::<Vec<_>>().join(",");
        let flags = fs.super_flags.iter().fold(0, |flags, flag| flags | flag.legacy);
        let source = fs.source.as_deref().unwrap_or(&fs.fstype);
        mount::mount_legacy(source, target, &fs.fstype, flags, &data)?;
        let mount = self.root.open(&step.destination)?;
        mount::set_attr(&mount, Depth::One, step.attrs)?;
        Ok(mount)
    }

    fn remount(&self, step: &MountStep) -> Result<OwnedFd> {
        let mount = self.root.open(&step.destination).step(|| step.name())?;
        change_attrs(&mount, Depth::One, step.attrs, step.lenient).step(|| step.name())?;
        change_attrs(&mount, Depth::Tree, step.tree_attrs, 0).step(|| step.name())?;
        Ok(mount)
    }

    /// A small tmpfs with a directory for each hierarchy. It is filled by its descriptor, so what the container
    /// has at the same names does not matter; attributes are set once, for the whole tree.
    fn cgroup_v1(&self, step: &MountStep, view: &V1View, sources: Vec<OwnedFd>) -> Result<OwnedFd> {
        let (target, _) = self.directory(step, false)?;
        let view_mount = new_tmpfs(None, self.plan.label.as_deref()).step(|| step.name())?;
        let view_mount = self.attach(step, view_mount, &target)?;
        let fill = || -> sys::Result<()> {
            let mut sources = sources.into_iter();
            for hierarchy in &view.hierarchies {
                let name = hierarchy.name.as_str();
                let mount = match sources.next() {
                    Some(bound) => bound,
                    None => new_hierarchy(name)?,
                };
                rustix::fs::mkdirat(&view_mount, name, Mode::from_raw_mode(0o755))
                    .call("mkdirat", || format!("{name:?}"))?;
                mount::move_mount_at(mount, &view_mount, name)?;
            }
            for (name, target) in &view.links {
                rustix::fs::symlinkat(target, &view_mount, name).call("symlinkat", || format!("{name:?}"))?;
            }
            mount::set_propagation(&view_mount, Depth::Tree, Propagation::Private)?;
            change_attrs(&view_mount, Depth::Tree, step.attrs, step.lenient)
        };
        fill().step(|| step.name())?;
        Ok(view_mount)
    }
}

impl MountStep {
    /// The step in error texts, as runc has it: `mount "proc" to "/proc"`.
    fn name(&self) -> String {
        let what = match &self.kind {
            Kind::Bind(bind) => format!("{:?}", bind.source),
            Kind::Within(within) => format!("{:?} in the container", within.source),
            Kind::Fs(fs) => format!("{:?}", fs.fstype),
            Kind::CgroupV1(_) => "\"cgroup\"".to_owned(),
            Kind::Remount => return format!("mounts[{}]: remount {:?}", self.index, self.destination),
        };
        format!("mounts[{}]: mount {what} to {:?}", self.index, self.destination)
    }
}

/// Whether a value is too long for `fsconfig(2)`: the lower layers of an overlay easily are.
fn needs_legacy(fs: &Fs) -> bool {
    let too_long = |text: &str| text.len() > mount::MAX_VALUE;
    fs.source.as_deref().is_some_and(too_long)
        || fs.options.iter().any(|option| matches!(option, FsOption::Value(_, value) if too_long(value)))
}

fn new_fs(fs: &Fs, options: &[FsOption], attrs: u64) -> sys::Result<OwnedFd> {
    let context = FsContext::open(&fs.fstype)?;
    if let Some(source) = &fs.source {
        context.set_string("source", source)?;
    }
    for flag in &fs.super_flags {
        match context.set_flag(flag.name) {
            Err(error) if flag.is_optional() && error.is(Errno::INVAL.raw_os_error()) => {}
            result => result?,
        }
    }
    for option in options {
        match option {
            FsOption::Flag(key) => context.set_flag(key)?,
            FsOption::Value(key, value) => context.set_string(key, value)?,
        }
    }
    context.mount(attrs)
}

/// A new, empty tmpfs with the options that are planned for it, or else with those of the cgroup v1 view.
pub(crate) fn new_tmpfs(planned: Option<&Fs>, label: Option<&str>) -> sys::Result<OwnedFd> {
    if let Some(fs) = planned {
        return new_fs(fs, &fs.options, 0);
    }
    let option = |key: &str, value: &str| FsOption::Value(key.to_owned(), value.to_owned());
    let mut options = vec![option("mode", "755")];
    options.extend(label.map(|label| option("context", label)));
    let tmpfs = Fs { fstype: "tmpfs".to_owned(), source: Some("tmpfs".to_owned()), ..Fs::default() };
    new_fs(&tmpfs, &options, 0)
}

/// A new mount of a cgroup v1 hierarchy: its root is that of our cgroup namespace.
fn new_hierarchy(name: &str) -> sys::Result<OwnedFd> {
    let context = FsContext::open("cgroup")?;
    context.set_string("source", "cgroup")?;
    if name == "systemd" {
        context.set_flag("none")?;
        context.set_string("name", name)?;
    } else {
        name.split(',').try_for_each(|controller| context.set_flag(controller))?;
    }
    context.mount(0)
}

/// Whether a filesystem may not be mounted from this namespace (a user namespace without its own network namespace
/// for sysfs; cgroup2 without a cgroup namespace).
fn is_forbidden(error: &sys::Error) -> bool {
    [Errno::PERM, Errno::BUSY].iter().any(|errno| error.is(errno.raw_os_error()))
}

/// The host's mount in place of a new one. What is below it is no less the host's, so it gets the attributes, too.
fn host_tree(source: &Path, attrs: AttrChange) -> sys::Result<OwnedFd> {
    let mount = mount::clone_tree_at(source, Depth::Tree)?;
    mount::set_attr(&mount, Depth::Tree, AttrChange { set: attrs.set & !attr::ATIME_MASK, clear: 0 })?;
    Ok(mount)
}

/// Changes attributes. What the mount's owner has locked cannot be taken off (`mount_namespaces(7)`: in a user namespace read-only,
/// nodev, nosuid, noexec and the access time policy of a foreign mount): what is `lenient` stays then, anything else is an error.
fn change_attrs(mount: &OwnedFd, depth: Depth, change: AttrChange, lenient: u64) -> sys::Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    match mount::set_attr(mount, depth, change) {
        Err(error) if change.clear & lenient != 0 && error.is(Errno::PERM.raw_os_error()) => {
            // nosymfollow is never locked.
            let clear = change.clear & (!lenient | attr::NOSYMFOLLOW);
            let set = if clear & attr::ATIME_MASK == 0 { change.set & !attr::ATIME_MASK } else { change.set };
            mount::set_attr(mount, depth, AttrChange { set, clear })
        }
        done => done,
    }
}

/// Refuses a mount inside procfs, but for the files of [`PROC_FILES`], and anything but a procfs on /proc.
fn check_proc(step: &MountStep, mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let is_proc = |fd| Ok(path::fs_magic(fd).step(|| step.name())? == PROC_SUPER_MAGIC);
    let inside = is_proc(target.as_fd())?;
    let problem = if step.destination == Path::new("/proc") {
        (!is_proc(mount.as_fd())?).then_some("\"/proc\" cannot be mounted because it is not of type proc")
    } else {
        let allowed = PROC_FILES.iter().any(|file| step.destination == Path::new(file));
        (inside && !allowed).then_some("it cannot be mounted because it is inside /proc")
    };
    problem.map_or(Ok(()), |problem| Err(Error::refused(step.name(), problem)))
}

fn set_label(mount: &OwnedFd, label: &str) -> sys::Result<()> {
    let root = rustix::fs::openat(mount, ".", rustix::fs::OFlags::CLOEXEC, Mode::empty())
        .call("openat", || "\".\"".to_owned())?;
    rustix::fs::fsetxattr(&root, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .call("fsetxattr", || format!("\"security.selinux\", {label:?}"))
}
