//! Making, replacing and waiting for processes.

use crate::error::{Context, Error, Result, check};
pub use crate::spawn::Exit;
use rustix::process::Pid;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// linux/sched.h; libc's constant overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The namespaces of clone(2), setns(2) and unshare(2): a set of `CLONE_NEW*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(pub u64);

impl Namespaces {
    /// Mount namespace.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// Control group namespace.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// Host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Users and groups.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// Process ids.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Network.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// Boot and monotonic clocks. KERNEL(5.6)
    pub const TIME: Self = Self(0x80);

    /// This set and `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What of this set is in `other`, too.
    #[must_use]
    pub fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in this set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A child process, held by a descriptor so that its number cannot be mistaken for another's.
#[derive(Debug)]
pub struct Child {
    /// Its process id, as this process sees it.
    pub pid: Pid,
    /// Its pidfd (close-on-exec).
    pub pidfd: OwnedFd,
}

/// On which side of [`fork`] the caller finds itself.
#[derive(Debug)]
pub enum Forked {
    /// In the new process.
    Child,
    /// In the calling process.
    Parent(Child),
}

/// Forks by clone3(2) into the given new namespaces and, where `cgroup` is given, into that cgroup2 directory
/// (CLONE_INTO_CGROUP, KERNEL(5.7)).
///
/// The child is a copy of this process. That is only sound while the process has one thread, since another thread's locks would
/// stay locked in the copy for ever; so this refuses with EBUSY when there are more.
pub fn fork(new: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    require_single_thread()?;
    fork_again(Relation::Child, new, cgroup)
}

/// Whose child [`fork_again`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// This process'.
    Child,
    /// Its parent's, who waits for it then (CLONE_PARENT): for a process that goes somewhere on its parent's behalf, such as into
    /// a user namespace, and is not needed any more then.
    Sibling,
}

/// As [`fork`], in a process that [`fork`] has made, which has one thread therefore. Looks at nothing: /proc may be a container's
/// by now.
pub fn fork_again(relation: Relation, new: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data; zero is the kernel's "not given" for every field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // CLONE_NEWTIME shares its bit with clone(2)'s exit signal mask; clone3 takes it as a flag. It moves the child itself.
    args.flags = new.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    match relation {
        Relation::Child => args.exit_signal = libc::SIGCHLD as u64,
        // The exit signal is that of this process then, and must not be given (clone(2)).
        Relation::Sibling => args.flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has its own copy of memory and goes on from here as after fork(2); there is one
    // thread, so no lock is held by anyone who is not copied.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match check(ret, "clone3", || format!("flags={:#x}", args.flags))? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Child {
            pid: Pid::from_raw(pid as i32).ok_or_else(|| Error::new("clone3", "", libc::EINVAL))?,
            // SAFETY: the kernel has just stored a new descriptor here, which nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
    }
}

fn require_single_thread() -> Result<()> {
    let tasks = rustix::fs::stat("/proc/self/task").call("stat", || "\"/proc/self/task\"".into())?;
    // A directory's link count is 2 and one for each subdirectory; here, one for each thread.
    if tasks.st_nlink == 3 { Ok(()) } else { Err(Error::new("clone3", "more than one thread", libc::EBUSY)) }
}

/// Replaces this process by a program; returns only the error.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::last("execve", format!("{path:?}"))
}

/// Like [`exec`], for a program that is held open.
pub fn exec_fd(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: as in `exec`; the empty path with AT_EMPTY_PATH names the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error::last("execveat", format!("{}", program.as_raw_fd()))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Ends the process at once, without running destructors or exit handlers: for a forked child that must not touch what it
/// shares with its parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any value and does not return.
    unsafe { libc::_exit(code) }
}

/// A copy of a descriptor that this process was started with.
///
/// # Errors
/// `EBADF` if there is none of that number.
pub fn inherited(number: i32) -> Result<OwnedFd> {
    let what = || format!("{number}, F_DUPFD_CLOEXEC");
    // SAFETY: of a number that is no descriptor fcntl(2) says so; a new one is nobody else's.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) }.into(), "fcntl", what)?;
    // SAFETY: just made, and owned by nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as i32) })
}

