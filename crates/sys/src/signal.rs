//! Signals as data: block them, and read them from a descriptor.

use crate::error::{Result, check};
use std::os::fd::{FromRawFd, OwnedFd};

/// Signals that arrive as data instead of interrupting: blocked for the process and read from a signalfd(2).
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks every signal that can be blocked and opens a non-blocking descriptor for them.
    ///
    /// A child inherits the blocked mask; [`unblock_all`] undoes it there.
    pub fn take_all() -> Result<Self> {
        // SAFETY: sigset_t is plain data that sigfillset initializes; the calls only read it.
        let fd = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            // A fault is no message: these keep their default, deadly action.
            for fault in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP]
            {
                libc::sigdelset(&raw mut all, fault);
            }
            check(
                libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()).into(),
                "sigprocmask",
                String::new,
            )?;
            libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        check(fd.into(), "signalfd", String::new)?;
        // SAFETY: a new descriptor which nobody else owns.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The descriptor to poll; readable when a signal waits.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The next signal's number, if one waits.
    pub fn next(&self) -> Option<i32> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let n = rustix::io::read(&self.fd, &mut info).ok()?;
        // ssi_signo is the first field (signalfd(2)).
        (n == info.len()).then(|| i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
    }
}

/// Unblocks all signals and gives each its default action back, as a fresh program expects them.
pub fn reset_all() -> Result<()> {
    // By the bare system call, since libc hides signals 32 and 33, which a caller may have passed on ignored. The kernel's
    // sigaction is four words on every architecture that Rust's std knows; all zero is SIG_DFL without flags.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one sigaction with a mask of eight bytes; KILL and STOP refuse, and are default anyway.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8)
        };
    }
    unblock_all()
}

/// Gives SIGCHLD its default action back: a caller that ignores it would have the kernel reap our children before we can.
pub fn default_child_signal() {
    // SAFETY: SIG_DFL is valid for SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// What a signal means, in words like those for an errno: `bad system call`.
pub fn describe(signal: i32) -> String {
    // SAFETY: strsignal takes any number; no two threads of ours ask it, so the text stays until it is copied.
    let text = unsafe {
        let text = libc::strsignal(signal);
        if text.is_null() { c"unknown signal" } else { std::ffi::CStr::from_ptr(text) }
    };
    text.to_string_lossy().to_lowercase()
}

/// Has these signals end this process, with 128 and their number, even where it is the first of a pid namespace, which the kernel
/// spares those that it has not said anything about (pid_namespaces(7)); until the next execve(2).
pub fn end_on(signals: &[i32]) {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe, and ends this process with all its threads.
        unsafe { libc::_exit(128 + signal) };
    }
    for &signal in signals {
        // SAFETY: the handler has the type that signal(2) asks for, and does only what a handler may.
        unsafe { libc::signal(signal, end as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

/// Unblocks all signals.
pub fn unblock_all() -> Result<()> {
    // SAFETY: sigset_t is plain data that sigemptyset initializes.
    let ret = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    check(ret.into(), "sigprocmask", String::new).map(drop)
}
