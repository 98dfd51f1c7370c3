//! `linux.resources` as a list of files to write: the one place where resources are calculated.
//!
//! The rules are runc's: what a value means in the old hierarchies, what in cgroup2, and what `-1` and `0` stand for.
//! The drivers write the list and know nothing of resources. Fields that a layout has no file for are left out, as
//! runc does (swappiness on v2, `unified` on v1 being the exception: that is an error); kernel memory limits are
//! ignored everywhere, since the kernel took them out (deprecated in 5.4).

mod cpu;
mod io;
mod memory;
mod other;
mod property;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use spec::oci::LinuxResources;

use crate::error::Result;

pub use property::{Property, properties};

/// The generation of cgroups that a list is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// One thing to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The generation whose file it is.
    pub version: Version,
    /// The controller that has the file.
    pub controller: Cow<'static, str>,
    /// The files that may carry it, best first; the first that exists is written.
    pub choices: Vec<Write>,
    /// Whether it is fine that none of the files exists, because the setting only takes a limit away.
    pub optional: bool,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file's name in the cgroup's directory.
    pub file: Cow<'static, str>,
    /// What is written into it, in one write(2).
    pub value: String,
}

/// The files to write for `resources`, in an order that works for a new cgroup.
///
/// Some pairs (memory and memory with swap, quota and period) have no order that works from every old value to every
/// new one; a driver tries those that were refused with `EINVAL` a second time, after the others.
pub fn settings(resources: &LinuxResources, version: Version) -> Result<Vec<Setting>> {
    let mut list = List { version, settings: Vec::new() };
    if let Some(cpu) = resources.cpu() {
        cpu::cpuset(cpu, &mut list);
        cpu::cpu(cpu, &mut list)?;
    }
    if let Some(memory) = resources.memory() {
        memory::memory(memory, &mut list)?;
    }
    if let Some(pids) = resources.pids() {
        other::pids(pids, &mut list);
    }
    if let Some(block_io) = resources.block_io() {
        io::block_io(block_io, &mut list)?;
    }
    other::hugepages(resources.hugepage_limits().as_deref().unwrap_or_default(), &mut list)?;
    if let Some(network) = resources.network() {
        other::network(network, &mut list);
    }
    if let Some(rdma) = resources.rdma() {
        other::rdma(rdma, &mut list);
    }
    if let Some(unified) = resources.unified() {
        other::unified(unified, &mut list)?;
    }
    Ok(list.settings)
}

/// The files to write on a hybrid machine: v1's for the controllers that v1 has, cgroup2's for those that only it has.
pub fn hybrid(resources: &LinuxResources, is_only_in_v2: impl Fn(&str) -> bool) -> Result<Vec<Setting>> {
    let (missing, mut list): (Vec<_>, Vec<_>) =
        settings(resources, Version::V1)?.into_iter().partition(|setting| is_only_in_v2(&setting.controller));
    if !missing.is_empty() {
        // `unified` has been refused above.
        let v2 = settings(resources, Version::V2)?;
        list.extend(v2.into_iter().filter(|setting| is_only_in_v2(&setting.controller)));
    }
    Ok(list)
}

/// The list while it grows.
struct List {
    version: Version,
    settings: Vec<Setting>,
}

impl List {
    /// One value for the file of either generation; `None` where that generation has no such file.
    fn put(
        &mut self,
        v1: Option<(&'static str, &'static str)>,
        v2: Option<(&'static str, &'static str)>,
        value: &(impl ToString + ?Sized),
    ) {
        let place = match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        if let Some((controller, file)) = place {
            self.push(controller, vec![write(file, value)], false);
        }
    }

    fn push(&mut self, controller: impl Into<Cow<'static, str>>, choices: Vec<Write>, optional: bool) {
        self.settings.push(Setting {
            version: self.version,
            controller: controller.into(),
            choices,
            optional,
        });
    }
}

fn write(file: impl Into<Cow<'static, str>>, value: &(impl ToString + ?Sized)) -> Write {
    Write { file: file.into(), value: value.to_string() }
}

/// A limit in cgroup2's words: anything negative is no limit.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
