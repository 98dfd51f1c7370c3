//! What a case needs of the machine. A need that is not met skips the case and says why.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::runtime::{criu as criu_binary, in_path};

/// Met, or the reason why not.
pub type Need = fn() -> Result<(), String>;

/// Root: namespaces, mounts and cgroups without a user namespace.
///
/// # Errors
/// The reason why it is not met; so for each need.
pub fn root() -> Result<(), String> {
    met(rustix::process::geteuid().is_root(), "root")
}

/// A static busybox, which is the whole root filesystem of the test bundles.
///
/// # Errors
/// See [`root`].
pub fn busybox() -> Result<(), String> {
    met(crate::bundle::busybox().is_some(), "a static busybox (Debian: busybox-static)")
}

/// Debian's runc, or any other.
///
/// # Errors
/// See [`root`].
pub fn runc() -> Result<(), String> {
    met(in_path("runc").is_some(), "runc in PATH")
}

/// crun, to be compared with.
///
/// # Errors
/// See [`root`].
pub fn crun() -> Result<(), String> {
    met(in_path("crun").is_some(), "crun in PATH")
}

/// podman, with what it runs pods and networks with.
///
/// # Errors
/// See [`root`].
pub fn podman() -> Result<(), String> {
    engine("/usr/bin/podman")?;
    met(
        in_path("netavark").is_some() || Path::new("/usr/lib/podman/netavark").exists(),
        "podman's netavark",
    )?;
    met(in_path("catatonit").is_some(), "catatonit in PATH, which is in podman's pods")
}

/// docker, its daemon included.
///
/// # Errors
/// See [`root`].
pub fn docker() -> Result<(), String> {
    engine("/usr/bin/docker")?;
    met(in_path("dockerd").is_some(), "dockerd in PATH (Debian: docker.io)")
}

/// containerd and its own client.
///
/// # Errors
/// See [`root`].
pub fn containerd() -> Result<(), String> {
    engine("/usr/bin/containerd")?;
    engine("/usr/bin/ctr")
}

/// A containerd 2, where `scripts/get-containerd` puts it.
///
/// # Errors
/// See [`root`].
pub fn containerd_2() -> Result<(), String> {
    met(Path::new("/opt/rt-containerd/bin/containerd").exists(), "containerd 2 (scripts/get-containerd)")
}

/// What gives Kubernetes' pods a network.
///
/// # Errors
/// See [`root`].
pub fn cni() -> Result<(), String> {
    engine("/usr/lib/cni/ptp")?;
    met(in_path("jq").is_some(), "jq in PATH")
}

/// A program of an engine, where Debian has it, and what all cases with engines use.
fn engine(path: &str) -> Result<(), String> {
    unshare()?;
    iproute2()?;
    met(in_path("script").is_some(), "script in PATH (Debian: bsdutils)")?;
    met(Path::new(path).exists(), &format!("{path} (scripts/setup engines installs it)"))
}

/// A kernel with AppArmor, and the means to load a profile.
///
/// # Errors
/// See [`root`].
pub fn apparmor() -> Result<(), String> {
    met(Path::new("/sys/kernel/security/apparmor/profiles").exists(), "AppArmor in the kernel")?;
    met(in_path("apparmor_parser").is_some(), "apparmor_parser in PATH (Debian: apparmor)")
}

/// SELinux with a policy that has labels for containers; where it enforces this, no test's files may be executed.
///
/// # Errors
/// See [`root`].
pub fn selinux() -> Result<(), String> {
    let enforce = std::fs::read_to_string("/sys/fs/selinux/enforce");
    met(enforce.is_ok_and(|mode| mode.trim() == "0"), "SELinux in permissive mode")?;
    let label = "system_u:system_r:container_t:s0:c1,c2";
    met(
        std::fs::write("/sys/fs/selinux/context", label).is_ok(),
        "a policy with container_t (Debian: selinux-policy-default)",
    )
}

/// A C compiler that can link a program without shared libraries.
///
/// # Errors
/// See [`root`].
pub fn c_compiler() -> Result<(), String> {
    met(in_path("cc").is_some(), "a C compiler called cc (Debian: gcc, libc6-dev)")
}

