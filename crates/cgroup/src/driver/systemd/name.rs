//! What a container's unit is called, and where systemd makes its cgroup: pure.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const SLICE: &str = ".slice";
/// The longest name of a unit (systemd.unit(5)).
const LONGEST: usize = 255;

/// A container's unit by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// `PREFIX-NAME.scope`; or a slice, if that is what it is to be.
    pub(super) unit: String,
    /// The slice that it is in.
    pub(super) slice: String,
}

impl Name {
    /// `linux.cgroupsPath` as `SLICE:PREFIX:NAME`, with runc's rules: a name that ends in `.slice` is that of a slice, and an empty
    /// first part is `default_slice`. Without a path it is a scope for `id`.
    pub(super) fn parse(cgroups_path: Option<&Path>, id: &str, default_slice: &str) -> Result<Self> {
        let given = cgroups_path.map(Path::to_string_lossy).unwrap_or_default();
        let (slice, prefix, name) = match given.split(':').collect::<Vec<_>>().as_slice() {
            [""] => ("", "rt", id),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => return Err(Error::UnitPath(given.into_owned())),
        };
        let unit = if is_slice(name) { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        let slice = if slice.is_empty() { default_slice } else { slice };
        expand(slice)?;
        if unit.len() > LONGEST || !unit.chars().all(is_allowed) {
            return Err(Error::UnitName(unit));
        }
        if is_slice(&unit) {
            expand(&unit)?;
        }
        Ok(Self { unit, slice: slice.to_owned() })
    }

    /// The unit's cgroup, counted from the manager's own.
    pub(super) fn cgroup(&self) -> Result<PathBuf> {
        if is_slice(&self.unit) { expand(&self.unit) } else { Ok(expand(&self.slice)?.join(&self.unit)) }
    }
}

pub(super) fn is_slice(unit: &str) -> bool {
    unit.ends_with(SLICE)
}

/// The characters of a unit's name (systemd.unit(5)), which no path can be made of.
fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || ":-_.\\@".contains(character)
}

/// The cgroup of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)), and `-.slice` is all the others are in.
fn expand(slice: &str) -> Result<PathBuf> {
    let invalid = || Error::SliceName(slice.to_owned());
    let name = slice.strip_suffix(SLICE).ok_or_else(invalid)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let parts: Vec<_> = name.split('-').collect();
    if slice.len() > LONGEST || parts.iter().any(|part| part.is_empty()) || !name.chars().all(is_allowed) {
        return Err(invalid());
    }
    Ok((1..=parts.len()).map(|count| format!("{}{SLICE}", parts[..count].join("-"))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(path: &str) -> std::result::Result<String, String> {
        let name = Name::parse(Some(Path::new(path)), "c1", "system.slice").map_err(|e| e.to_string())?;
        Ok(format!("{} in {}: {}", name.unit, name.slice, name.cgroup().unwrap().display()))
    }

    #[test]
    fn the_three_parts_are_a_slice_a_prefix_and_a_name() {
        for (path, expected) in [
            ("", "rt-c1.scope in system.slice: system.slice/rt-c1.scope"),
            (
                "machine.slice:libpod:1234",
                "libpod-1234.scope in machine.slice: machine.slice/libpod-1234.scope",
            ),
            (":docker:1", "docker-1.scope in system.slice: system.slice/docker-1.scope"),
            ("-.slice:a:b", "a-b.scope in -.slice: a-b.scope"),
            ("a.slice::b", "-b.scope in a.slice: a.slice/-b.scope"),
            (
                "kube-pods-pod1.slice:cri:x",
                "cri-x.scope in kube-pods-pod1.slice: kube.slice/kube-pods.slice/kube-pods-pod1.slice/cri-x.scope",
            ),
            ("a.slice:p:a-b.slice", "a-b.slice in a.slice: a.slice/a-b.slice"),
            ("x.slice:p:a\\x2db@1", "p-a\\x2db@1.scope in x.slice: x.slice/p-a\\x2db@1.scope"),
        ] {
            assert_eq!(named(path).unwrap(), expected);
        }
        let rootless = Name::parse(None, "c1", "user.slice").unwrap();
        assert_eq!((rootless.slice.as_str(), rootless.unit.as_str()), ("user.slice", "rt-c1.scope"));
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        let form = r#"expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead"#;
        assert_eq!(named("/a/b").unwrap_err(), form);
        for (path, reason) in [
            ("a.slice:b", "expected cgroupsPath"),
            ("a:b:c:d", "expected cgroupsPath"),
            ("a:b:c", "invalid slice name: a"),
            (".slice:b:c", "invalid slice name: .slice"),
            ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
            ("-a.slice:b:c", "invalid slice name: -a.slice"),
            ("a/b.slice:b:c", "invalid slice name: a/b.slice"),
            ("a.slice:b:-.slice/..", "invalid unit name"),
            ("a.slice:b:../../c", "invalid unit name"),
            ("a.slice:b:a--b.slice", "invalid slice name: a--b.slice"),
            ("a.slice:b:c d", "invalid unit name"),
        ] {
            let error = named(path).unwrap_err();
            assert!(error.contains(reason), "{path}: {error}");
        }
        assert!(named(&format!("a.slice:b:{}", "x".repeat(250))).unwrap_err().contains("invalid unit name"));
    }
}
