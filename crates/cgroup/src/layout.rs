//! How this machine's cgroups are mounted: v1, hybrid or v2; and where in them we are ourselves.

use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sys::Context;

use crate::error::{Error, Result};
use crate::files;

/// The directory below which the hierarchies belong; a mount elsewhere is somebody's copy.
pub(crate) const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers as /proc/self/cgroup names them (`cpu`, `cpuacct`, `name=systemd`); empty for cgroup2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The cgroup that is visible at the mount point: `/`, or a deeper one when we are inside a container.
    pub root: PathBuf,
    /// The cgroup that this process is in, counted from the hierarchy's own root.
    pub own: PathBuf,
}

impl Hierarchy {
    /// The directory of our own cgroup below the mount point.
    ///
    /// What the mount does not show (we are in another cgroup namespace than the mount) counts as its root.
    pub fn own_relative(&self) -> &Path {
        self.own.strip_prefix(&self.root).unwrap_or(Path::new(""))
    }
}

/// Which of the kernel's two generations governs a container.
///
/// In hybrid layouts the controllers sit on v1 hierarchies, and cgroup2 is there for tracking processes. Controllers
/// are then driven through v1, and so is the freezer: it is where other tools look for a paused container, and where
/// CRIU was tried most. But the container's processes are in a cgroup2 directory too, because that costs one mkdir
/// and one rmdir and no migration (CLONE_INTO_CGROUP places the child there at birth), and gives `cgroup.kill`, which
/// no fork can outrun. runc's containers are in it as well, so both look alike to who inspects them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The v1 hierarchies, the named ones (`name=systemd`) among them; empty on a v2 machine.
    pub hierarchies: Vec<Hierarchy>,
    /// cgroup2, where it is mounted.
    pub unified: Option<Hierarchy>,
}

impl Layout {
    /// Reads the layout from /proc/self/mountinfo and /proc/self/cgroup, each once.
    pub fn detect() -> Result<Self> {
        Self::parse(&read_proc("/proc/self/mountinfo")?, &read_proc("/proc/self/cgroup")?)
    }

    /// The layout that these two files describe.
    pub fn parse(mountinfo: &str, own: &str) -> Result<Self> {
        let own: Vec<_> = own.lines().filter_map(split_own).collect();
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut unified: Option<Hierarchy> = None;
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            if mount.is_v2 {
                let hierarchy = mount.into_hierarchy(&own, Vec::new());
                if unified.as_ref().is_none_or(|seen| is_better(&hierarchy, seen)) {
                    unified = Some(hierarchy);
                }
            } else if let Some(controllers) = mount.controllers(&own) {
                let hierarchy = mount.into_hierarchy(&own, controllers);
                match v1.iter_mut().find(|seen| seen.controllers == hierarchy.controllers) {
                    None => v1.push(hierarchy),
                    Some(seen) if is_better(&hierarchy, seen) => *seen = hierarchy,
                    Some(_) => {}
                }
            }
        }
        if unified.as_ref().is_some_and(|unified| governs_alone(unified, &v1)) {
            v1.clear();
        }
        if v1.is_empty() && unified.is_none() {
            return Err(Error::NotMounted);
        }
        Ok(Self { hierarchies: v1, unified })
    }

    /// Whether cgroup2 governs alone.
    pub fn is_v2(&self) -> bool {
        self.hierarchies.is_empty()
    }
}

/// cgroup2 governs when it is what /sys/fs/cgroup shows, whatever old hierarchy somebody mounts below it, or when the
/// v1 hierarchies have no controller among them.
fn governs_alone(unified: &Hierarchy, v1: &[Hierarchy]) -> bool {
    unified.mountpoint == Path::new(CGROUP_ROOT)
        || v1.iter().flat_map(|hierarchy| &hierarchy.controllers).all(|name| name.starts_with("name="))
}

/// Of two mounts of one hierarchy the one below /sys/fs/cgroup is meant, and of two such the first.
fn is_better(new: &Hierarchy, seen: &Hierarchy) -> bool {
    new.mountpoint.starts_with(CGROUP_ROOT) && !seen.mountpoint.starts_with(CGROUP_ROOT)
}

