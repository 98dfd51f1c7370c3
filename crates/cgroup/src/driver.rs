//! The drivers: they write what `settings` and `devices` say, and know nothing of what it means.

pub(crate) mod systemd;
mod v1;
mod v2;

use std::path::Path;

use rustix::io::Errno;
use spec::oci::LinuxResources;

use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};
use crate::settings::{self, Setting, Version};
use crate::update::{Before, Earlier};

/// Makes freshly made directories ready for processes and limits.
pub(crate) fn prepare(cgroup: &Cgroup) -> Result<()> {
    match cgroup.version() {
        Version::V1 => v1::inherit_cpuset(cgroup),
        Version::V2 => v2::enable_controllers(cgroup.main().1),
    }
}

/// What `resources` ask for, in the words of the hierarchies that `cgroup` is in.
pub(crate) fn settings(cgroup: &Cgroup, resources: &LinuxResources) -> Result<Vec<Setting>> {
    if cgroup.is_v2() {
        return settings::settings(resources, Version::V2);
    }
    settings::hybrid(resources, |controller| {
        // One controller has two names.
        let (v1, v2) = match controller {
            "blkio" | "io" => ("blkio", "io"),
            same => (same, same),
        };
        cgroup.path(v1).is_none() && cgroup.path(UNIFIED).is_some_and(|dir| v2::provide(dir, v2))
    })
}

/// Writes the settings, those that were refused as invalid a second time, when the others stand.
///
/// memory and memory with swap, or period and quota, bound each other: which must go first depends on the old values.
/// Trying again is cheaper than reading the old ones, and right in both directions. `before` notes what stood there, if
/// anybody wants to know.
pub(crate) fn write_all(
    cgroup: &Cgroup,
    settings: &[Setting],
    mut before: Option<&mut Before>,
) -> Result<()> {
    let mut refused = Vec::new();
    for setting in settings {
        match write(cgroup, setting, before.as_deref_mut()) {
            Err(error) if error.errno() == Some(Errno::INVAL) => refused.push(setting),
            result => result?,
        }
    }
    refused.into_iter().try_for_each(|setting| write(cgroup, setting, before.as_deref_mut()))
}

/// Allows and denies devices.
pub(crate) fn set_devices(cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    match cgroup.version() {
        Version::V1 => v1::set_devices(cgroup, policy),
        Version::V2 => v2::set_devices(cgroup.main().1, policy),
    }
}

/// Changes which devices may be used, under processes that use some.
pub(crate) fn change_devices(cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    match cgroup.version() {
        Version::V1 => v1::change_devices(cgroup, policy),
        Version::V2 => v2::set_devices(cgroup.main().1, policy),
    }
}

fn write(cgroup: &Cgroup, setting: &Setting, mut before: Option<&mut Before>) -> Result<()> {
    let controller = setting.controller.as_ref();
    let key = if setting.version == Version::V2 { UNIFIED } else { controller };
    let mut missing = None;
    if let Some(dir) = cgroup.path(key) {
        for choice in &setting.choices {
            let noted = before.as_ref().and_then(|_| Earlier::read(controller, dir, choice));
            match files::write(controller, dir, &choice.file, &choice.value) {
                Err(error) if error.errno() == Some(Errno::NOENT) => missing = Some(error),
                result => {
                    if let (Some(before), Some(noted), Ok(())) = (before.as_deref_mut(), noted, &result) {
                        before.push(noted);
                    }
                    return result.map_err(|error| v1::explain_busy(error, dir, choice));
                }
            }
        }
        if setting.version == Version::V2 && !v2::has_controller(dir, controller) {
            missing = None;
        }
    }
    match (setting.optional, missing) {
        (true, _) => Ok(()),
        (false, Some(error)) => Err(error),
        (false, None) => Err(unavailable(controller, setting)),
    }
}

fn unavailable(controller: &str, setting: &Setting) -> Error {
    let choice = setting.choices.first();
    Error::MissingController {
        controller: controller.to_owned(),
        file: choice.map_or_else(String::new, |choice| choice.file.clone().into_owned()),
        value: choice.map_or_else(String::new, |choice| choice.value.clone()),
    }
}

/// The words of a one-line file such as `cgroup.controllers`.
fn words(controller: &str, dir: &Path, file: &str) -> Result<Vec<String>> {
    Ok(files::read(controller, dir, file)?.split_whitespace().map(str::to_owned).collect())
}
