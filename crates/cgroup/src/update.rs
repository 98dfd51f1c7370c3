//! Changing the limits of a container that may be running, all of them or none.

use std::path::{Path, PathBuf};

use spec::oci::LinuxResources;

use crate::devices::Policy;
use crate::driver;
use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};
use crate::settings::{Setting, Write};

/// What stood in a file before it was written.
#[derive(Debug)]
pub(crate) struct Earlier {
    controller: String,
    dir: PathBuf,
    file: String,
    value: String,
}

/// What stood where, in the order in which it was overwritten.
pub(crate) type Before = Vec<Earlier>;

impl Cgroup {
    /// Sets what `resources` ask for and leaves everything else as it is; the devices too, if there are no rules for them.
    ///
    /// The container may be running or frozen. No device that is allowed before and after is denied in between, and the other
    /// way round: on v2 one program takes the other's place in one step.
    ///
    /// # Errors
    /// When it fails, what was written before is put back.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        let settings = driver::settings(self, resources)?;
        let policy = resources.devices().as_deref().map(Policy::new).transpose()?;
        self.check_usage(resources)?;
        let mut before = Before::new();
        let written = driver::write_all(self, &settings, Some(&mut before))
            .and_then(|()| policy.as_ref().map_or(Ok(()), |policy| driver::change_devices(self, policy)))
            .and_then(|()| self.tell_anew(&settings, policy.as_ref()));
        if written.is_err() {
            put_back(before);
        }
        written
    }

    /// Tells systemd of what has just been written, and writes it once more: systemd has its own idea of some files.
    fn tell_anew(&self, settings: &[Setting], devices: Option<&Policy>) -> Result<()> {
        if self.unit.is_none() {
            return Ok(());
        }
        self.tell(settings, devices)?;
        driver::write_all(self, settings, None)
    }

    /// Refuses a limit below what is used already, where that was wished (`checkBeforeUpdate`): cgroup2 would take it, and kill.
    /// The kernel of v1 refuses by itself.
    fn check_usage(&self, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory().filter(|memory| memory.check_before_update() == Some(true))
        else {
            return Ok(());
        };
        let usage = self.path(UNIFIED).and_then(|dir| files::read("memory", dir, "memory.current").ok());
        let Some(usage) = usage.and_then(|text| text.parse::<u64>().ok()) else { return Ok(()) };
        for (what, limit) in [("memory+swap", memory.swap()), ("memory", memory.limit())] {
            match limit {
                Some(limit @ 1..) if limit.cast_unsigned() <= usage => {
                    return Err(Error::LimitBelowUsage { what, limit, usage });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Last first; what is refused, once more when the others stand. What cannot be put back is not said: the error that led here is.
fn put_back(before: Before) {
    let put = |earlier: &Earlier| {
        files::write(&earlier.controller, &earlier.dir, &earlier.file, &earlier.value).is_err()
    };
    let refused: Vec<_> = before.into_iter().rev().filter(put).collect();
    for earlier in &refused {
        put(earlier);
    }
}

impl Earlier {
    /// What must be written to take `write` back; `None` where the file cannot be read.
    pub(crate) fn read(controller: &str, dir: &Path, write: &Write) -> Option<Self> {
        let text = files::read_list(controller, dir, &write.file).ok()?;
        let value = restoring(&text, write)?;
        Some(Self {
            controller: controller.to_owned(),
            dir: dir.to_owned(),
            file: write.file.clone().into_owned(),
            value,
        })
    }
}

/// What to write where `text` stood and `write` came, so that the same stands there again.
fn restoring(text: &str, write: &Write) -> Option<String> {
    if write.file == "memory.oom_control" {
        let word = text.lines().next()?.split(' ').nth(1)?;
        return Some(word.to_owned());
    }
    // Of a file with a line for each device, one line was changed.
    let (key, value) = match write.value.split_once(' ') {
        Some(keyed) if is_keyed(&write.file) => keyed,
        _ => {
            let default = text.lines().find_map(|line| line.strip_prefix("default "));
            let text = default.unwrap_or(text);
            return Some(if text.is_empty() { "\n".to_owned() } else { text.to_owned() });
        }
    };
    let is_same = |line: &&str| line.split(' ').next() == Some(key);
    if let Some(line) = text.lines().find(is_same) {
        return Some(line.to_owned());
    }
    let nothing = if value.contains('=') {
        let names = value.split(' ').filter_map(|pair| pair.split_once('='));
        names.map(|(name, _)| format!("{name}=max")).collect::<Vec<_>>().join(" ")
    } else if write.file.starts_with("io.") {
        "default".to_owned()
    } else {
        "0".to_owned()
    };
    Some(format!("{key} {nothing}"))
}

/// Whether the file has a line for each device or interface.
fn is_keyed(file: &str) -> bool {
    file.ends_with("_device")
        || file.ends_with(".weight")
        || matches!(file, "io.max" | "rdma.max" | "net_prio.ifpriomap")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_stood_there_is_written_again() {
        for (file, before, written, expected) in [
            ("memory.max", "max", "4096", "max"),
            ("cpu.max", "max 100000", "5000 20000", "max 100000"),
            ("cpuset.cpus", "", "0-1", "\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3", "1", "0"),
            ("io.weight", "default 100\n8:0 50", "500", "100"),
            ("io.bfq.weight", "100", "500", "100"),
            ("io.bfq.weight", "default 100\n8:0 50", "8:0 70", "8:0 50"),
            ("io.bfq.weight", "default 100", "8:0 70", "8:0 default"),
            (
                "io.max",
                "8:16 rbps=1 wbps=max riops=max wiops=max",
                "8:16 rbps=7",
                "8:16 rbps=1 wbps=max riops=max wiops=max",
            ),
            ("io.max", "8:16 rbps=1 wbps=max riops=max wiops=max", "8:0 rbps=7", "8:0 rbps=max"),
            ("blkio.throttle.read_bps_device", "", "8:0 600", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:0 5\n8:16 6", "8:16 600", "8:16 6"),
            (
                "rdma.max",
                "mlx hca_handle=2 hca_object=max",
                "mlx hca_handle=3",
                "mlx hca_handle=2 hca_object=max",
            ),
            ("net_prio.ifpriomap", "lo 0\neth0 5", "eth0 7", "eth0 5"),
        ] {
            let write = Write { file: file.into(), value: written.to_owned() };
            assert_eq!(restoring(before, &write).unwrap(), expected, "{file}: {before} then {written}");
        }
    }
}
