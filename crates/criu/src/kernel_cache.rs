//! Where CRIU keeps what it has learned of the kernel.
//!
//! At each start CRIU tries out what the kernel can do, for 30 to 60 ms, unless `/run/criu.kdat` tells. It writes that file
//! only to a tmpfs, since another kernel may run after the next boot. In containers, on build machines and in small images
//! /run is a directory of the disk, so there CRIU learns anew each time. But [`KEPT`] is in memory there as well: in
//! a mount namespace of its own criu sees that directory as its /run, with all that /run holds.

use std::fs::FileType;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sys::mount::{self, Depth};
use sys::path::TMPFS_MAGIC;
use sys::view::MountView;
use sys::{Context, Result};

/// The directory that CRIU has compiled in.
const RUN: &str = "/run";
/// What stands in for it where it is not in memory. Only root may own it, since criu believes what it reads there.
const KEPT: &str = "/dev/shm/rt-criu";
/// Nobody else may write there or look around, but the root of a user namespace must get through to what a restore has made for him.
const MODE: u32 = 0o711;
/// The names that begin so are CRIU's, and are the ones that are not to be /run's.
const CACHE: &str = "criu.kdat";
/// A directory with more entries is no empty image's /run; then probing costs less than hiding it.
const MOST: usize = 200;

/// A mount namespace in which CRIU can keep its knowledge, where it cannot in ours. Only for a criu whose tasks have mount
/// namespaces of their own: it would take the others for strangers.
pub fn view() -> Option<MountView> {
    if !is_lost() {
        return None;
    }
    let view = MountView::private().and_then(|view| fill(&view).map(|()| view));
    view.inspect_err(|e| ::log::debug!("criu probes the kernel anew: {e}")).ok()
}

/// Where CRIU keeps its knowledge; None where it cannot.
pub fn kept_in() -> Option<&'static str> {
    if is_lost() { open_kept().is_ok().then_some(KEPT) } else { Some(RUN) }
}

/// The same in a view that is there already. Where it fails criu only takes longer.
pub fn lend(view: &MountView) {
    if is_lost()
        && let Err(e) = fill(view)
    {
        ::log::debug!("criu probes the kernel anew: {e}");
    }
}

fn is_lost() -> bool {
    rustix::process::geteuid().is_root() && fs::statfs(RUN).is_ok_and(|run| run.f_type != TMPFS_MAGIC)
}

/// Puts [`KEPT`] over /run, and on it everything that is in /run.
fn fill(view: &MountView) -> Result<()> {
    let kept = open_kept()?;
    let held = entries()?.into_iter().map(|(name, kind)| Held::take(name, kind, &kept));
    let held: Vec<Held> = held.collect::<Result<_>>()?;
    view.bind(Path::new(KEPT), Path::new(RUN))?;
    let filled = open_dir(RUN).and_then(|run| held.iter().try_for_each(|held| held.put(&run)));
    // Half of /run would be worse than a slow start.
    filled.or_else(|e| mount::detach(Path::new(RUN)).and(Err(e)))
}

/// An entry of /run.
struct Held {
    name: String,
    mount: OwnedFd,
}

impl Held {
    /// Takes hold of the entry, and makes a place of its kind for it.
    fn take(name: String, kind: FileType, kept: &OwnedFd) -> Result<Self> {
        let mount = mount::clone_tree_at(&Path::new(RUN).join(&name), Depth::Tree)?;
        place(kept, &name, kind.is_dir())?;
        Ok(Self { name, mount })
    }

    fn put(&self, run: &OwnedFd) -> Result<()> {
        mount::move_mount_at(&self.mount, run, &self.name)
    }
}

/// What /run holds but CRIU's own files. Symbolic links are followed, as whoever looks there would.
fn entries() -> Result<Vec<(String, FileType)>> {
    let read = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(RUN).map_err(read).call("readdir", || format!("{RUN:?}"))? {
        let entry = entry.map_err(read).call("readdir", || format!("{RUN:?}"))?;
        let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), std::fs::metadata(entry.path())) else {
            continue;
        };
        if !name.starts_with(CACHE) {
            found.push((name, meta.file_type()));
        }
    }
    if found.len() > MOST { Err(Errno::TOOBIG).call("readdir", || format!("{RUN:?}")) } else { Ok(found) }
}

/// A directory or file on which something of that kind can be mounted; one of the other kind is from earlier, and goes.
fn place(kept: &OwnedFd, name: &str, is_dir: bool) -> Result<()> {
    let make = || match is_dir {
        true => fs::mkdirat(kept, name, Mode::RWXU),
        false => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            fs::openat(kept, name, flags, Mode::RUSR).map(drop)
        }
    };
    let is_there = || {
        let stat = fs::statat(kept, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| {
            (fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Directory) == is_dir
        })
    };
    let again = |flags| fs::unlinkat(kept, name, flags).and_then(|()| make());
    match make() {
        Err(Errno::EXIST) if is_there() => Ok(()),
        Err(Errno::EXIST) => again(if is_dir { AtFlags::empty() } else { AtFlags::REMOVEDIR }),
        made => made,
    }
    .call("create", || format!("{KEPT}/{name}"))
}

/// Opens the directory in memory, which must be ours alone.
fn open_kept() -> Result<OwnedFd> {
    match fs::mkdir(KEPT, Mode::from_raw_mode(MODE)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).call("mkdir", || format!("{KEPT:?}")),
    }
    let dir = open_dir(KEPT)?;
    let stat = fs::fstat(&dir).call("fstat", || format!("{KEPT:?}"))?;
    let is_ours = stat.st_uid == 0 && stat.st_mode & 0o022 == 0;
    let is_in_memory = fs::fstatfs(&dir).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC);
    if !(is_ours && is_in_memory) {
        return Err(Errno::PERM).call("open", || format!("{KEPT:?}"));
    }
    if stat.st_mode & 0o777 != MODE {
        fs::fchmod(&dir, Mode::from_raw_mode(MODE)).call("fchmod", || format!("{KEPT:?}"))?;
    }
    Ok(dir)
}

fn open_dir(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).call("open", || format!("{path:?}"))
}
