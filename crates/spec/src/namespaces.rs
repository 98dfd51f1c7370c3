//! Which namespaces a container gets, and which it joins.

use crate::oci::{LinuxNamespaceType, Spec};
use crate::{Error, Result};
use std::path::PathBuf;

/// A kind of namespace.
pub type Namespace = LinuxNamespaceType;

/// The namespaces of a container: each kind is new, joined by its path, or (when in neither list) the caller's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Made for this container.
    pub new: Vec<Namespace>,
    /// Joined; the paths are absolute.
    pub joined: Vec<(Namespace, PathBuf)>,
}

impl Namespaces {
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        let mut all = Self::default();
        let listed = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
        for (i, namespace) in listed.into_iter().flatten().enumerate() {
            let kind = namespace.typ();
            if all.is_new(kind) || all.path(kind).is_some() {
                return Err(Error::field(
                    format!("linux.namespaces[{i}]"),
                    format!("malformed spec file: duplicated {kind} namespace"),
                ));
            }
            match namespace.path() {
                None => all.new.push(kind),
                Some(path) if path.as_os_str().is_empty() => all.new.push(kind),
                Some(path) if path.is_absolute() => all.joined.push((kind, path.clone())),
                Some(path) => {
                    return Err(Error::field(
                        format!("linux.namespaces[{i}].path"),
                        format!("{} must be absolute", path.display()),
                    ));
                }
            }
        }
        Ok(all)
    }

    /// Whether the container gets a namespace of this kind for itself.
    pub fn is_new(&self, kind: Namespace) -> bool {
        self.new.contains(&kind)
    }

    /// The path of the namespace of this kind that the container joins.
    pub fn path(&self, kind: Namespace) -> Option<&PathBuf> {
        self.joined.iter().find(|(joined, _)| *joined == kind).map(|(_, path)| path)
    }

    /// Whether the container does not share the caller's namespace of this kind.
    pub fn is_private(&self, kind: Namespace) -> bool {
        self.is_new(kind) || self.path(kind).is_some()
    }
}
