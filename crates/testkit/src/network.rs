//! Network namespaces that outlive a container.

use crate::{Cmd, Fallible};

/// A named network namespace with loopback up; removed when dropped.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
}

impl NetworkNamespace {
    /// Makes it; the name should hold the case's tag, as its ids do.
    ///
    /// # Errors
    /// When `ip netns` fails.
    pub fn create(name: &str) -> Fallible<Self> {
        Cmd::new("ip").args(["netns", "add", name]).succeeds()?;
        let namespace = Self { name: name.to_owned() };
        Cmd::new("ip").args(["-n", name, "link", "set", "lo", "up"]).succeeds()?;
        Ok(namespace)
    }

    /// The file that a bundle can name.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        let _ = Cmd::new("ip").args(["netns", "delete", &self.name]).output();
    }
}