/// A line of mountinfo that shows a cgroup hierarchy (proc_pid_mountinfo(5)).
struct Mount<'a> {
    root: &'a str,
    mountpoint: &'a str,
    options: &'a str,
    is_v2: bool,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let is_v2 = match filesystem.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = filesystem.nth(1)?;
        let mut place = place.split(' ').skip(3);
        Some(Self { root: place.next()?, mountpoint: place.next()?, options, is_v2 })
    }

    /// Those of /proc/self/cgroup's hierarchies that this mount's options name; the options hold other words too.
    fn controllers(&self, own: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut lists = own.iter().map(|(list, _)| *list).filter(|list| !list.is_empty());
        let words: Vec<_> = self.options.split(',').collect();
        let list = lists.find(|list| list.split(',').all(|name| words.contains(&name)))?;
        Some(list.split(',').map(str::to_owned).collect())
    }

    fn into_hierarchy(self, own: &[(&str, &str)], controllers: Vec<String>) -> Hierarchy {
        let joined = controllers.join(",");
        let own = own.iter().find(|(list, _)| *list == joined).map_or("/", |(_, path)| *path);
        Hierarchy {
            controllers,
            mountpoint: PathBuf::from(unescape(self.mountpoint)),
            root: PathBuf::from(unescape(self.root)),
            own: PathBuf::from(own),
        }
    }
}

/// `4:memory:/a/b` is (`memory`, `/a/b`): the controllers and the path of one line of /proc/self/cgroup.
fn split_own(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// Undoes the octal escapes of mountinfo (`\040` is a space).
pub(crate) fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn read_proc(path: &'static str) -> Result<String> {
    let text = files::open(Path::new(path), OFlags::RDONLY).and_then(|fd| files::read_all(&fd));
    Ok(text.call("read", || format!("{path:?}"))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HYBRID: &str = "\
22 1 254:0 / / rw shared:1 - ext4 /dev/root rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 31 0:32 /a /mnt/copy\\040of/memory rw,relatime - cgroup cgroup rw,memory
";
    const HYBRID_OWN: &str = "9:name=systemd:/\n4:memory:/a/b:c\n1:cpu,cpuacct:/\n0::/own\n";

    #[test]
    fn hybrid_lists_each_hierarchy_once() {
        let layout = Layout::parse(HYBRID, HYBRID_OWN).unwrap();
        assert!(!layout.is_v2());
        let names: Vec<_> = layout.hierarchies.iter().map(|h| h.controllers.join(",")).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "name=systemd"]);
        assert_eq!(layout.hierarchies[1].mountpoint, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(layout.hierarchies[1].own, Path::new("/a/b:c"));
        assert_eq!(layout.unified.unwrap().own, Path::new("/own"));
    }

    #[test]
    fn cgroup2_at_the_top_governs_alone_whatever_is_mounted_below() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 30 0:27 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls\n";
        let layout = Layout::parse(mounts, "1:net_cls:/\n0::/user.slice\n").unwrap();
        assert!(layout.is_v2());
    }

    #[test]
    fn inside_a_container_the_mount_shows_a_deeper_cgroup() {
        let mounts = "30 1 0:26 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let layout = Layout::parse(mounts, "0::/docker/c1/inner\n").unwrap();
        let unified = layout.unified.unwrap();
        assert_eq!(unified.own_relative(), Path::new("inner"));
        let foreign = Hierarchy { own: "/elsewhere".into(), ..unified };
        assert_eq!(foreign.own_relative(), Path::new(""));
    }

    #[test]
    fn a_copy_elsewhere_counts_only_when_there_is_nothing_better() {
        let mounts = "30 1 0:26 /a /mnt/my\\040copy rw - cgroup cgroup rw,pids\n";
        let layout = Layout::parse(mounts, "3:pids:/\n").unwrap();
        assert_eq!(layout.hierarchies[0].mountpoint, Path::new("/mnt/my copy"));
    }

    #[test]
    fn no_cgroup_at_all_is_said() {
        let error = Layout::parse("22 1 254:0 / / rw - ext4 /dev/root rw\n", "").unwrap_err();
        assert!(error.to_string().contains("no cgroup hierarchy is mounted"), "{error}");
    }
}
