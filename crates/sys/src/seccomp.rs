//! seccomp(2): loading a filter, and asking what the kernel knows.

use crate::error::{Error, Result, check};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One instruction of a classic BPF program, laid out as `struct sock_filter` (linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, size or operation, and mode or source.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub if_true: u8,
    /// How many instructions to skip when it does not.
    pub if_false: u8,
    /// The operand.
    pub operand: u32,
}

/// How a filter is loaded: a set of `SECCOMP_FILTER_FLAG_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Log all actions but "allow". KERNEL(4.14)
    pub const LOG: Self = Self(1 << 1);
    /// Leave speculative store bypass alone. KERNEL(4.17)
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// Make a listener for the calls that the filter wants to be decided elsewhere. KERNEL(5.0)
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// Nothing but a fatal signal ends the wait for the listener's decision. KERNEL(5.19)
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);
    /// Give the filter to all threads of the process. KERNEL(3.17)
    pub const TSYNC: Self = Self(1 << 0);

    /// This set, and `other` where `wanted`.
    #[must_use]
    pub fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { Self(self.0 | other.0) } else { self }
    }

    /// Whether the kernel knows these flags: then it goes on to look at the program, and finds none.
    pub fn is_known(self) -> bool {
        load_raw(self, std::ptr::null()).is_err_and(|error| error.is(libc::EFAULT))
    }
}

/// Loads a filter into this process, for good (seccomp(2), SECCOMP_SET_MODE_FILTER). It holds from the next system call on.
/// With [`Flags::NEW_LISTENER`] the outcome is the listener, close-on-exec.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN and without no_new_privs, EINVAL for a program that the kernel does not take or a flag that
/// it does not know.
pub fn load(program: &[Instruction], flags: Flags) -> Result<Option<OwnedFd>> {
    let filter = libc::sock_fprog {
        // The kernel's limit on the length is BPF_MAXINSNS, 4096.
        len: u16::try_from(program.len()).map_err(|_| Error::new("seccomp", "the program", libc::EINVAL))?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let fd = load_raw(flags, &raw const filter)?;
    if flags.0 & Flags::NEW_LISTENER.0 == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just made this descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
}

fn load_raw(flags: Flags, program: *const libc::sock_fprog) -> Result<i64> {
    // SAFETY: the kernel reads `len` instructions, which the caller holds; a null pointer is an error (EFAULT). It writes nothing.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, program) };
    check(ret, "seccomp", || format!("SECCOMP_SET_MODE_FILTER, {:#x}", flags.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_flags_it_knows() {
        assert!(Flags::LOG.is_known() && Flags::TSYNC.is_known());
        assert!(!Flags(1 << 30).is_known());
        // KERNEL(5.19): waiting for a listener takes one.
        assert!(!Flags::WAIT_KILLABLE_RECV.is_known());
    }

    #[test]
    fn a_program_without_an_end_is_refused() {
        let nop = Instruction { code: 0x00, if_true: 0, if_false: 0, operand: 0 };
        // EACCES for those who may not load any.
        assert!(load(&[nop], Flags::default()).is_err_and(|e| e.is(libc::EINVAL) || e.is(libc::EACCES)));
    }
}
