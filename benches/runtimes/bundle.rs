//! The bundles that all runtimes share: busybox and a config.json as runc's `spec` writes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{hog, view};

/// What the memory hog holds.
pub(crate) const HOG_BYTES: usize = 1 << 30;

/// The bundles' directories.
#[derive(Debug)]
pub(crate) struct Bundles {
    /// Its process is /bin/true.
    pub(crate) brief: PathBuf,
    /// Its process sleeps.
    pub(crate) idle: PathBuf,
    /// Its process holds [`HOG_BYTES`].
    pub(crate) hog: PathBuf,
    dir: PathBuf,
    /// The configuration of `idle`.
    idle_config: Value,
}

impl Bundles {
    /// Makes them below `dir`; `runc` writes the configuration.
    pub(crate) fn make(dir: &Path, runc: &Path, busybox: &Path) -> Result<Self> {
        let rootfs = dir.join("rootfs");
        make_rootfs(&rootfs, busybox)?;
        hog::install(&rootfs)?;
        let spec = Command::new(runc).arg("spec").current_dir(dir).output().context("runc spec")?;
        ensure!(spec.status.success(), "runc spec: {}", String::from_utf8_lossy(&spec.stderr).trim());
        let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        config["root"]["path"] = json!(rootfs);
        config["process"]["terminal"] = json!(false);
        // One container lives at a time (but for a crowd); a known place is one that can be cleaned up.
        config["linux"]["cgroupsPath"] = json!(format!("/{}", view::name()));

        let mut write = |name: &str, args: &[&str]| -> Result<PathBuf> {
            let bundle = dir.join(name);
            fs::create_dir(&bundle)?;
            config["process"]["args"] = json!(args);
            fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
            Ok(bundle)
        };
        let brief = write("brief", &["/bin/true"])?;
        let hog = write("hog", &["/hog", hog::FLAG, &HOG_BYTES.to_string()])?;
        let idle = write("idle", &["/bin/sleep", "1000000"])?;
        Ok(Self { brief, idle, hog, dir: dir.to_owned(), idle_config: config })
    }

    /// Writes a bundle whose process is a clock with so much memory and so many processes.
    pub(crate) fn clock(&self, bytes: usize, processes: usize) -> Result<PathBuf> {
        let bundle = self.dir.join("clock");
        let mut config = self.idle_config.clone();
        config["process"]["args"] = json!(["/hog", hog::CLOCK, bytes.to_string(), processes.to_string()]);
        config["root"]["readonly"] = json!(false);
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        let _ = fs::remove_file(self.gap());
        Ok(bundle)
    }

    /// The root file system of all.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// What that clock writes.
    pub(crate) fn gap(&self) -> PathBuf {
        self.rootfs().join(hog::GAP)
    }

    /// Writes a bundle like `idle` for one of many that live at the same time, each in a cgroup of its own.
    pub(crate) fn one_of_many(&self, index: usize) -> Result<PathBuf> {
        let bundle = self.dir.join(format!("idle-{index}"));
        let mut config = self.idle_config.clone();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{index}", view::name()));
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        Ok(bundle)
    }
}

fn make_rootfs(rootfs: &Path, busybox: &Path) -> Result<()> {
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::copy(busybox, rootfs.join("bin/busybox")).context("copy busybox into the bundle")?;
    for applet in ["sh", "sleep", "true"] {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    Ok(())
}
