//! The configuration file of CRIU's that a container's administrator may name.

use crate::error::{Error, Result, Step};
use spec::Config;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// runc's annotation for it; the empty text is for none at all.
const ANNOTATION: &str = "org.criu.config";
/// What is used where there is no annotation: our own, or runc's, which people have already.
const DEFAULTS: [&str; 2] = ["/etc/criu/rt.conf", "/etc/criu/runc.conf"];

/// The file that CRIU is to read after the request, so that it wins: the caller's, or the container's, or the machine's. CRIU runs as root and does what it says, so it must be as hard
/// to change as the programs that root runs.
pub(crate) fn file(named: Option<&Path>, config: &Config) -> Result<Option<String>> {
    if let Some(named) = named {
        let step = || format!("--criu-config {}", named.display());
        let path = std::path::absolute(named).step(step)?;
        return check(&path.display().to_string(), "--criu-config: ").map(Some);
    }
    match config.annotation(ANNOTATION) {
        Some("") => Ok(None),
        Some(path) => check(path, &format!("annotations[{ANNOTATION:?}]: ")).map(Some),
        None => default_file(),
    }
}

/// The one for all containers.
pub(crate) fn default_file() -> Result<Option<String>> {
    DEFAULTS.into_iter().find(|path| Path::new(path).exists()).map(|path| check(path, "")).transpose()
}

fn check(path: &str, place: &str) -> Result<String> {
    let refused =
        |problem: &str| Error::Request(format!("{place}CRIU's configuration file {path}: {problem}"));
    if !Path::new(path).is_absolute() {
        return Err(refused("must be an absolute path"));
    }
    let meta =
        std::fs::metadata(path).map_err(|e| refused(&sys::strerror(e.raw_os_error().unwrap_or_default())))?;
    if !meta.is_file() {
        return Err(refused("is no file"));
    }
    if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(refused("must belong to root, and nobody else may write to it"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_roots_own_absolute_file_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("criu.conf");
        let text = path.to_str().unwrap();
        let error = |path: &str| check(path, "").unwrap_err().to_string();
        assert!(error("criu.conf").contains("absolute"));
        assert!(error(text).contains("no such file"));
        assert!(error("/etc").contains("no file"));
        std::fs::write(&path, "").unwrap();
        let is_root = std::fs::metadata(&path).unwrap().uid() == 0;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(error(text).contains("nobody else"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(check(text, "").is_ok(), is_root);
    }
}
