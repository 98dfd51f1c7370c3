//! Loading a bundle's config.json.

use crate::{
    Error, MemoryPolicy, Namespaces, Process, Result, Seccomp, lenient, oci, one_line, scheduling, validate,
};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// crun's word, and podman's (`--group-add keep-groups`), for a container whose processes keep the groups of its caller: what these
/// may read of the host, they may.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// A config.json that passed the checks, with the bytes it was read from.
///
/// The bytes are kept since the state store saves them as they are: what a later command reads is what this one checked,
/// whatever happened to the bundle in between, and unknown fields survive.
#[derive(Clone, Debug)]
pub struct Config {
    /// The document.
    pub oci: oci::Spec,
    /// Its text.
    pub bytes: Vec<u8>,
    unknown_capabilities: Vec<String>,
}

impl Config {
    /// Parses and checks a config.json. `file` names it in errors.
    pub fn parse(bytes: Vec<u8>, file: &str) -> Result<Self> {
        let (oci, unknown_capabilities) = from_json(&bytes, file)?;
        validate::check(&oci)?;
        Ok(Self { oci, bytes, unknown_capabilities })
    }

    /// Reads, parses and checks the config.json at `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::File {
            path: path.display().to_string(),
            reason: text(&e),
            hint: if e.kind() == std::io::ErrorKind::NotFound { " (`rt spec` writes one)" } else { "" },
        })?;
        Self::parse(bytes, &path.display().to_string())
    }

    /// The process to run, its values resolved.
    pub fn process(&self) -> Result<Process> {
        match self.oci.process() {
            Some(process) => {
                let unknown_capabilities = self.unknown_capabilities.clone();
                let mut process = Process { unknown_capabilities, ..Process::of(process)? };
                process.user.keeps_groups = self.annotation(KEEP_GROUPS).is_some_and(|value| value != "0");
                Ok(process)
            }
            None => Err(Error::field("process", "is missing")),
        }
    }

    /// The namespaces, new and joined.
    pub fn namespaces(&self) -> Result<Namespaces> {
        Namespaces::of(&self.oci)
    }

    /// The `linux` object, if there is one.
    pub fn linux(&self) -> Option<&oci::Linux> {
        self.oci.linux().as_ref()
    }

    /// The seccomp profile, if there is one.
    pub fn seccomp(&self) -> Result<Option<Seccomp<'_>>> {
        self.linux().and_then(|linux| linux.seccomp().as_ref()).map(Seccomp::of).transpose()
    }

    /// Its share of caches and of memory bandwidth.
    pub fn intel_rdt(&self) -> Option<&oci::LinuxIntelRdt> {
        self.linux().and_then(|linux| linux.intel_rdt().as_ref())
    }

    /// Which memory nodes its processes use.
    pub fn memory_policy(&self) -> Result<Option<MemoryPolicy>> {
        self.linux().and_then(|l| l.memory_policy().as_ref()).map(MemoryPolicy::of).transpose()
    }

    /// The execution domain of its processes, as personality(2) takes it.
    pub fn personality(&self) -> Option<u32> {
        self.linux().and_then(|l| l.personality().as_ref()).map(scheduling::personality)
    }

    /// What is asked for besides its execution domain: the specification defines no such flag.
    pub fn personality_flags(&self) -> &[String] {
        let personality = self.linux().and_then(|l| l.personality().as_ref());
        personality.and_then(|p| p.flags().as_deref()).unwrap_or_default()
    }

    /// The annotations, if there are any.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.oci.annotations().as_ref()?.get(key).map(String::as_str)
    }
}

/// A bundle: a directory with a checked config.json and a root file system.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The bundle's directory; absolute.
    pub dir: PathBuf,
    /// The root file system; absolute, and a directory when it was loaded.
    pub rootfs: PathBuf,
    /// The checked config.json.
    pub config: Config,
}

