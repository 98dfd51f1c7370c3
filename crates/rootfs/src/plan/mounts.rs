//! From one entry of `mounts` to a [`MountStep`].

use std::path::{Path, PathBuf};

use spec::oci;
use sys::mount::{AttrChange, Depth, attr};
use sys::path::clean;

use super::{Bind, CgroupView, Context, Fs, IdMap, IdRange, Kind, MountStep, V1View, Within, place};
use crate::options::{FsOption, MountOptions, SuperFlag};
use crate::{Error, Result};

impl MountStep {
    /// The attributes that the mount has in the end.
    pub(crate) fn final_attrs(&self) -> AttrChange {
        let late = if self.late_readonly { attr::RDONLY } else { 0 };
        AttrChange { set: self.attrs.set | late, ..self.attrs }
    }
}

/// Plans all mounts, in their order; a cgroup mount is left out where there is no view of cgroups.
pub(super) fn steps(mounts: &[oci::Mount], label: Option<&str>, context: &Context) -> Result<Vec<MountStep>> {
    let plan = |(index, mount)| Entry { index, mount, label, context }.step().transpose();
    let mut steps: Vec<MountStep> = mounts.iter().enumerate().filter_map(plan).collect::<Result<_>>()?;
    for index in 1..steps.len() {
        let (before, rest) = steps.split_at_mut(index);
        if let Some(within) = within(&rest[0], before, &context.rootfs)? {
            rest[0].kind = Kind::Within(within);
        }
    }
    Ok(steps)
}

/// The bind mount whose source is below the container's root, on a mount that is made before it.
fn within(step: &MountStep, before: &[MountStep], rootfs: &Path) -> Result<Option<Within>> {
    let Kind::Bind(Bind { source, depth, idmap }) = &step.kind else { return Ok(None) };
    let source = clean(source);
    let Ok(inside) = source.strip_prefix(rootfs) else { return Ok(None) };
    let source = Path::new("/").join(inside);
    let covers = |step: &MountStep| step.kind != Kind::Remount && source.starts_with(&step.destination);
    if !before.iter().any(covers) {
        return Ok(None);
    }
    if idmap.is_some() {
        let problem = "what another mount brings into the container cannot be id-mapped once more";
        return Err(Error::invalid(format!("mounts[{}].source", step.index), problem));
    }
    Ok(Some(Within { source, depth: *depth }))
}

/// One entry of `mounts` with what its plan depends on.
struct Entry<'a> {
    index: usize,
    mount: &'a oci::Mount,
    label: Option<&'a str>,
    context: &'a Context,
}

