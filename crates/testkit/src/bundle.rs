//! OCI bundles: a busybox root filesystem and a config.json as the runtime's own `spec` writes it,
//! then changed by the case.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::runtime::in_path;
use crate::{Cmd, Fallible};

/// The busybox applets that the cases use. The links are made by hand, because `--install`
/// would have to run in a chroot.
const APPLETS: &[&str] = &[
    "awk", "base64", "cat", "chmod", "chown", "cut", "dd", "df", "dirname", "echo", "env", "false", "find",
    "grep", "head", "hostname", "id", "ionice", "ip", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo",
    "mknod", "mount", "mv", "nc", "netstat", "od", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq",
    "setsid", "sh", "sleep", "sort", "stat", "stty", "tail", "tee", "test", "touch", "tr", "true", "tty",
    "umount", "uname", "usleep", "wc", "which", "xargs", "yes",
];

/// The busybox of the machine, if it is statically linked (a dynamic one names its loader in its head).
pub(crate) fn busybox() -> Option<PathBuf> {
    let path = in_path("busybox")?;
    let head = fs::read(&path).ok()?;
    let head = &head[..head.len().min(4096)];
    let dynamic = head.windows(8).any(|window| window == b"ld-linux" || window == b"ld-musl-");
    (!dynamic).then_some(path)
}

/// A bundle that can be run.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: String,
}

impl Bundle {
    /// The bundle's directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The path on the host of `path` in the root filesystem.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}/rootfs/{}", self.directory, path.trim_start_matches('/'))
    }

    /// What stands in the file `path` of the root filesystem; empty when there is none.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Writes a file into the root filesystem.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Fallible<()> {
        Ok(fs::write(self.path(path), text)?)
    }

    /// The path of config.json.
    #[must_use]
    pub fn config(&self) -> String {
        format!("{}/config.json", self.directory)
    }

    /// A second bundle with the same config.json and a copy of the root filesystem, at `directory`.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy_to(&self, directory: &str) -> Fallible<Self> {
        Cmd::new("cp").args(["-a", &self.directory, directory]).succeeds()?;
        Ok(Self { directory: directory.to_owned() })
    }
}

/// A bundle in the making: a config.json as `spec` writes it, without a terminal and with a writable root.
#[derive(Debug)]
#[must_use = "`build` writes it"]
pub struct BundleBuilder {
    directory: String,
    config: Value,
}

impl BundleBuilder {
    /// Starts from the config.json that stands in `directory`.
    pub(crate) fn open(directory: &str, master: &Path) -> Fallible<Self> {
        let config = serde_json::from_str(&fs::read_to_string(format!("{directory}/config.json"))?)?;
        Self::new(directory, master, config)
    }

    /// Starts from this config.json.
    pub(crate) fn new(directory: &str, master: &Path, config: Value) -> Fallible<Self> {
        make_rootfs(Path::new(directory), master)?;
        Ok(Self { directory: directory.to_owned(), config })
    }

    /// The path on the host of `path` in the root filesystem.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}/rootfs/{}", self.directory, path.trim_start_matches('/'))
    }

    /// Sets the program and its arguments.
    pub fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Sets the program to busybox's shell with `script`.
    pub fn script(self, script: &str) -> Self {
        self.args(&["sh", "-c", script])
    }

    /// Gives the program a terminal.
    pub fn terminal(self) -> Self {
        self.set("/process/terminal", json!(true))
    }

    /// Sets the value at a JSON pointer, creating objects on the way.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        *at(&mut self.config, pointer) = value;
        self
    }

    /// Appends to the array at a JSON pointer, creating it if need be.
    pub fn push(mut self, pointer: &str, value: Value) -> Self {
        let array = at(&mut self.config, pointer);
        if array.is_null() {
            *array = json!([]);
        }
        if let Some(array) = array.as_array_mut() {
            array.push(value);
        }
        self
    }

    /// Changes the configuration in a way that the other methods do not know.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds a capability to the bounding, effective and permitted sets.
    pub fn capability(self, name: &str) -> Self {
        ["bounding", "effective", "permitted"]
            .iter()
            .fold(self, |this, set| this.push(&format!("/process/capabilities/{set}"), json!(name)))
    }

    /// Sets the path of a namespace, adding it if need be.
    pub fn namespace(self, kind: &str, path: &str) -> Self {
        self.without_namespace(kind).push("/linux/namespaces", json!({"type": kind, "path": path}))
    }

    /// Leaves a namespace out, if it is there: on v2, `spec` writes one for cgroups.
    pub fn without_namespace(self, kind: &str) -> Self {
        self.edit(|config| {
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.retain(|namespace| namespace["type"] != kind);
            }
        })
    }

    /// Writes config.json.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn build(self) -> Fallible<Bundle> {
        let bundle = Bundle { directory: self.directory };
        fs::write(bundle.config(), serde_json::to_vec_pretty(&self.config)?)?;
        Ok(bundle)
    }
}

/// The value at `pointer`; objects that are missing on the way are created.
fn at<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    pointer.split('/').skip(1).fold(value, |value, key| {
        let index = key.parse::<usize>().ok().filter(|_| value.is_array());
        match index {
            Some(index) => &mut value[index],
            None => {
                if !value.is_object() {
                    *value = json!({});
                }
                &mut value[key]
            }
        }
    })
}

/// Fills `bundle/rootfs`: busybox as a hard link to the suite's own copy, and links for its applets.
fn make_rootfs(bundle: &Path, master: &Path) -> Fallible<()> {
    let rootfs = bundle.join("rootfs");
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::hard_link(master, rootfs.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_create_objects_and_reach_into_arrays() {
        let mut value = json!({"mounts": [{"type": "proc"}], "process": null});
        *at(&mut value, "/mounts/0/type") = json!("sysfs");
        *at(&mut value, "/process/user/uid") = json!(7);
        *at(&mut value, "/linux/cgroupsPath") = json!("/a");
        let expected = json!({
            "mounts": [{"type": "sysfs"}], "process": {"user": {"uid": 7}}, "linux": {"cgroupsPath": "/a"},
        });
        assert_eq!(value, expected);
    }
}
