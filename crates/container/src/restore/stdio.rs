//! A restored container's stdio: what it had from its caller comes from the new one.

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::{descriptors, files};
use crate::error::Result;
use criu::InheritFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The descriptors to hand to CRIU, each under the name that the images know it by.
#[derive(Debug)]
pub(super) struct Stdio {
    /// Where stdio led at the dump.
    links: [String; 3],
    given: Vec<(String, Given)>,
}

/// Where a descriptor comes from.
#[derive(Debug)]
enum Given {
    /// Our own stdin, stdout or stderr.
    Ours(usize),
    /// A file of the host, opened again.
    File(OwnedFd),
}

impl Stdio {
    /// Reads what the images say of stdio.
    pub(super) fn of_images(images: BorrowedFd<'_>, manifest: &Manifest) -> Result<Self> {
        let links = descriptors::read(images)?;
        let mut given: Vec<(String, Given)> = Vec::new();
        for (fd, link) in links.iter().enumerate() {
            let entry = match &manifest.stdio[fd] {
                Some(name) => (name.clone(), given_for(link, fd)?),
                // CRIU knows a pipe by its link text; anything else it can open by itself.
                None if link.starts_with("pipe:[") => (link.clone(), Given::Ours(fd)),
                None => continue,
            };
            // stdout and stderr may be one pipe; CRIU wants each name once.
            if given.iter().all(|(name, _)| *name != entry.0) {
                given.push(entry);
            }
        }
        Ok(Self { links, given })
    }

    /// Passes the descriptors to the criu that is about to start.
    pub(super) fn pass<'a>(&'a self, launch: &mut criu::Launch<'a>) -> Vec<InheritFd> {
        let pass = |(name, given): &'a (String, Given)| {
            let fd = match given {
                Given::Ours(fd) => ours(*fd),
                Given::File(file) => file.as_fd(),
            };
            InheritFd { key: name.clone(), fd: launch.pass(fd) }
        };
        self.given.iter().map(pass).collect()
    }

    /// Where stdio leads now, for the next checkpoint.
    pub(super) fn links(&self) -> [String; 3] {
        let ours = crate::ops::stdio_links("self");
        let mut now = self.links.clone();
        for (link, ours) in now.iter_mut().zip(ours) {
            let replaced =
                self.given.iter().any(|(name, given)| name == link && matches!(given, Given::Ours(_)));
            if replaced {
                *link = ours;
            }
        }
        now
    }
}

/// What stands for a file of the host: the file itself, or the caller's.
fn given_for(link: &str, fd: usize) -> Result<Given> {
    if let Some(file) = files::reopen(link, fd) {
        return Ok(Given::File(file));
    }
    files::check_substitute(link, fd, ours(fd))?;
    Ok(Given::Ours(fd))
}

fn ours(fd: usize) -> BorrowedFd<'static> {
    match fd {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}
