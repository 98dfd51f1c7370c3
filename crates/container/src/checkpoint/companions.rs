//! The files that `rt` puts beside CRIU's images.

use super::descriptors;
use super::files::Found;
use super::images::Directories;
use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::init::lsm;
use rootfs::Hollow;
use std::os::fd::AsFd;
use std::path::Path;

/// What is known of them before the dump.
#[derive(Debug)]
pub(super) struct Companions<'a> {
    pub(super) dirs: &'a Directories,
    /// See [`Manifest::new_network`].
    pub(super) new_network: bool,
    /// See [`Manifest::notify`].
    pub(super) notify: bool,
    /// Where stdio led when the container was made.
    pub(super) stdio_links: &'a [String; 3],
    /// When it was made.
    pub(super) created: &'a str,
    /// Who besides root is to read the images.
    pub(super) owner: Option<u32>,
    /// Whether its program has an SELinux label.
    pub(super) is_labelled: bool,
    /// See [`super::Memory::sync`].
    pub(super) sync: bool,
    /// The CRIU that makes the dump, once it has said its version.
    pub(super) criu: Option<criu::Version>,
}

impl Companions<'_> {
    /// Writes them, with what was found while the container stood still. CRIU waits meanwhile and can still let the container go
    /// on, so a full disk loses nobody.
    pub(super) fn write(&self, found: &Found, hollow: &[Hollow]) -> Result<()> {
        let images = self.dirs.images().as_fd();
        if self.is_labelled
            && criu::images::security_module(images, Path::new("inventory.img"))? != Some("selinux")
        {
            return Err(Error::Request(lsm::NOT_DUMPED.into()));
        }
        let manifest = Manifest::new(found.clone(), self.new_network, hollow.to_vec(), self.notify);
        manifest.created(self.created).made_by(self.criu.as_ref()).write(images)?;
        descriptors::write(images, self.stdio_links)?;
        self.owner.map_or(Ok(()), |uid| self.dirs.share_with(uid))?;
        if self.sync { self.dirs.sync() } else { Ok(()) }
    }
}
