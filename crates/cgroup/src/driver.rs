//! The drivers: they write what `settings` and `devices` say, and know nothing of what it means.

pub(crate) mod systemd;
mod v1;
mod v2;

use std::path::Path;

use rustix::io::Errno;

use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::files;
use crate::group::{Cgroup, UNIFIED};
use crate::settings::{Setting, Version};

/// Makes freshly made directories ready for processes and limits.
pub(crate) fn prepare(cgroup: &Cgroup) -> Result<()> {
    match cgroup.version() {
        Version::V1 => v1::inherit_cpuset(cgroup),
        Version::V2 => v2::enable_controllers(cgroup.main().1),
    }
}

/// Writes the settings, those that were refused as invalid a second time, when the others stand.
///
/// memory and memory with swap, or period and quota, bound each other: which must go first depends on the old values.
/// Trying again is cheaper than reading the old ones, and right in both directions.
pub(crate) fn write_all(cgroup: &Cgroup, settings: &[Setting]) -> Result<()> {
    let mut refused = Vec::new();
    for setting in settings {
        match write(cgroup, setting) {
            Err(error) if error.errno() == Some(Errno::INVAL) => refused.push(setting),
            result => result?,
        }
    }
    refused.into_iter().try_for_each(|setting| write(cgroup, setting))
}

/// Allows and denies devices.
pub(crate) fn set_devices(cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    match cgroup.version() {
        Version::V1 => v1::set_devices(cgroup, policy),
        Version::V2 => v2::set_devices(cgroup.main().1, policy),
    }
}

fn write(cgroup: &Cgroup, setting: &Setting) -> Result<()> {
    let controller = setting.controller.as_ref();
    let key = if cgroup.is_v2() { UNIFIED } else { controller };
    let mut missing = None;
    if let Some(dir) = cgroup.path(key) {
        for choice in &setting.choices {
            match files::write(controller, dir, &choice.file, &choice.value) {
                Err(error) if error.errno() == Some(Errno::NOENT) => missing = Some(error),
                result => return result,
            }
        }
        if cgroup.is_v2() && !v2::has_controller(dir, controller) {
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
