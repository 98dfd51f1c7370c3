//! Plans put into effect for real, in mount namespaces of their own, with hostile images among them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const BUSYBOX: &str = "/bin/busybox";

/// A bundle with a busybox rootfs, and a directory of the host beside it that nothing may touch.
struct Bundle {
    dir: PathBuf,
    config: Value,
}

impl Bundle {
    /// `None`, said loudly, where the test cannot run.
    fn new(name: &str) -> Option<Self> {
        let unshare = Command::new("unshare").args(["-mpf", "true"]).output();
        if !unshare.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIP {name}: needs root and unshare(1)");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            eprintln!("SKIP {name}: needs {BUSYBOX} (package busybox-static)");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("rootfs-{}-{name}", std::process::id()));
        for sub in ["rootfs/bin", "host"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::copy(BUSYBOX, dir.join("rootfs/bin/busybox")).unwrap();
        fs::write(dir.join("host/secret"), "untouched").unwrap();
        Some(Self { dir, config: default_config() })
    }

    fn rootfs(&self, inside: &str) -> PathBuf {
        self.dir.join("rootfs").join(inside)
    }

    fn mount(&mut self, mount: Value) {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    fn run_with(&self, flags: &[&str], script: &str) -> Output {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        let enter = std::env::current_exe().unwrap().parent().unwrap().join("../examples/enter");
        let propagation = ["-mpf", "--propagation", "private"];
        let shell = ["/bin/busybox", "sh", "-c", script];
        Command::new("unshare")
            .args(propagation)
            .arg(enter)
            .args(flags)
            .arg(&self.dir)
            .args(shell)
            .output()
            .unwrap()
    }

    /// What a script prints in the container; it must succeed.
    fn run(&self, script: &str) -> String {
        let output = self.run_with(&[], script);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of a tree that must not be made.
    fn refused(&self) -> String {
        let output = self.run_with(&[], "echo made");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn assert_host_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(self.dir.join("host")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "the host's directory was written to");
        assert_eq!(fs::read(self.dir.join("host/secret")).unwrap(), b"untouched");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn default_config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": { "user": { "uid": 0, "gid": 0, "umask": 18 }, "args": ["sh"], "cwd": "/" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
        ],
        "linux": {
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/proc/timer_list", "/sys/firmware", "/proc/none"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

#[test]
fn the_default_bundle() {
    let Some(bundle) = Bundle::new("default") else { return };
    let script = "cd /; cat /proc/self/mountinfo; ls -l /dev; ls -A /sys/firmware; wc -c < /proc/keys; umask; \
                  touch /x || touch /dev/shm/x && echo only-shm; ls /sys/fs/cgroup; echo 1 > /proc/sys/vm/swappiness || echo ro";
    let script = format!("for c in ls cat wc touch; do alias $c=\"/bin/busybox $c\"; done; {script}");
    let output = bundle.run(&script);
    for needle in [
        "/rootfs / ro,",
        "/ /dev rw,nosuid - tmpfs",
        "/ /sys/firmware ro,relatime - tmpfs tmpfs ro",
        "/null /proc/keys ",
        "/ /sys ro,nosuid,nodev,noexec,relatime - sysfs",
        "pts/ptmx",
        "only-shm",
        "\n0\n0022\n",
        "\nro\n",
    ] {
        assert!(output.contains(needle), "no {needle:?} in {output}");
    }
    assert!(!output.contains("shared:") && !output.contains("master:"), "{output}");
}

#[test]
fn a_root_that_is_moved_instead_of_pivoted() {
    let Some(bundle) = Bundle::new("move") else { return };
    let output = bundle.run_with(
        &["--no-pivot"],
        "busybox() { /bin/busybox \"$@\"; }; busybox ls /; busybox ls /proc/self/fd",
    );
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("bin\ndev\nproc\nsys\n"), "{output:?}");
}

#[test]
fn a_fresh_cgroup_mount_in_a_cgroup_namespace() {
    let Some(bundle) = Bundle::new("cgroupns") else { return };
    let output = bundle.run_with(&["--cgroup-namespace"], "/bin/busybox cat /proc/self/mountinfo");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("/sys/fs/cgroup"), "{output:?}");
}

#[test]
fn dev_that_is_a_link_to_the_host() {
    let Some(mut bundle) = Bundle::new("dev-link") else { return };
    symlink(bundle.dir.join("host"), bundle.rootfs("dev")).unwrap();
    bundle.run(":");
    bundle.assert_host_untouched();
    // Also without a tmpfs over it: the nodes are then made in the rootfs.
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    bundle.run("/bin/busybox test -c /dev/null");
    bundle.assert_host_untouched();
}

#[test]
fn proc_or_sys_that_is_a_link() {
    for name in ["proc", "sys"] {
        let Some(bundle) = Bundle::new(&format!("{name}-link")) else { return };
        fs::create_dir(bundle.rootfs("other")).unwrap();
        symlink("other", bundle.rootfs(name)).unwrap();
        let error = bundle.refused();
        assert!(error.contains("it must be mounted on ordinary directory"), "{error}");
        bundle.assert_host_untouched();
    }
}

#[test]
fn destinations_that_lead_out() {
    let Some(mut bundle) = Bundle::new("destinations") else { return };
    let host = bundle.dir.join("host");
    symlink(&host, bundle.rootfs("absolute")).unwrap();
    symlink("../../../../../../..", bundle.rootfs("up")).unwrap();
    fs::write(bundle.dir.join("file"), "bound").unwrap();
    let up = format!("/../../..{}/a", host.display());
    for destination in [up.as_str(), "/absolute/b", &format!("/up{}/c", host.display()), "/absolute/d"] {
        bundle.mount(json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" }));
    }
    bundle.mount(json!({ "destination": "/absolute/file", "source": "file", "options": ["bind", "ro"] }));
    let script = format!("/bin/busybox cat {0}/file; /bin/busybox ls {0}", host.display());
    assert_eq!(bundle.run(&script), "bounda\nb\nc\nd\nfile\n");
    bundle.assert_host_untouched();
}

#[test]
fn dev_null_that_is_a_link() {
    let Some(mut bundle) = Bundle::new("null-link") else { return };
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    fs::create_dir(bundle.rootfs("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs("dev/null")).unwrap();
    let error = bundle.refused();
    assert!(error.contains(r#"make device "/dev/null": something else is there already"#), "{error}");
}

#[test]
fn a_console_is_bound_but_never_through_a_link() {
    let Some(mut bundle) = Bundle::new("console") else { return };
    let output = bundle.run_with(&["--console"], "/bin/busybox grep /dev/console /proc/self/mountinfo");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains(" /dev/console rw,nosuid,noexec,relatime - devpts"), "{output:?}");

    // CVE-2025-52565: with an image that has the link, and no tmpfs over its /dev.
    bundle.config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    fs::create_dir_all(bundle.rootfs("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs("dev/console")).unwrap();
    let output = bundle.run_with(&["--console"], "echo made");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("bind the terminal to \"/dev/console\"") && error.contains("O_NOFOLLOW"),
        "{output:?}"
    );
}

#[test]
fn devices_are_bound_in_a_user_namespace() {
    let Some(mut bundle) = Bundle::new("userns") else { return };
    // No group but root is mapped here, and mqueue is not mounted, so no IPC namespace is needed.
    bundle.config["mounts"][2]["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666"]);
    fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(bundle.dir.join("config.json"), bundle.config.to_string()).unwrap();
    let enter = std::env::current_exe().unwrap().parent().unwrap().join("../examples/enter");
    let mut command = Command::new("unshare");
    command.args(["-Urmpf", "--propagation", "private"]).arg(enter).arg("--user-namespace").arg(&bundle.dir);
    let output = command.args(["/bin/busybox", "cat", "/proc/self/mountinfo"]).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for needle in ["/null /dev/null ", "/tty /dev/tty ", "/null /proc/keys ", " /sys ro,nosuid,nodev,noexec"]
    {
        assert!(table.contains(needle), "no {needle:?} in {table}");
    }
}

#[test]
fn a_masked_path_that_is_a_link() {
    let Some(mut bundle) = Bundle::new("mask-link") else { return };
    symlink(bundle.dir.join("host/secret"), bundle.rootfs("masked-out")).unwrap();
    symlink("/etc/inside", bundle.rootfs("masked-in")).unwrap();
    fs::create_dir(bundle.rootfs("etc")).unwrap();
    fs::write(bundle.rootfs("etc/inside"), "visible").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/masked-out", "/masked-in"]);
    assert_eq!(bundle.run("/bin/busybox cat /etc/inside"), "");
    bundle.assert_host_untouched();
}

#[test]
fn nothing_but_known_files_over_proc() {
    let Some(mut bundle) = Bundle::new("proc-files") else { return };
    fs::write(bundle.dir.join("fake"), "fake").unwrap();
    bundle.mount(json!({ "destination": "/proc/uptime", "source": "fake", "options": ["bind"] }));
    assert_eq!(bundle.run("/bin/busybox cat /proc/uptime"), "fake");
    fs::create_dir(bundle.rootfs("etc")).unwrap();
    symlink("/proc/self/attr", bundle.rootfs("etc/attr")).unwrap();
    for destination in ["/proc/self/attr/exec", "/etc/attr/exec", "/proc/version"] {
        let count = bundle.config["mounts"].as_array().unwrap().len();
        bundle.mount(json!({ "destination": destination, "source": "fake", "options": ["bind"] }));
        let error = bundle.refused();
        assert!(error.contains("it cannot be mounted because it is inside /proc"), "{error}");
        bundle.config["mounts"].as_array_mut().unwrap().truncate(count);
    }
    let fake_proc = json!({ "destination": "/proc", "source": "host", "options": ["bind"] });
    bundle.config["mounts"] = json!([fake_proc]);
    let error = bundle.refused();
    assert!(error.contains("\"/proc\" cannot be mounted because it is not of type proc"), "{error}");
}

#[test]
fn a_missing_source_is_named() {
    let Some(mut bundle) = Bundle::new("missing") else { return };
    bundle.mount(json!({ "destination": "/data", "source": "/no/such/dir", "options": ["rbind"] }));
    let error = bundle.refused();
    let expected =
        r#"mounts[6].source "/no/such/dir": open_tree("/no/such/dir", clone): no such file or directory"#;
    assert!(error.contains(expected), "{error}");
}

#[test]
fn options_of_mounts() {
    let Some(mut bundle) = Bundle::new("options") else { return };
    fs::create_dir(bundle.rootfs("old")).unwrap();
    fs::write(bundle.rootfs("old/file"), "copied").unwrap();
    symlink("file", bundle.rootfs("old/link")).unwrap();
    fs::set_permissions(bundle.rootfs("old"), fs::Permissions::from_mode(0o1770)).unwrap();
    bundle.mount(
        json!({ "destination": "/old", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"] }),
    );
    bundle.mount(json!({ "destination": "/tree", "source": "host",
                         "options": ["rbind", "rro", "nosymfollow", "noatime", "rslave"] }));
    let lower = bundle.dir.join("l".repeat(200));
    fs::create_dir_all(lower.join("layer")).unwrap();
    fs::create_dir_all(lower.join("second/dir")).unwrap();
    fs::write(lower.join("layer/low"), "").unwrap();
    let layers = format!("lowerdir={0}/layer:{0}/second", lower.display());
    bundle.mount(
        json!({ "destination": "/over", "type": "overlay", "source": "overlay", "options": [layers, "ro"] }),
    );
    let output = bundle.run(
        "busybox() { /bin/busybox \"$@\"; }; busybox cat /old/link; busybox stat -c %a /old; busybox ls /over; \
         busybox cat /proc/self/mountinfo",
    );
    assert!(output.starts_with("copied1770\ndir\nlow\n"), "{output}");
    assert!(output.contains("/tree ro,noatime,nosymfollow"), "{output}");
    assert!(output.contains("/old ro,relatime - tmpfs"), "{output}");
    assert!(output.contains("/over ro,relatime"), "{output}");
}

#[test]
fn mount_points_for_a_restore() {
    let Some(mut bundle) = Bundle::new("restore") else { return };
    fs::write(bundle.dir.join("file"), "").unwrap();
    symlink(bundle.dir.join("host"), bundle.rootfs("out")).unwrap();
    for (destination, source) in [
        ("/etc/hosts", "file"),
        ("/out/dir", "host"),
        ("/data", "host"),
        ("/data/secret", "file"),
        ("/dev/x", "file"),
    ] {
        bundle.mount(json!({ "destination": destination, "source": source, "options": ["bind"] }));
    }
    let spec = serde_json::from_value(bundle.config.clone()).unwrap();
    let context = rootfs::Context {
        rootfs: bundle.rootfs(""),
        bundle: bundle.dir.clone(),
        cgroup: rootfs::CgroupView::None,
        mount_namespace: true,
        user_namespace: false,
        cgroup_namespace: false,
    };
    let plan = rootfs::Plan::new(&spec, &context).unwrap();
    let root = sys::path::Root::at(&bundle.rootfs("")).unwrap();
    rootfs::create_mountpoints(&plan, &root).unwrap();
    let host = bundle.dir.join("host").strip_prefix("/").unwrap().to_owned();
    assert!(bundle.rootfs("etc/hosts").is_file());
    assert!(bundle.rootfs(host.join("dir").to_str().unwrap()).is_dir(), "the link is followed in the root");
    assert!(
        bundle.rootfs("data").is_dir() && bundle.rootfs("dev").is_dir() && bundle.rootfs("proc").is_dir()
    );
    assert!(fs::read_dir(bundle.rootfs("dev")).unwrap().next().is_none(), "the tmpfs brings what is in it");
    bundle.assert_host_untouched();

    // Masked paths are found with their links resolved; what does not exist is left out.
    fs::create_dir(bundle.rootfs("run")).unwrap();
    symlink("/run", bundle.rootfs("var")).unwrap();
    let masked = ["/var", "/etc/hosts", "/none"].map(PathBuf::from).into();
    let plan = rootfs::Plan { masked, mounts: Vec::new(), ..plan };
    let located = rootfs::locate_externals(&plan, &root).unwrap();
    let names: Vec<_> = located.iter().map(|l| (l.destination.to_str().unwrap(), l.name.as_str())).collect();
    assert_eq!(names, [("/run", "masked-directory"), ("/etc/hosts", "/dev/null")]);
}
