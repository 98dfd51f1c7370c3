//! A systemd of a case's own: process 1 of namespaces in which it manages a part of the machine's cgroup tree.
//!
//! It needs no machine that was started with systemd. It sees its own part of the tree as the whole (a cgroup namespace), and
//! has /run, /etc and /proc of its own; all else is the machine's. So it must not see the units of the distribution: among
//! those that every service asks for is one that empties /tmp, as at a start of the machine, and one that sets sysctls.
//! `systemctl` and the runtimes talk to it over `/run/systemd/private`, without a bus.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::leftovers::TAG_VARIABLE;
use crate::wait::{becomes_true, patience};
use crate::{Cmd, Fallible, Running, Test, wait_until};

/// Where Debian has the program.
pub(crate) const PROGRAM: &str = "/usr/lib/systemd/systemd";

const TREE: &str = "/sys/fs/cgroup";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// What the machine in its namespaces is made of; `$0` says which cgroups it sees.
const BOOT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/etc /run/etc/systemd /run/etc/systemd/system
cd /etc
for file in passwd group nsswitch.conf ld.so.cache machine-id subuid subgid; do
    [ ! -e $file ] || cp $file /run/etc/
done
cd /
mount --bind /run/etc /etc
for directory in system user system-generators user-generators system-environment-generators user-environment-generators; do
    [ ! -d /usr/lib/systemd/$directory ] || mount -t tmpfs -o mode=755 tmpfs /usr/lib/systemd/$directory
done
for manager in system user; do
    printf '[Unit]\nDefaultDependencies=no\n' > /usr/lib/systemd/$manager/default.target
