//! Paths of a container, resolved once, inside its root, into a descriptor.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::{Context, Error, Result};

/// How often an in-root lookup is repeated when the tree changes under it. The kernel answers `EAGAIN` when it cannot
/// rule out that `..` escaped during a rename (`openat2(2)`, `RESOLVE_IN_ROOT`).
const MAX_RACES: u32 = 128;

/// How many symbolic links a path may go through: the kernel's own limit (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// A directory that paths cannot leave.
///
/// A container's files are hostile: any component may be a symbolic link to the host, and may be exchanged for one
/// while we look (CVE-2021-30465, CVE-2024-45310). So a path is given to the kernel exactly once, with
/// `RESOLVE_IN_ROOT`: absolute links and `..` stay below this directory. The answer is a descriptor, and
/// everything else happens on that. Where files must be created the walk is done here, one component after the other,
/// each opened relative to the descriptor before it and never through a link.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl From<OwnedFd> for Root {
    /// Takes a descriptor of a directory; `O_PATH` is enough.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What [`Root::make_dir`] and [`Root::make_file`] make of the last component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Directory,
    File,
}

impl Root {
    /// The directory at `path` of the host.
    pub fn at(path: &Path) -> Result<Self> {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call("open", || format!("{path:?}"))
            .map(Self::from)
    }

    /// A descriptor (`O_PATH`) of what `path` leads to inside this root.
    pub fn open(&self, path: &Path) -> Result<OwnedFd> {
        self.open_with(path, ResolveFlags::empty())
    }

    /// As [`open`](Self::open), but no component of `path` may be a symbolic link: `ELOOP` then.
    pub fn open_no_links(&self, path: &Path) -> Result<OwnedFd> {
        // Without O_NOFOLLOW: with it a link at the end would be no error, but the answer (`openat2(2)`).
        self.open_with(path, ResolveFlags::NO_SYMLINKS)
    }

    fn open_with(&self, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut races = 0;
        let fd = loop {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
                other => break other,
            }
        };
        fd.call("openat2", || format!("{path:?} in the root"))
    }

    /// The directory at `path`, made with all its parents (mode 0755 before the umask) where it is missing.
    pub fn mkdir_all(&self, path: &Path) -> Result<OwnedFd> {
        match self.open(path) {
            Err(error) if error.is(libc::ENOENT) => self.make_dir(path),
            found => found,
        }
    }

    /// What [`mkdir_all`](Self::mkdir_all) does, for a caller that has just found nothing at `path`.
    ///
    /// A link that leads to nothing is followed, in this root, and what it names is made.
    pub fn make_dir(&self, path: &Path) -> Result<OwnedFd> {
        self.make(path, Last::Directory)
    }

    /// A new empty file (mode 0644 before the umask), its parents made as by [`make_dir`](Self::make_dir); what somebody
    /// else has made there meanwhile is as good. For a mount to lie on.
    pub fn make_file(&self, path: &Path) -> Result<OwnedFd> {
        self.make(path, Last::File)
    }

    fn make(&self, path: &Path, last: Last) -> Result<OwnedFd> {
        match self.make_last(path, last) {
            Some(made) => Ok(made),
            None => Ok(Walk::new(self, path, Some(last))?.run()?.0),
        }
    }

    /// The usual case in three calls: only the last component is missing. `None`: the [`Walk`] has to find out.
    fn make_last(&self, path: &Path, last: Last) -> Option<OwnedFd> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let parent = self.open(parent).ok()?;
        make_entry(&parent, name, last).ok()?;
        // O_DIRECTORY also refuses a link that somebody has put in place of the directory.
        let kind = if last == Last::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        let made = rustix::fs::openat(&parent, name, flags, Mode::empty()).ok()?;
        (last == Last::Directory || is_regular(&made)).then_some(made)
    }

    /// What `path` leads to, and its name in this root without links and dots: the one that mountinfo shows.
    pub fn resolve(&self, path: &Path) -> Result<(OwnedFd, PathBuf)> {
        match self.open_no_links(path) {
            Ok(fd) => Ok((fd, clean(path))),
            Err(error) if error.is(libc::ELOOP) => Walk::new(self, path, None)?.run(),
            Err(error) => Err(error),
        }
    }
}

