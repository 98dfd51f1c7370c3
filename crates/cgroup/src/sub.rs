//! Cgroups below a container's own, which the container has made: where `exec --cgroup` puts a process.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::group::{Cgroup, UNIFIED};

impl Cgroup {
    /// The sub-cgroup that the arguments `[CONTROLLER[,CONTROLLER...]:]PATH` name, by runc's rules: one path for all
    /// hierarchies, or one for each controller named, the others staying as they are.
    ///
    /// # Errors
    /// [`Error::BadSubPath`] for an argument that cannot be understood or leads out of the container's cgroup.
    pub fn sub(&self, arguments: &[String]) -> Result<Self> {
        let mut paths = self.paths.clone();
        for (controller, sub) in parse(arguments)? {
            if controller == UNIFIED {
                paths.values_mut().for_each(|dir| *dir = join(dir, &sub));
            } else {
                let bad = || {
                    bad(
                        &format!("{controller}:{}", sub.display()),
                        "names an unknown controller on this machine",
                    )
                };
                let dir = paths.get_mut(&controller).ok_or_else(bad)?;
                *dir = join(dir, &sub);
            }
        }
        Ok(Self { paths, unit: self.unit.clone() })
    }
}

fn join(dir: &Path, sub: &Path) -> PathBuf {
    dir.join(sub).components().collect()
}

/// Controller (or the empty name for all) to path.
fn parse(arguments: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    for argument in arguments {
        let Some((controllers, path)) = argument.split_once(':') else {
            if arguments.len() > 1 {
                return Err(bad(argument, "lacks the prefix <controller>: that several need"));
            }
            return Ok([(UNIFIED.to_owned(), relative(argument, argument)?)].into());
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(bad(argument, "has an empty <controller> prefix"));
            }
            if paths.insert(controller.to_owned(), relative(argument, path)?).is_some() {
                return Err(bad(argument, "names a controller a second time"));
            }
        }
    }
    Ok(paths)
}

/// The path, counted from the container's cgroup whether it begins with a slash or not.
fn relative(argument: &str, path: &str) -> Result<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(bad(argument, "is not a sub cgroup path"));
    }
    Ok(path.to_owned())
}

fn bad(argument: &str, reason: &'static str) -> Error {
    Error::BadSubPath { argument: sys::one_line(argument), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(arguments: &[&str]) -> std::result::Result<String, String> {
        let paths = [("cpu", "/c/id"), ("memory", "/m/id"), ("", "/u/id")]
            .map(|(controller, dir)| (controller.to_owned(), dir.into()));
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let cgroup = Cgroup { paths: paths.into(), unit: None }.sub(&arguments).map_err(|e| e.to_string())?;
        let dirs: Vec<_> = cgroup.paths().map(|(_, dir)| dir.display().to_string()).collect();
        Ok(dirs.join(" "))
    }

    #[test]
    fn one_path_for_all_or_one_for_each() {
        assert_eq!(sub(&[]).unwrap(), "/u/id /c/id /m/id");
        assert_eq!(sub(&["a/b"]).unwrap(), "/u/id/a/b /c/id/a/b /m/id/a/b");
        assert_eq!(sub(&["/"]).unwrap(), "/u/id /c/id /m/id");
        assert_eq!(sub(&["cpu:a", "memory:/b"]).unwrap(), "/u/id /c/id/a /m/id/b");
        assert_eq!(sub(&["cpu,memory:a"]).unwrap(), "/u/id /c/id/a /m/id/a");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (arguments, word) in [
            (&["../x"][..], "not a sub cgroup path"),
            (&["cpu:a/../../x"], "not a sub cgroup path"),
            (&["a", "b"], "lacks the prefix"),
            (&[":a"], "empty <controller>"),
            (&["cpu,:a"], "empty <controller>"),
            (&["cpu:a", "cpu:b"], "a second time"),
            (&["io:a"], "unknown controller"),
        ] {
            assert!(sub(arguments).is_err_and(|e| e.contains(word)), "{arguments:?}");
        }
    }
}
