//! The session keyring: the keys that a process has, and all that it starts (session-keyring(7)).
//!
//! Without one of its own a container has its caller's, and with that the caller's keys.

use crate::Result;
use crate::error::check;
use std::ffi::CStr;

/// Leaves the caller's session keyring for a new one of this name, which later processes of the same user [`join`]. A kernel without
/// keyrings is no error.
pub fn make(name: &CStr) -> Result<()> {
    outcome(make_quietly(name), "make", name)
}

/// Joins the session keyring of this name, or a new one where there is none that this user may search. A kernel without keyrings is
/// no error.
pub fn join(name: &CStr) -> Result<()> {
    outcome(join_quietly(name), "join", name)
}

/// As [`make`], with what the system call returns: nothing is allocated, so it may be called between clone and exec.
pub(crate) fn make_quietly(name: &CStr) -> libc::c_long {
    const SETPERM: libc::c_int = 5;
    // What a new one has (all, for who has it; view, read and link for its owner's processes), and search for these, without
    // which they could not find it by its name (keyctl_setperm(3)).
    const PERMISSIONS: libc::c_uint = 0x3f1b_0000;
    match join_quietly(name) {
        // SAFETY: takes numbers.
        serial if serial > 0 => unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, serial, PERMISSIONS) },
        failed => failed,
    }
}

fn join_quietly(name: &CStr) -> libc::c_long {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name outlives the call.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) }
}

fn outcome(answer: libc::c_long, what: &str, name: &CStr) -> Result<()> {
    match check(answer, "keyctl", || format!("{what} session keyring {name:?}")) {
        Err(error) if error.is(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}