/// A program that makes system calls by number, or what it is built with.
///
/// # Errors
/// See [`root`].
pub fn call() -> Result<(), String> {
    std::env::var_os("RT_TEST_CALL").map_or_else(c_compiler, |_| Ok(()))
}

/// strace, which makes system calls fail.
///
/// # Errors
/// See [`root`].
pub fn strace() -> Result<(), String> {
    met(in_path("strace").is_some(), "strace in PATH")
}

/// openssl, which makes certificates.
///
/// # Errors
/// See [`root`].
pub fn openssl() -> Result<(), String> {
    met(in_path("openssl").is_some(), "openssl in PATH")
}

/// A CRIU that works on this kernel, as `criu check` says.
///
/// # Errors
/// See [`root`].
pub fn criu() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(ask_criu).clone()
}

fn ask_criu() -> Result<(), String> {
    let Some(binary) = criu_binary() else {
        return met(false, "criu (RT_CRIU, /opt/rt-criu/bin/criu or in PATH; scripts/get-criu obtains one)");
    };
    let mut command = Command::new(&binary);
    command.arg("check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    met(works, &format!("a criu that works on this kernel (`{} check` fails)", binary.display()))
}

/// A kernel that can tell which memory has changed, and a CRIU that uses it: pre-dumps build on each other.
///
/// # Errors
/// See [`root`].
pub fn memory_tracking() -> Result<(), String> {
    met(tracks_memory(), "a kernel with CONFIG_MEM_SOFT_DIRTY (`criu check --feature mem_dirty_track`)")
}

/// The opposite, to see what is said then.
///
/// # Errors
/// See [`root`].
pub fn no_memory_tracking() -> Result<(), String> {
    met(!tracks_memory(), "a kernel without CONFIG_MEM_SOFT_DIRTY")
}

fn tracks_memory() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Some(binary) = criu_binary() else { return false };
        let mut command = Command::new(binary);
        command.args(["check", "--feature", "mem_dirty_track"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// A CRIU that can dump TCP sockets on this kernel: since 6.16, `SO_PASSCRED` of such a socket cannot
/// be asked for, which CRIU took for a failure before 4.2.
///
/// # Errors
/// See [`root`].
pub fn criu_for_tcp() -> Result<(), String> {
    criu()?;
    let kernel = numbers(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default());
    let output = criu_binary().and_then(|binary| Command::new(binary).arg("--version").output().ok());
    let version = output.map(|output| numbers(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default();
    met(
        kernel < vec![6, 16] || version >= vec![4, 2],
        "criu 4.2 or later to dump TCP sockets on Linux 6.16 or later",
    )
}

/// The first two numbers in the text.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).take(2).collect()
}

/// The means to lock TCP connections during a dump.
///
/// # Errors
/// See [`root`].
pub fn iptables() -> Result<(), String> {
    met(in_path("iptables-restore").is_some(), "iptables-restore in PATH")
}

/// nft, by which CRIU can hold packets back, too.
///
/// # Errors
/// See [`root`].
pub fn nftables() -> Result<(), String> {
    met(in_path("nft").is_some(), "nft in PATH (Debian: nftables)")
}

/// The capability without which CRIU may not ask for the limits of other users' processes (prlimit(2)).
///
/// # Errors
/// See [`root`].
pub fn sys_resource() -> Result<(), String> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")?.trim().to_owned().into());
    let set = effective.and_then(|set: String| u64::from_str_radix(&set, 16).ok()).unwrap_or(0);
    met(set >> CAP_SYS_RESOURCE & 1 == 1, "CAP_SYS_RESOURCE")
}

/// iproute2, to make network namespaces.
///
/// # Errors
/// See [`root`].
pub fn iproute2() -> Result<(), String> {
    met(in_path("ip").is_some(), "ip (iproute2) in PATH")
}

/// util-linux's unshare, for cases that see mounts of their own.
///
/// # Errors
/// See [`root`].
pub fn unshare() -> Result<(), String> {
    met(in_path("unshare").is_some(), "unshare in PATH")
}

/// util-linux's setpriv, to become an unprivileged user who may make user namespaces.
///
/// # Errors
/// See [`root`].
pub fn unprivileged_userns() -> Result<(), String> {
    met(in_path("setpriv").is_some(), "setpriv in PATH")?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65532", "--regid=65532", "--clear-groups", "unshare", "--user", "true"]);
    let works =
        command.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    met(works, "user namespaces of unprivileged users")
}

/// The tools that map more than one's own id.
///
/// # Errors
/// See [`root`].
pub fn newuidmap() -> Result<(), String> {
    unprivileged_userns()?;
    met(in_path("newuidmap").is_some(), "newuidmap in PATH (Debian: uidmap)")
}

/// A v1 freezer hierarchy (also in the hybrid layout).
///
/// # Errors
/// See [`root`].
pub fn cgroup_v1() -> Result<(), String> {
    met(Path::new("/sys/fs/cgroup/freezer/tasks").exists(), "cgroup v1 at /sys/fs/cgroup/freezer")
}

/// systemd, to be started in namespaces of a case's own.
///
/// # Errors
/// See [`root`].
pub fn systemd() -> Result<(), String> {
    unshare()?;
    met(
        Path::new(crate::systemd::PROGRAM).exists(),
        "systemd at /usr/lib/systemd/systemd (Debian: systemd)",
    )?;
    let has_v2 = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .iter()
        .any(|dir| Path::new(dir).join("cgroup.procs").exists());
    met(has_v2, "cgroup v2 at /sys/fs/cgroup or /sys/fs/cgroup/unified")
}

/// The dbus-daemon.
///
/// # Errors
/// See [`root`].
pub fn dbus_daemon() -> Result<(), String> {
    met(Path::new("/usr/bin/dbus-daemon").exists(), "dbus-daemon at /usr/bin (Debian: dbus-daemon)")
}

/// A machine that systemd has booted, whose cgroups it makes (`sd_booted(3)`), with cgroup v2.
///
/// # Errors
/// See [`root`].
pub fn booted_by_systemd() -> Result<(), String> {
    cgroup_v2()?;
    met(Path::new("/run/systemd/system").exists(), "systemd as the first process")
}

/// The hybrid layout, out of which views of v1 alone and of v2 alone can be made.
///
/// # Errors
/// See [`root`].
pub fn hybrid() -> Result<(), String> {
    unshare()?;
    let path = Path::new("/sys/fs/cgroup/unified/cgroup.procs");
    met(path.exists(), "the hybrid layout: cgroup v2 at /sys/fs/cgroup/unified")
}

/// hugetlb as a controller of cgroup2 beside v1's hierarchies.
///
/// # Errors
/// See [`root`].
pub fn hugetlb_on_v2() -> Result<(), String> {
    let controllers =
        std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    met(
        controllers.split_whitespace().any(|name| name == "hugetlb"),
        "hugetlb as a controller of cgroup2 beside v1",
    )
}

/// cgroup v2 alone at /sys/fs/cgroup.
///
/// # Errors
/// See [`root`].
pub fn cgroup_v2() -> Result<(), String> {
    met(Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), "cgroup v2 at /sys/fs/cgroup")
}

/// The controllers of memory, pids and cpu, in either generation.
///
/// # Errors
/// See [`root`].
pub fn controllers() -> Result<(), String> {
    ["memory", "pids", "cpu"].into_iter().try_for_each(controller)
}

/// The memory controller, on v2 or on v1.
///
/// # Errors
/// See [`root`].
pub fn memory_controller() -> Result<(), String> {
    controller("memory")
}

/// The pids controller, on v2 or on v1.
///
/// # Errors
/// See [`root`].
pub fn pids_controller() -> Result<(), String> {
    controller("pids")
}

/// The cpu controller, on v2 or on v1.
///
/// # Errors
/// See [`root`].
pub fn cpu_controller() -> Result<(), String> {
    controller("cpu")
}

fn controller(name: &str) -> Result<(), String> {
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = Path::new("/sys/fs/cgroup").join(name).join("tasks");
    met(
        v2.split_whitespace().any(|there| there == name) || v1.exists(),
        &format!("the cgroup controller {name}"),
    )
}

fn met(yes: bool, what: &str) -> Result<(), String> {
    if yes { Ok(()) } else { Err(format!("needs {what}")) }
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(numbers("Version: 4.2.1\n"), [4, 2]);
        assert_eq!(numbers("6.18.0-rc1-amd64"), [6, 18]);
        assert!(numbers("6.9.1") < numbers("6.16"));
    }
}