/// Closes a descriptor that a forked child has of its parent's and must not keep, such as one that holds a flock(2): the lock
/// lives as long as any copy. Only for a child that ends by exec or [`exit_now`], never by returning: whoever owns the
/// descriptor on the parent's side of the code would close its number again.
pub fn close_in_child(fd: BorrowedFd<'_>) {
    // SAFETY: this process does not use or drop the owner any more, by the rule above.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Closes every descriptor from 3 on but those in `keep` and, among the first `preserved` ones, those that are not
/// close-on-exec: the caller's, to be passed on. The rule of [`close_in_child`] holds for all of them.
pub fn close_others_in_child(keep: &[BorrowedFd<'_>], preserved: u32) {
    let first = preserved.saturating_add(3);
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let close = |from: u32, to: u32| {
        // SAFETY: as in `close_in_child`; an empty range is refused, and closes nothing.
        unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
    };
    for fd in (3..first).filter(|fd| !keep.contains(fd)) {
        // SAFETY: F_GETFD takes no further argument.
        let flags = unsafe { libc::fcntl(fd as libc::c_int, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
            close(fd, fd);
        }
    }
    let mut from = first;
    for fd in keep.into_iter().filter(|fd| *fd >= first) {
        if fd > from {
            close(from, fd - 1);
        }
        from = fd + 1;
    }
    close(from, u32::MAX);
}

/// Waits until the child `pid` has ended, and reaps it.
pub fn wait(pid: Pid) -> Result<Exit> {
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                if status.exited() || status.signaled() {
                    return Ok(Exit::from_status(status.as_raw()));
                }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::new("waitpid", pid.to_string(), errno.raw_os_error())),
        }
    }
}

/// Reaps every child that has ended already, and returns them.
pub fn reap_ended() -> Vec<(Pid, Exit)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
        ended.push((pid, Exit::from_status(status.as_raw())));
    }
    ended
}

/// Sends a signal by number, real-time signals included, through a pidfd (pidfd_send_signal(2), KERNEL(5.1)).
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no pointer but the null siginfo, which means "as kill(2) would".
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret, "pidfd_send_signal", || signal.to_string()).map(drop)
}

/// Sends a signal by number to a process id.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: kill takes two integers.
    let ret = unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
    check(ret.into(), "kill", || format!("{pid}, {signal}")).map(drop)
}

/// The process id behind a pidfd, as this process' /proc shows it (pidfd_open(2), "fdinfo").
pub fn pid_of(pidfd: BorrowedFd<'_>) -> Result<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).call("read", || format!("{path:?}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.and_then(Pid::from_raw).ok_or_else(|| Error::new("pidfd", path, libc::ESRCH))
}

/// Moves this process into new namespaces (unshare(2)).
pub fn unshare(new: Namespaces) -> Result<()> {
    // SAFETY: namespace flags touch no memory of ours; CLONE_FILES, the one flag that could hurt, is no namespace.
    let ret = unsafe { libc::unshare(new.0 as libc::c_int) };
    check(ret.into(), "unshare", || format!("{:#x}", new.0)).map(drop)
}

/// Moves this process into namespaces of the process behind a pidfd (setns(2), KERNEL(5.8)), or into one namespace that is open
/// itself and must be of this kind; for the pid namespace, its future children.
pub fn join(process: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    // SAFETY: setns takes two integers.
    let ret = unsafe { libc::setns(process.as_raw_fd(), namespaces.0 as libc::c_int) };
    check(ret.into(), "setns", || format!("pidfd {}, {:#x}", process.as_raw_fd(), namespaces.0)).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), KERNEL(5.11)). CVE-2024-21626: nothing that we or our
/// caller opened may reach the container.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: close_range takes integers; with CLOSE_RANGE_CLOEXEC nothing is closed under anyone's feet.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(ret, "close_range", || format!("{first}, MAX, CLOEXEC")).map(drop)
}

/// Whether the kernel tells us the limits of another process (prlimit(2)), as it does anybody of the same ids, or with CAP_SYS_RESOURCE.
pub fn tells_limits(pid: Pid) -> bool {
    let mut limits = std::mem::MaybeUninit::<libc::rlimit64>::uninit();
    // SAFETY: nothing is set, and there is room for the answer, which nobody looks at.
    let ret =
        unsafe { libc::prlimit64(pid.as_raw_pid(), libc::RLIMIT_CPU, std::ptr::null(), limits.as_mut_ptr()) };
    ret == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Whether this process has a descriptor of this number that its caller gave it: one of our own is close-on-exec
/// (fcntl(2) F_GETFD).
pub fn has_inherited(number: u32) -> bool {
    // SAFETY: F_GETFD only looks, and takes any number.
    libc::c_int::try_from(number).is_ok_and(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_a_set() {
        let set = Namespaces::PID.with(Namespaces::MOUNT);
        assert!(set.contains(Namespaces::PID) && !set.contains(Namespaces::USER));
        assert!(set.without(Namespaces::PID).without(Namespaces::MOUNT).is_empty());
    }

    #[test]
    fn a_threaded_process_is_not_forked() {
        // The test harness runs each test on a thread of its own, so this process has several.
        assert!(fork(Namespaces::default(), None).is_err_and(|e| e.is(libc::EBUSY)));
    }
}
