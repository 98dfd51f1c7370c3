//! What a restored container had from its caller comes from the new one: stdio, and descriptors that were passed.

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::{descriptors, files};
use crate::error::Result;
use criu::InheritFd;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The descriptors to hand to CRIU, each under the name that the images know it by.
#[derive(Debug)]
pub(super) struct Stdio<'a> {
    /// Those from 3 on that the caller passes.
    passed: &'a [Option<OwnedFd>],
    /// Where all of them led at the dump, and which of those below stands for it now.
    links: Vec<(String, Option<usize>)>,
    given: Vec<(String, Given)>,
}

/// Where a descriptor comes from.
#[derive(Debug)]
enum Given {
    /// The caller's of that number.
    Ours(usize),
    /// A file of the host, opened again.
    File(OwnedFd),
}

impl<'a> Stdio<'a> {
    /// Reads what the images say of it.
    pub(super) fn of_images(
        images: BorrowedFd<'_>,
        manifest: &Manifest,
        passed: &'a [Option<OwnedFd>],
    ) -> Result<Self> {
        let mut stdio = Self { passed, links: Vec::new(), given: Vec::new() };
        for (fd, (link, name)) in descriptors::read(images)?.into_iter().zip(&manifest.stdio).enumerate() {
            stdio.take(link, name.as_deref(), files::access_of_stdio(fd))?;
        }
        for one in &manifest.passed {
            stdio.take(one.link.clone(), one.name.as_deref(), files::access(one.flags))?;
        }
        Ok(stdio)
    }

    /// Finds what stands for the next descriptor, which led to `link` and is called `name` if it is the host's.
    fn take(&mut self, link: String, name: Option<&str>, access: OFlags) -> Result<()> {
        let number = self.links.len();
        let ours = || self.ours(number).map(|_| Given::Ours(number));
        let (key, given) = match name {
            // CRIU knows a pipe or a socket by its link text; anything else it can open by itself.
            None if !link.starts_with("pipe:[") => (link.clone(), None),
            None => (link.clone(), ours()),
            Some(name) if name.starts_with(files::UNIX) => (link.clone(), ours()),
            Some(name) if name.starts_with(files::TERMINAL) => {
                files::require_terminal(&link, number, self.ours(number))?;
                (name.to_owned(), ours())
            }
            Some(name) => (name.to_owned(), Some(self.file(&link, number, access)?)),
        };
        // stdout and stderr may be one pipe; CRIU wants each name once.
        let known = self.given.iter().position(|(name, _)| *name == key);
        let place = known.or_else(|| {
            self.given.push((key, given?));
            Some(self.given.len() - 1)
        });
        self.links.push((link, place));
        Ok(())
    }

    /// What stands for a file of the host: the file itself, or the caller's.
    fn file(&self, link: &str, number: usize, access: OFlags) -> Result<Given> {
        if let Some(file) = files::reopen(link, access) {
            return Ok(Given::File(file));
        }
        files::check_substitute(link, number, self.ours(number))?;
        Ok(Given::Ours(number))
    }

    /// The caller's descriptor of that number.
    fn ours(&self, number: usize) -> Option<BorrowedFd<'a>> {
        match number {
            0 => Some(rustix::stdio::stdin()),
            1 => Some(rustix::stdio::stdout()),
            2 => Some(rustix::stdio::stderr()),
            _ => self.passed.get(number - 3)?.as_ref().map(AsFd::as_fd),
        }
    }

    /// Passes the descriptors to the criu that is about to start.
    pub(super) fn pass<'b>(&'b self, launch: &mut criu::Launch<'b>) -> Vec<InheritFd> {
        let descriptor = |given: &'b Given| match given {
            Given::Ours(number) => self.ours(*number),
            Given::File(file) => Some(file.as_fd()),
        };
        let all = self.given.iter().filter_map(|(name, given)| Some((name, descriptor(given)?)));
        all.map(|(name, fd)| InheritFd { key: name.clone(), fd: launch.pass(fd) }).collect()
    }

    /// Where they lead now, for the next checkpoint: stdio, and the rest.
    pub(super) fn links(self) -> ([String; 3], Vec<String>) {
        let now = |(link, place): &(String, Option<usize>)| match place.map(|place| &self.given[place].1) {
            Some(Given::Ours(number)) => self
                .ours(*number)
                .map_or_else(String::new, |fd| crate::ops::fd_link("self", fd.as_raw_fd().unsigned_abs())),
            _ => link.clone(),
        };
        let mut links = self.links.iter().map(now);
        let stdio = std::array::from_fn(|_| links.next().unwrap_or_default());
        (stdio, links.collect())
    }
}
