//! Finding the criu program.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Where `scripts/get-criu` puts its own copy.
const PRIVATE: &str = "/opt/rt-criu/bin/criu";

/// The criu to use: the `explicit` path, else `variable` (the value of RT_CRIU), else the first `criu` in `path` (the
/// value of PATH), else the private copy in /opt/rt-criu.
///
/// A path that somebody named and that cannot be used is an error: another criu than the one asked for would be
/// worse. In PATH, relative entries are passed over, since the current directory is not to decide what runs as root.
///
/// criu runs with all our rights, so nobody else may be able to write to it or to exchange it: what PATH finds first is refused
/// then, rather than passed over.
pub fn find(explicit: Option<&Path>, variable: Option<&OsStr>, path: Option<&OsStr>) -> Result<PathBuf> {
    let named = explicit.or(variable.filter(|value| !value.is_empty()).map(Path::new));
    if let Some(named) = named {
        return match unusable(named) {
            None => trusted(named),
            Some(reason) => Err(Error::NotUsable { path: named.to_owned(), reason }),
        };
    }
    let in_path = path.map(std::env::split_paths).into_iter().flatten().map(|dir| dir.join("criu"));
    in_path
        .chain([PathBuf::from(PRIVATE)])
        .find(|candidate| unusable(candidate).is_none())
        .ok_or(Error::NotFound)
        .and_then(|found| trusted(&found))
}

/// Where criu finds a program that it starts, such as tar: it searches the PATH that it gets from us.
pub fn helper(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| crate::session::DEFAULT_PATH.into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| unusable(file).is_none())
}

/// `path` without links, so that it names what was looked at; if only root and we can change that.
fn trusted(path: &Path) -> Result<PathBuf> {
    let us = rustix::process::geteuid().as_raw();
    let refuse = |reason: String| Err(Error::NotUsable { path: path.to_owned(), reason });
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => return refuse(sys::strerror(error.raw_os_error().unwrap_or_default())),
    };
    for place in real.ancestors() {
        let shown = place.display();
        let meta = match std::fs::metadata(place) {
            Ok(meta) => meta,
            Err(error) => return refuse(sys::strerror(error.raw_os_error().unwrap_or_default())),
        };
        if ![0, us].contains(&meta.uid()) {
            return refuse(format!("{shown} belongs to user {}, not to root", meta.uid()));
        }
        // In a sticky directory only the owner of an entry can exchange it; a group that owns one is root's choice.
        let others = match (meta.is_dir(), meta.mode() & 0o1000 != 0) {
            (false, _) => 0o022,
            (true, false) => 0o002,
            (true, true) => 0,
        };
        if meta.mode() & others != 0 {
            return refuse(format!("{shown} can be written by others (mode {:o})", meta.mode() & 0o7777));
        }
    }
    Ok(real)
}

/// Why the file at `path` cannot be started.
fn unusable(path: &Path) -> Option<String> {
    if !path.is_absolute() {
        return Some("not an absolute path".into());
    }
    match std::fs::metadata(path) {
        Err(error) => Some(sys::strerror(error.raw_os_error().unwrap_or_default())),
        Ok(meta) if !meta.is_file() => Some("not a regular file".into()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("not executable".into()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn program(dir: &Path, mode: u32) -> PathBuf {
        let file = dir.join("criu");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn named_paths_win_and_must_work() {
        let dir = tempfile::tempdir().unwrap();
        let file = program(dir.path(), 0o755);
        assert_eq!(find(Some(&file), Some("/no".as_ref()), None).unwrap(), file);
        assert_eq!(find(None, Some(file.as_os_str()), Some("/usr/bin".as_ref())).unwrap(), file);
        let error = find(Some(Path::new("criu")), None, None).unwrap_err();
        assert_eq!(error.to_string(), "\"criu\" cannot be used as criu: not an absolute path");
        let error = find(None, Some("/no/criu".as_ref()), None).unwrap_err();
        assert_eq!(error.to_string(), "\"/no/criu\" cannot be used as criu: no such file or directory");
    }

    #[test]
    fn what_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = program(dir.path(), 0o777);
        let refused = |file: &Path| find(Some(file), None, None).unwrap_err().to_string();
        assert!(refused(&file).contains("can be written by others (mode 777)"), "{}", refused(&file));
        let path = std::env::join_paths([dir.path()]).unwrap();
        assert!(find(None, None, Some(&path)).unwrap_err().to_string().contains("written by others"));
        let file = program(dir.path(), 0o755);
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(refused(&file).contains("can be written by others (mode 777)"));
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        assert_eq!(find(Some(&file), None, None).unwrap(), file);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(1), None).unwrap();
            assert!(refused(&file).contains("belongs to user 1, not to root"));
        }
    }

    #[test]
    fn path_is_searched_in_order_and_what_cannot_run_is_passed_over() {
        let (plain, good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        program(plain.path(), 0o644);
        let file = program(good.path(), 0o755);
        let path = std::env::join_paths([Path::new("."), Path::new(""), plain.path(), good.path()]).unwrap();
        assert_eq!(find(None, Some("".as_ref()), Some(&path)).unwrap(), file);
    }
}
