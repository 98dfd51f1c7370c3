//! This program, run from where nobody can write to it.
//!
//! CVE-2019-5736: a process of ours inside a container is an open door to our own binary (`/proc/PID/exe`), through which the
//! container could overwrite the program that the host runs as root next time. So every command that lets a process enter a
//! container first goes on from another place: the same file, seen through a read-only overlay that is mounted nowhere. An
//! overlay without an upper layer has nowhere to put a write, whatever becomes of its mount flags. Where that cannot be made
//! (no CAP_SYS_ADMIN, an old kernel) it is a copy in a memfd, sealed against writing, growing, shrinking and unsealing, which
//! costs some milliseconds more.
//!
//! The whole program moves, before it has done anything, rather than the child alone after the fork: then the child starts
//! with everything the parent has already checked and opened, and there is no second format to pass it through.

use crate::error::{Context, Error, Result};
use crate::mount::{FsContext, attr};
use crate::path::fs_magic;
use crate::process::exec_fd;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Tells the program that it runs from an overlay of our making: a machine's own overlay looks the same. Whoever starts `rt` sets
/// its environment, and has no need to lie to it.
const MARK: &str = "_RT_OVERLAY";

/// linux/magic.h
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// Goes on from a place that nobody can write to, with the same arguments and environment; returns when this already does.
pub fn enter() -> Result<()> {
    let exe = open_self()?;
    if is_sealed(&exe) {
        return Ok(());
    }
    let strings = |it: &mut dyn Iterator<Item = Vec<u8>>| -> Vec<CString> {
        it.filter_map(|s| CString::new(s).ok()).collect()
    };
    let args = strings(&mut std::env::args_os().map(OsStringExt::into_vec));
    let mut env =
        strings(&mut std::env::vars_os().map(|(k, v)| [k.into_vec(), b"=".to_vec(), v.into_vec()].concat()));
    let overlaid = std::fs::read_link("/proc/self/exe")
        .call("readlink", || "\"/proc/self/exe\"".into())
        .and_then(|path| through_overlay(&exe, &path));
    if let Ok(program) = overlaid {
        env.push(CString::new(format!("{MARK}=1")).unwrap_or_default());
        exec_fd(program.as_fd(), &args, &env);
        env.pop();
    }
    Err(exec_fd(sealed_copy(&exe)?.as_fd(), &args, &env))
}

/// Another program, opened so that who executes it lets nobody write to it. None for what is no ELF file, such as a script: it
/// is not what /proc/PID/exe leads to.
pub fn program(path: &Path) -> Result<Option<OwnedFd>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let file = file.call("open", || format!("{path:?}"))?;
    let mut magic = [0; 4];
    let length = rustix::io::pread(&file, &mut magic, 0).call("pread", || format!("{path:?}"))?;
    if &magic[..length] != b"\x7fELF" {
        return Ok(None);
    }
    through_overlay(&file, path).or_else(|_| sealed_copy(&file)).map(Some)
}

/// The file `exe`, which is at `path`, opened through a detached overlay of its directory.
fn through_overlay(exe: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let (Some(dir), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
        return Err(Error::new("overlay", format!("{path:?}"), libc::EINVAL));
    };
    // A layer's path is a list element: what would end it cannot be told apart from a part of it.
    if dir.contains([':', ',', '\\']) {
        return Err(Error::new("overlay", format!("{dir:?}"), libc::EINVAL));
    }
    let overlay = FsContext::open("overlay")?;
    // Without an upper layer there must be two lower ones; the second adds nothing.
    overlay.set_string("lowerdir", &format!("{dir}:/dev"))?;
    let mount = overlay.mount(attr::RDONLY | attr::NODEV | attr::NOSUID)?;
    let program =
        rustix::fs::openat(&mount, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .call("openat", || format!("overlay, {name:?}"))?;
    let (ours, its) = (size_of_file(exe)?, size_of_file(&program)?);
    // The name may lead to another file by now, after an upgrade.
    let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| stat.st_ino).ok();
    if ours != its || inode(exe) != inode(&program) {
        return Err(Error::new("overlay", format!("{path:?} is another file by now"), libc::ESTALE));
    }
    Ok(program)
}

fn size_of_file(fd: &OwnedFd) -> Result<u64> {
    Ok(rustix::fs::fstat(fd).call("fstat", || "\"/proc/self/exe\"".into())?.st_size as u64)
}

fn open_self() -> Result<OwnedFd> {
    rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || "\"/proc/self/exe\"".into())
}

fn is_sealed(exe: &OwnedFd) -> bool {
    // An ordinary file has no seals at all (EINVAL).
    rustix::fs::fcntl_get_seals(exe).is_ok_and(|seals| seals.contains(SEALS)) || is_behind_overlay(exe)
}

fn is_behind_overlay(exe: &OwnedFd) -> bool {
    let is_overlay = || fs_magic(exe).is_ok_and(|magic| magic == OVERLAYFS_SUPER_MAGIC);
    let is_read_only =
        || rustix::fs::fstatvfs(exe).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY));
    std::env::var_os(MARK).is_some() && is_overlay() && is_read_only()
}

fn sealed_copy(exe: &OwnedFd) -> Result<OwnedFd> {
    // MFD_EXEC keeps a kernel with vm.memfd_noexec=1 from taking the x bit away. KERNEL(6.3): older ones refuse the flag.
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("rt", base | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("rt", base))
        .call("memfd_create", || "\"rt\"".into())?;
    let size = size_of_file(exe)?;
    let mut done = 0;
    while done < size {
        let n = rustix::fs::sendfile(&copy, exe, None, (size - done) as usize)
            .call("sendfile", || "memfd, \"/proc/self/exe\"".into())?;
        if n == 0 {
            return Err(Error::new("sendfile", "memfd, \"/proc/self/exe\": it was truncated", libc::EIO));
        }
        done += n as u64;
    }
    rustix::fs::fcntl_add_seals(&copy, SEALS).call("fcntl", || "F_ADD_SEALS".into())?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_copy_is_the_program_and_cannot_be_written() {
        let exe = open_self().unwrap();
        assert!(!is_sealed(&exe));
        let copy = sealed_copy(&exe).unwrap();
        assert!(is_sealed(&copy));
        let mut file = std::fs::File::from(copy);
        assert_eq!(file.metadata().unwrap().len(), std::fs::metadata("/proc/self/exe").unwrap().len());
        assert!(file.write_all(b"x").is_err());
    }

    #[test]
    fn what_is_seen_through_the_overlay_cannot_be_written() {
        let exe = open_self().unwrap();
        let program = match through_overlay(&exe, &std::fs::read_link("/proc/self/exe").unwrap()) {
            Ok(program) => program,
            Err(error) => return eprintln!("SKIP no overlay here: {error}"),
        };
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
        let error = rustix::fs::open(&path, OFlags::WRONLY, Mode::empty()).unwrap_err();
        assert_eq!(error, rustix::io::Errno::ROFS);
    }
}