impl Entry<'_> {
    fn step(&self) -> Result<Option<MountStep>> {
        let destination = place(self.mount.destination(), &self.context.rootfs);
        if destination == Path::new("/") {
            return Err(self.invalid("destination", "a mount cannot cover the container's root"));
        }
        let mut options = MountOptions::parse(self.mount.options().iter().flatten());
        let Some(kind) = self.kind(&destination, &mut options)? else { return Ok(None) };
        // Mount points and device nodes are yet to be made in these (the cgroup view finishes itself).
        let is_tmpfs = matches!(&kind, Kind::Fs(fs) if fs.fstype == "tmpfs");
        // Of the host's hierarchies nobody can have more than there is.
        let is_cgroup = matches!(self.mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        let keeps_open = is_tmpfs || destination == Path::new("/dev");
        let late_readonly = keeps_open && options.attrs.set & attr::RDONLY != 0;
        if late_readonly {
            options.attrs.set &= !attr::RDONLY;
        }
        Ok(Some(MountStep {
            index: self.index,
            destination,
            kind,
            attrs: options.attrs,
            lenient: if is_cgroup { u64::MAX } else { options.implied },
            tree_attrs: options.tree_attrs,
            propagation: options.propagation,
            late_readonly,
        }))
    }

    fn kind(&self, destination: &Path, options: &mut MountOptions) -> Result<Option<Kind>> {
        let fstype = self.mount.typ().as_deref().unwrap_or_default();
        if options.bind.is_some() || fstype == "bind" {
            options.replace_the_sources();
            return self.bind(options).map(Some);
        }
        if options.remount {
            return Ok(Some(Kind::Remount));
        }
        if self.has_idmap(options) {
            return Err(self.invalid("options", "id-mapped mounts are only supported for bind-mounts"));
        }
        if destination == Path::new("/proc") && fstype != "proc" {
            let problem =
                format!("\"/proc\" cannot be mounted because it is not of type proc but {fstype:?}");
            return Err(self.invalid("type", problem));
        }
        match (fstype, &self.context.cgroup) {
            ("", _) => Err(self.invalid("type", "missing, and the options do not ask for a bind mount")),
            ("cgroup", CgroupView::None) => Ok(None),
            ("cgroup", CgroupView::V1 { hierarchies, links }) => {
                options.data.clear();
                options.insist(attr::NOSUID | attr::NODEV | attr::NOEXEC);
                Ok(Some(Kind::CgroupV1(V1View {
                    hierarchies: hierarchies.clone(),
                    links: links.clone(),
                    own_namespace: self.context.cgroup_namespace,
                })))
            }
            ("cgroup" | "cgroup2", CgroupView::V2 { host_path }) => {
                Ok(Some(self.cgroup2(host_path, std::mem::take(options), options)))
            }
            _ => Ok(Some(Kind::Fs(self.fs(fstype, options)))),
        }
    }

    /// Without a cgroup namespace a new mount of cgroup2 would show the host's whole tree (CVE-2023-25809), so the
    /// container's own directory is bound then.
    fn cgroup2(&self, host_path: &Path, given: MountOptions, left: &mut MountOptions) -> Kind {
        *left = MountOptions { data: Vec::new(), ..given };
        left.insist(attr::NOSUID | attr::NODEV | attr::NOEXEC);
        if !self.context.cgroup_namespace {
            return Kind::Bind(Bind { source: host_path.to_owned(), depth: Depth::One, idmap: None });
        }
        Kind::Fs(Fs { fallback: Some(host_path.to_owned()), ..self.fs("cgroup2", left) })
    }

    fn bind(&self, options: &MountOptions) -> Result<Kind> {
        if !options.data.is_empty() {
            let problem = "bind mounts cannot have any filesystem-specific options applied";
            return Err(self.invalid("options", format!("{problem}: {:?}", options.data)));
        }
        let source = match self.mount.source() {
            Some(source) if !source.as_os_str().is_empty() => self.context.bundle.join(source),
            _ => return Err(self.invalid("source", "a bind mount needs one")),
        };
        let depth = options.bind.unwrap_or_default();
        Ok(Kind::Bind(Bind { source, depth, idmap: self.idmap(options)? }))
    }

    fn has_idmap(&self, options: &MountOptions) -> bool {
        options.idmap.is_some() || self.mount.uid_mappings().is_some() || self.mount.gid_mappings().is_some()
    }

    fn idmap(&self, options: &MountOptions) -> Result<Option<IdMap>> {
        if !self.has_idmap(options) {
            return Ok(None);
        }
        let ranges = |list: &Option<Vec<oci::LinuxIdMapping>>| -> Vec<IdRange> {
            let range = |map: &oci::LinuxIdMapping| IdRange {
                container: map.container_id(),
                host: map.host_id(),
                size: map.size(),
            };
            list.iter().flatten().map(range).collect()
        };
        let (uids, gids) = (ranges(self.mount.uid_mappings()), ranges(self.mount.gid_mappings()));
        if uids.is_empty() != gids.is_empty() {
            let problem = "id-mapped mounts must have both uid and gid mappings specified explicitly";
            return Err(self.invalid("uidMappings", problem));
        }
        if uids.is_empty() && !self.context.user_namespace {
            let problem = "idmap needs uidMappings and gidMappings where the container has no user namespace";
            return Err(self.invalid("options", problem));
        }
        Ok(Some(IdMap { depth: options.idmap.unwrap_or_default(), uids, gids }))
    }

    fn fs(&self, fstype: &str, options: &MountOptions) -> Fs {
        let pseudo = matches!(fstype, "proc" | "sysfs");
        let mut data = options.data.clone();
        let label = self.label.map(str::to_owned);
        // proc and sysfs cannot be labelled; an explicit option counts more than mountLabel.
        if !pseudo && fstype != "mqueue" && !fstype.starts_with("cgroup") && !options.has_value("context") {
            data.extend(label.iter().map(|label| FsOption::Value("context".into(), label.clone())));
        }
        Fs {
            fstype: fstype.to_owned(),
            source: self.mount.source().as_ref().map(|source| source.to_string_lossy().into_owned()),
            super_flags: super_flags(fstype, options),
            options: data,
            real_directory: pseudo,
            inherit_mode: fstype == "tmpfs" && !options.has_value("mode"),
            copy_up: fstype == "tmpfs" && options.copy_up,
            label: label.filter(|_| fstype == "mqueue"),
            fallback: (fstype == "sysfs").then(|| PathBuf::from("/sys")),
        }
    }

    fn invalid(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::invalid(format!("mounts[{}].{field}", self.index), problem)
    }
}

/// A disk that is only to be read must not be opened for writing; for the kernel's own filesystems, some of which have
/// one instance for everybody, read-only is a matter of the mount.
fn super_flags(fstype: &str, options: &MountOptions) -> Vec<SuperFlag> {
    let mut flags = options.super_flags.clone();
    let own = matches!(fstype, "proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2");
    if !own && options.attrs.set & attr::RDONLY != 0 {
        flags.push(SuperFlag { name: "ro", legacy: 1 });
    }
    flags
}
