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
    let failed = |e: std::io::Error| refused(&sys::strerror(e.raw_os_error().unwrap_or_default()));
    // CRIU opens it by its name: one without links, which nobody but root can give to another file.
    let real = std::fs::canonicalize(path).map_err(failed)?;
    if !real.is_file() {
        return Err(refused("is no file"));
    }
    for part in real.ancestors() {
        let meta = std::fs::metadata(part).map_err(failed)?;
        // In a directory like /tmp nobody can rename what is another's (inode(7), the sticky bit).
        let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
        if meta.uid() == 0 && (meta.mode() & 0o022 == 0 || is_sticky) {
            continue;
        }
        let which = if part == real { String::new() } else { format!("{} ", part.display()) };
        return Err(refused(&format!("{which}must belong to root, and nobody else may write to it")));
    }
    real.into_os_string().into_string().map_err(|_| refused("its name is not UTF-8"))
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
        // A link leads to a name of its own; a directory that others may write to does not keep a name.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("criu.conf", &link).unwrap();
        let real = std::fs::canonicalize(&path).unwrap();
        assert_eq!(check(link.to_str().unwrap(), "").ok().map(Into::into), is_root.then_some(real));
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(error(text).contains(&format!("{} must belong to root", dir.path().display())));
    }
}