/// A path resolved by hand: what the kernel does for `RESOLVE_IN_ROOT`, but it can create, and it knows the name.
struct Walk<'a> {
    root: &'a Root,
    /// Where we are, free of links, absolute in the root.
    here: PathBuf,
    fd: OwnedFd,
    /// What is left to do.
    rest: VecDeque<OsString>,
    links: u32,
    create: Option<Last>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, path: &Path, create: Option<Last>) -> Result<Self> {
        let fd = root.open(Path::new("/"))?;
        Ok(Self { root, here: PathBuf::from("/"), fd, rest: steps(path), links: 0, create })
    }

    fn run(mut self) -> Result<(OwnedFd, PathBuf)> {
        while let Some(name) = self.rest.pop_front() {
            if name == ".." {
                self.here.pop();
                self.fd = self.root.open_no_links(&self.here)?;
            } else {
                self.step(&name)?;
            }
        }
        Ok((self.fd, self.here))
    }

    fn step(&mut self, name: &OsStr) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |fd: &OwnedFd| rustix::fs::openat(fd, name, flags, Mode::empty());
        let next = match (open(&self.fd), self.create) {
            (Err(Errno::NOENT), Some(last)) => {
                self.make(name, last)?;
                open(&self.fd)
            }
            (other, _) => other,
        };
        let next = next.call("openat", || format!("{:?} in the root", self.here.join(name)))?;
        let kind = FileType::from_raw_mode(stat(&next)?.st_mode);
        if kind == FileType::Symlink {
            return self.follow(name, &next);
        }
        if kind != FileType::Directory && !self.rest.is_empty() {
            let name = format!("{:?} in the root", self.here.join(name));
            return Err(Error::new("openat", name, libc::ENOTDIR));
        }
        self.here.push(name);
        self.fd = next;
        Ok(())
    }

    /// Makes one entry. That somebody was faster is no error: it is then opened like any other, without a link.
    fn make(&self, name: &OsStr, last: Last) -> Result<()> {
        let last = if self.rest.is_empty() { last } else { Last::Directory };
        match make_entry(&self.fd, name, last) {
            Err(Errno::EXIST) => Ok(()),
            other => other.call(last.call(), || format!("{:?} in the root", self.here.join(name))),
        }
    }

    fn follow(&mut self, name: &OsStr, link: &OwnedFd) -> Result<()> {
        self.links += 1;
        let shown = || format!("{:?} in the root", self.here.join(name));
        if self.links > MAX_LINKS {
            return Err(Error::new("readlinkat", shown(), libc::ELOOP));
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new()).call("readlinkat", shown)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.here = PathBuf::from("/");
            self.fd = self.root.open(Path::new("/"))?;
        }
        for name in steps(&target).into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }
}

impl Last {
    fn call(self) -> &'static str {
        match self {
            Self::Directory => "mkdirat",
            Self::File => "openat",
        }
    }
}

fn make_entry(dir: &OwnedFd, name: &OsStr, last: Last) -> rustix::io::Result<()> {
    match last {
        Last::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Last::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

/// The components of a path that mean a step: names and `..`.
fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(step).collect()
}

/// `path` as an absolute path without `.`, `..` and doubled slashes, by its text alone; `..` stops at the root.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

fn stat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).call("fstatat", String::new)
}

/// Whether the descriptor is of a directory.
pub fn is_dir(fd: impl AsFd) -> Result<bool> {
    Ok(FileType::from_raw_mode(stat(fd)?.st_mode) == FileType::Directory)
}

fn is_regular(fd: impl AsFd) -> bool {
    stat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// The permission bits (07777) of what the descriptor refers to.
pub fn permissions(fd: impl AsFd) -> Result<u32> {
    Ok(stat(fd)?.st_mode & 0o7777)
}

/// Whether the descriptor is of the character device `major:minor`, whatever its name claims (CVE-2025-31133).
pub fn is_char_device(fd: impl AsFd, major: u32, minor: u32) -> Result<bool> {
    let stat = stat(fd)?;
    let is_char = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(is_char && stat.st_rdev == rustix::fs::makedev(major, minor))
}

/// The magic number of procfs in `statfs(2)`.
pub const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What [`fs_magic`] gives for a tmpfs (statfs(2)).
pub const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The magic number of the filesystem that the descriptor is on (`statfs(2)`).
pub fn fs_magic(fd: impl AsFd) -> Result<i64> {
    Ok(rustix::fs::fstatfs(fd).call("fstatfs", String::new)?.f_type)
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