done
hierarchies=$(grep -v '^0:' /proc/self/cgroup | cut -d: -f2 || true)
umount -R /sys/fs/cgroup
if [ "$0" = v2 ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for names in $hierarchies; do
        directory=/sys/fs/cgroup/${names#name=}
        mkdir "$directory"
        mount -t cgroup -o "none,$names" cgroup "$directory" 2>/dev/null || mount -t cgroup -o "$names" cgroup "$directory"
    done
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi
mount -t proc proc /proc
exec "$@"
"#;

/// The cgroups that it manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// cgroup2 alone, with the controllers that cgroup2 has on this machine.
    V2,
    /// The v1 hierarchies, and cgroup2 beside them.
    Hybrid,
}

/// A systemd that runs; ended, with all that it has started, when dropped.
#[derive(Debug)]
pub struct Systemd {
    pid: i32,
    unshare: Running,
    /// Its part of each hierarchy.
    roots: Vec<PathBuf>,
}

impl Systemd {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn boot(test: &Test, layout: Layout) -> Fallible<Self> {
        let name = test.new_id();
        let hierarchies = hierarchies(layout);
        hierarchies.iter().for_each(|hierarchy| hand_down(hierarchy));
        let roots: Vec<_> = hierarchies.iter().map(|hierarchy| hierarchy.join(&name)).collect();
        roots.iter().try_for_each(|root| make(root))?;
        let arguments = ["--system", "--unit=default.target", "--log-target=console", "--log-level=warning"];
        let unshare = into(&roots)
            .args(["unshare", "-m", "-p", "-C", "-u", "-i", "--propagation", "private", "--fork"])
            .args(["--kill-child", "sh", "-c", BOOT, if layout == Layout::V2 { "v2" } else { "hybrid" }])
            .args(["env", "-i", "container=rt-test", &format!("{TAG_VARIABLE}={name}")])
            .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", PROGRAM])
            .args(arguments)
            .spawn()?;
        let mut this = Self { pid: 0, unshare, roots };
        wait_until("the first process of the namespaces", || {
            this.pid = child_of(this.unshare.pid()).unwrap_or(0);
            this.pid != 0
        })?;
        let mut last = String::new();
        let up =
            becomes_true(patience(), || match this.systemctl(&["is-active", "default.target"]).output() {
                Ok(output) => {
                    last = output.to_string();
                    output.code == 0
                }
                Err(_) => false,
            });
        if up { Ok(this) } else { Err(format!("systemd does not come up: {last}").into()) }
    }

    /// `systemctl ARGS`.
    pub fn systemctl(&self, args: &[&str]) -> Cmd {
        Cmd::new("systemctl").args(args).in_systemd(self)
    }

    /// The value of a unit's property, as `systemctl show` prints it.
    ///
    /// # Errors
    /// When systemctl fails.
    pub fn property(&self, unit: &str, name: &str) -> Fallible<String> {
        let output = self.systemctl(&["show", "--value", "-p", name, unit]).succeeds()?;
        Ok(output.stdout.trim_end().to_owned())
    }

    /// The path on this side of a file of its cgroup tree: the hierarchy's name (`unified` for cgroup2), the path in it.
    #[must_use]
    pub fn cgroup(&self, hierarchy: &str, path: &str) -> PathBuf {
        let parent = |root: &PathBuf| root.parent().map(Path::to_owned).unwrap_or_default();
        let is_meant = |root: &&PathBuf| {
            let parent = parent(root);
            parent.ends_with(hierarchy) || hierarchy == "unified" && parent == Path::new(TREE)
        };
        self.roots
            .iter()
            .find(is_meant)
            .map(|root| root.join(path.trim_start_matches('/')))
            .unwrap_or_default()
    }

    /// The words that carry a command into its namespaces.
    pub(crate) fn entrance(&self) -> (Cmd, Vec<String>) {
        let words = ["nsenter", "-m", "-p", "-C", "-t"].map(str::to_owned);
        // cgroup2 has no processes in a cgroup whose children have controllers, and cgroups that systemd does not know it removes.
        let is_v2 = |root: &Path| root.join("cgroup.controllers").exists();
        let doors =
            self.roots.iter().map(|root| if is_v2(root) { root.join("init.scope") } else { root.clone() });
        (into(&doors.collect::<Vec<_>>()), words.into_iter().chain([self.pid.to_string()]).collect())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // All processes of its pid namespace go with it.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        becomes_true(Duration::from_secs(5), || !self.unshare.is_running());
        self.unshare.kill();
        for root in &self.roots {
            becomes_true(Duration::from_secs(2), || remove(root).is_ok() || !root.exists());
        }
    }
}

/// A command that goes into `cgroups` and becomes the program that is appended.
fn into(cgroups: &[PathBuf]) -> Cmd {
    let doors = cgroups.iter().map(|cgroup| cgroup.join("cgroup.procs").display().to_string());
    let script: String = doors.map(|door| format!("echo $$ > {door} && ")).collect();
    Cmd::new("sh").args(["-c", &format!("{script}exec \"$0\" \"$@\"")])
}

/// Where the hierarchies of a layout are mounted here.
fn hierarchies(layout: Layout) -> Vec<PathBuf> {
    let unified = if Path::new(UNIFIED).exists() { UNIFIED } else { TREE };
    let mut found = vec![PathBuf::from(unified)];
    if layout == Layout::Hybrid {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let v1 = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next() == Some("cgroup") && place.starts_with(TREE)).then(|| PathBuf::from(place))
        });
        found.extend(v1);
    }
    found
}

/// Makes a cgroup that processes can enter.
fn make(path: &Path) -> Fallible<()> {
    fs::create_dir(path)?;
    let parent = path.parent().unwrap_or(path);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if path.join("cpuset.memory_migrate").exists() {
            fs::write(path.join(file), fs::read(parent.join(file))?)?;
        }
    }
    Ok(())
}

/// Hands the controllers of cgroup2 down to what is below `parent`; one that somebody uses on v1 is not to be had.
fn hand_down(parent: &Path) {
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn child_of(pid: u32) -> Option<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Removes a cgroup with all below it.
fn remove(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    fs::remove_dir(path)
}