impl Bundle {
    /// Loads the bundle in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let file_error = |path: &Path, e: &std::io::Error| Error::File {
            path: path.display().to_string(),
            reason: text(e),
            hint: "",
        };
        let dir = dir.canonicalize().map_err(|e| file_error(dir, &e))?;
        let config = Config::load(&dir.join("config.json"))?;
        let Some(root) = config.oci.root() else {
            return Err(Error::field("root", "is missing"));
        };
        if root.path().as_os_str().is_empty() {
            return Err(Error::field("root.path", "is empty"));
        }
        let rootfs = dir.join(root.path());
        let rootfs = rootfs
            .canonicalize()
            .map_err(|e| Error::field("root.path", format!("{}: {}", rootfs.display(), text(&e))))?;
        if !rootfs.is_dir() {
            return Err(Error::field("root.path", format!("{}: not a directory", rootfs.display())));
        }
        Ok(Self { dir, rootfs, config })
    }
}

/// Parses JSON so that an error names the field by its path. `file` names the text. Returns with it the names of capabilities
/// that it asks for and that are unknown.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8], file: &str) -> Result<(T, Vec<String>)> {
    match first_value(bytes) {
        Ok(parsed) => Ok((parsed, Vec::new())),
        Err(error) => once_more(bytes, &error).map_err(|(path, reason)| Error::Syntax {
            file: file.to_owned(),
            path: one_line(&path),
            reason: one_line(&reason),
        }),
    }
}

/// The value that a text begins with; what follows it is not looked at, as in Go.
fn first_value<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
}

/// A second try for what failed with `error`, made [lenient](lenient::relax). Its errors are a path and a reason; to know the path
/// takes longer than to parse, so the first try does not ask.
fn once_more<T: DeserializeOwned>(
    bytes: &[u8],
    error: &serde_json::Error,
) -> std::result::Result<(T, Vec<String>), (String, String)> {
    let mut document = first_value(bytes).map_err(|_| ("not valid JSON".to_owned(), error.to_string()))?;
    let unknown_capabilities = lenient::relax(&mut document);
    let parsed = serde_path_to_error::deserialize(document);
    parsed.map(|parsed| (parsed, unknown_capabilities)).map_err(|error: serde_path_to_error::Error<_>| {
        // The tracker has no name for what is no object at all.
        let path = match error.path().to_string() {
            path if matches!(path.as_str(), "." | "?") => "not valid JSON".to_owned(),
            path => path,
        };
        (path, error.inner().to_string())
    })
}

/// An I/O error's text as the other runtimes print it: lower case, no number.
fn text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Config::parse(json.into(), "config.json").unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_json_path() {
        let text = error(
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"user":{"uid":"zero","gid":0},"cwd":"/"}}"#,
        );
        assert!(text.starts_with("config.json: process.user.uid: invalid type"), "{text}");
        assert!(error("{").contains("EOF while parsing an object at line 1"), "{}", error("{"));
        assert!(
            error("nonsense").starts_with("config.json: not valid JSON: expected"),
            "{}",
            error("nonsense")
        );
        assert_eq!(
            error(r#"{"ociVersion":"2.0.0"}"#),
            "config.json: ociVersion: \"2.0.0\" is not supported (1.0.0 to 1.x are)"
        );
    }

    #[test]
    fn errors_are_one_line_whatever_the_document_says() {
        let text =
            error(r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"pid\nrt: done\u001b[2J"}]}}"#);
        assert!(text.contains("linux.namespaces[0].type: unknown variant `pid rt: done [2J`"), "{text}");
        let text = error(r#"{"ociVersion":"1.0.2","annotations":{"a\nb":1}}"#);
        assert!(text.starts_with("config.json: annotations.a b: invalid type"), "{text}");
    }

    #[test]
    fn a_missing_bundle_or_config_says_so() {
        let dir = std::env::temp_dir();
        let text = Bundle::load(&dir.join("no-such-bundle")).unwrap_err().to_string();
        assert!(text.ends_with("no-such-bundle: no such file or directory"), "{text}");
    }
}
