//! A copy of this program that nobody can write to.
//!
//! CVE-2019-5736: a process of ours inside a container is an open door to our own binary (`/proc/PID/exe`), through which the
//! container could overwrite the program that the host runs as root next time. So every command that lets a process enter a
//! container first goes on as a copy in a memfd which is sealed against writing, growing, shrinking and unsealing.
//!
//! The whole program moves, before it has done anything, rather than the child alone after the fork: then the child starts
//! with everything the parent has already checked and opened, and there is no second format to pass it through.

use crate::error::{Context, Error, Result};
use crate::process::exec_fd;
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Goes on as a sealed copy of this program, with the same arguments and environment; returns when this already is one.
pub fn enter() -> Result<()> {
    let exe = open_self()?;
    if is_sealed(&exe) {
        return Ok(());
    }
    let copy = sealed_copy(&exe)?;
    let strings = |it: &mut dyn Iterator<Item = Vec<u8>>| -> Vec<CString> {
        it.filter_map(|s| CString::new(s).ok()).collect()
    };
    let args = strings(&mut std::env::args_os().map(OsStringExt::into_vec));
    let env =
        strings(&mut std::env::vars_os().map(|(k, v)| [k.into_vec(), b"=".to_vec(), v.into_vec()].concat()));
    Err(exec_fd(copy.as_fd(), &args, &env))
}

fn open_self() -> Result<OwnedFd> {
    rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .call("open", || "\"/proc/self/exe\"".into())
}

fn is_sealed(exe: &OwnedFd) -> bool {
    // An ordinary file has no seals at all (EINVAL).
    rustix::fs::fcntl_get_seals(exe).is_ok_and(|seals| seals.contains(SEALS))
}

fn sealed_copy(exe: &OwnedFd) -> Result<OwnedFd> {
    // MFD_EXEC keeps a kernel with vm.memfd_noexec=1 from taking the x bit away. KERNEL(6.3): older ones refuse the flag.
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("rt", base | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("rt", base))
        .call("memfd_create", || "\"rt\"".into())?;
    let size = rustix::fs::fstat(exe).call("fstat", || "\"/proc/self/exe\"".into())?.st_size as u64;
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
}
