//! Starting another program with exactly the descriptors it should have.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

pub use child::{Child, Exit};

use crate::{Error, Result};

mod child;

/// A program to start.
///
/// The new process shares our memory until it execs (`CLONE_VM | CLONE_VFORK`, as posix_spawn(3) does), so starting
/// costs the same whether we are small or large, and a failure of any step comes back as an errno instead of an exit
/// code.
///
/// It gets the environment, the arguments and the descriptors named here and nothing else: 0, 1 and 2 are inherited
/// unless placed, every other descriptor is closed, also one that our own caller left without close-on-exec. Signal
/// handlers are reset and the signal mask is empty; ignored signals stay ignored, except SIGPIPE, which Rust's
/// runtime ignores and other programs do not expect to be.
pub struct Spawn<'a> {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    fds: Vec<(BorrowedFd<'a>, RawFd)>,
    death_signal: c_int,
    own_group: bool,
    session_keyring: Option<&'a CStr>,
    ignore_broken_pipes: bool,
    dir: Option<CString>,
    image: Option<BorrowedFd<'a>>,
}

impl<'a> Spawn<'a> {
    /// The program at `path` (no PATH search), which is also its `argv[0]`.
    pub fn new(path: &Path) -> Result<Self> {
        let program = text(path.as_os_str())?;
        Ok(Self {
            args: vec![program.clone()],
            program,
            env: Vec::new(),
            fds: Vec::new(),
            death_signal: 0,
            own_group: false,
            session_keyring: None,
            ignore_broken_pipes: false,
            dir: None,
            image: None,
        })
    }

    /// Replaces the arguments, `argv[0]` included.
    pub fn argv(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<&mut Self> {
        self.args = args.into_iter().map(|arg| text(arg.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> Result<&mut Self> {
        self.args.push(text(arg.as_ref())?);
        Ok(self)
    }

    /// Adds an environment variable; the environment is empty otherwise.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> Result<&mut Self> {
        let mut pair = std::ffi::OsString::from(name);
        pair.push("=");
        pair.push(value);
        self.env.push(text(&pair)?);
        Ok(self)
    }

    /// Adds an environment variable as it is written in the environment, `NAME=value`.
    pub fn variable(&mut self, variable: &str) -> Result<&mut Self> {
        self.env.push(text(variable.as_ref())?);
        Ok(self)
    }

    /// Adds environment variables that are written like that already.
    pub fn environment(&mut self, env: &[CString]) -> &mut Self {
        self.env.extend_from_slice(env);
        self
    }

    /// Runs it in this directory; else in ours.
    pub fn current_dir(&mut self, dir: &Path) -> Result<&mut Self> {
        self.dir = Some(text(dir.as_os_str())?);
        Ok(self)
    }

    /// Makes it the leader of a process group of its own, which [`Child::kill_group`] can end as a whole.
    pub fn own_group(&mut self) -> &mut Self {
        self.own_group = true;
        self
    }

    /// Has it ignore SIGPIPE, so that writing to somebody who is gone is an error it can handle, and not its end.
    pub fn ignore_broken_pipes(&mut self) -> &mut Self {
        self.ignore_broken_pipes = true;
        self
    }

    /// Places a descriptor at `number` in the program; the numbers must differ from each other.
    pub fn fd(&mut self, fd: BorrowedFd<'a>, number: RawFd) -> &mut Self {
        self.fds.push((fd, number));
        self
    }

    /// Kills the program when the calling thread ends (prctl(2) PR_SET_PDEATHSIG, SIGKILL).
    pub fn die_with_parent(&mut self) -> &mut Self {
        self.death_signal = libc::SIGKILL;
        self
    }

    /// Executes this file in place of the one at the path (execveat(2)). Not for scripts: their interpreter could not open it.
    pub fn image(&mut self, file: BorrowedFd<'a>) -> &mut Self {
        self.image = Some(file);
        self
    }

    /// Gives it a new session keyring of this name ([`crate::keyring::make`]) in place of ours.
    pub fn session_keyring(&mut self, name: &'a CStr) -> &mut Self {
        self.session_keyring = Some(name);
        self
    }

    /// Starts it; when this returns the program has been exec'ed.
    pub fn spawn(&self) -> Result<Child> {
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        let mut moves: Vec<Move> =
            self.fds.iter().map(|(fd, to)| Move { from: fd.as_raw_fd(), to: *to }).collect();
        moves.sort_by_key(|one| one.to);
        let mut job = Job {
            program: &self.program,
            args: args.as_ptr(),
            env: env.as_ptr(),
            moves: &mut moves,
            image: self.image.map(|fd| fd.as_raw_fd()),
            death_signal: self.death_signal,
            own_group: self.own_group,
            session_keyring: self.session_keyring,
            ignore_broken_pipes: self.ignore_broken_pipes,
            dir: self.dir.as_deref(),
            // SAFETY: getpid(2) has no preconditions.
            parent: unsafe { libc::getpid() },
            failed: None,
        };
        let child = vfork(&mut job)?;
        match job.failed {
            None => Ok(child),
            Some((call, errno)) => Err(Error::new(call, format!("{:?}", self.program), errno)),
        }
    }
}

/// One descriptor's way from our number to the program's.
struct Move {
    from: RawFd,
    to: RawFd,
}

/// What the new process works from, in memory that both share; the parent is suspended until the exec.
struct Job<'a> {
    program: &'a CStr,
    args: *const *const c_char,
    env: *const *const c_char,
    moves: &'a mut [Move],
    /// The file to execute, if not the one at the path.
    image: Option<RawFd>,
    death_signal: c_int,
    own_group: bool,
    session_keyring: Option<&'a CStr>,
    ignore_broken_pipes: bool,
    dir: Option<&'a CStr>,
    parent: libc::pid_t,
    /// The call that failed and its errno.
    failed: Option<(&'static str, i32)>,
}

/// Runs `child` on a stack of its own; signals are blocked, since a handler of ours must not run in the new process.
fn vfork(job: &mut Job<'_>) -> Result<Child> {
    const STACK: usize = 32 * 1024;
    const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut stack = Box::<[u128]>::new_uninit_slice(STACK / size_of::<u128>());
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let mut pidfd: RawFd = -1;
    let (mut all, mut old) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `stack` is aligned to 16, unused by anyone else, and outlives the child's use of it, because
    // CLONE_VFORK suspends us until the exec or the exit; so does `job`. `child` only makes system calls. The signal
    // sets are written by sigfillset and pthread_sigmask before they are read.
    let pid = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let pid = libc::clone(child, top, FLAGS, ptr::from_mut(job).cast(), &raw mut pidfd);
        let errno = *libc::__errno_location();
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut());
        *libc::__errno_location() = errno;
        pid
    };
    if pid < 0 {
        return Err(Error::last("clone", "CLONE_VM | CLONE_VFORK | CLONE_PIDFD"));
    }
    // SAFETY: the kernel has just stored a new descriptor there, close-on-exec, that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child::new(pid, pidfd))
}

/// The new process: returns only when a step failed.
extern "C" fn child(job: *mut c_void) -> c_int {
    // SAFETY: `vfork` passes a valid `Job` and does not touch it while we run.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let call = prepare(job).err().unwrap_or_else(|| {
        // SAFETY: path, arguments and environment are NUL-terminated strings and NULL-terminated arrays of such.
        unsafe {
            match job.image {
                None => libc::execve(job.program.as_ptr(), job.args, job.env).into(),
                Some(fd) => libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    c"".as_ptr(),
                    job.args,
                    job.env,
                    libc::AT_EMPTY_PATH,
                ),
            }
        };
        "execve"
    });
    // SAFETY: errno is always readable.
    job.failed = Some((call, unsafe { *libc::__errno_location() }));
    127
}

/// Everything before the exec, in system calls that are safe between clone and exec; the error is the failed call's
/// name.
fn prepare(job: &mut Job<'_>) -> std::result::Result<(), &'static str> {
    if job.death_signal != 0 {
        // SAFETY: PR_SET_PDEATHSIG takes a number; getppid has no preconditions.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, job.death_signal) < 0 {
                return Err("prctl");
            }
            // The parent may have died before the line above; 0 means that it is in an outer pid namespace.
            if !matches!(libc::getppid(), 0) && libc::getppid() != job.parent {
                libc::_exit(127);
            }
        }
    }
    // SAFETY: setpgid takes numbers.
    if job.own_group && unsafe { libc::setpgid(0, 0) } < 0 {
        return Err("setpgid");
    }
    if let Some(name) = job.session_keyring
        && crate::keyring::make_quietly(name) < 0
        // SAFETY: this thread's errno. A kernel without keyrings will do.
        && unsafe { *libc::__errno_location() } != libc::ENOSYS
    {
        return Err("keyctl");
    }
    // SAFETY: a string that outlives the call; the working directory is the child's own (no CLONE_FS).
    if job.dir.is_some_and(|dir| unsafe { libc::chdir(dir.as_ptr()) } < 0) {
        return Err("chdir");
    }
    if let Some(fd) = job.image {
        job.image = Some(out_of_the_way(fd, job.moves)?);
    }
    place(job.moves)?;
    close_others(job.moves, job.image);
    reset_signals();
    if job.ignore_broken_pipes {
        // SAFETY: SIG_IGN is no function of ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
    Ok(())
}

/// A copy of a descriptor behind all destinations, close-on-exec.
fn out_of_the_way(fd: RawFd, moves: &[Move]) -> std::result::Result<RawFd, &'static str> {
    let free = moves.last().map_or(3, |last| last.to + 1).max(3);
    // SAFETY: fcntl on a descriptor that the caller borrowed for us.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, free) } {
        copy if copy < 0 => Err("fcntl"),
        copy => Ok(copy),
    }
}

/// Moves the descriptors to their numbers: first out of each other's way, then home.
fn place(moves: &mut [Move]) -> std::result::Result<(), &'static str> {
    let free = moves.last().map_or(0, |last| last.to + 1);
    for one in moves.iter_mut().filter(|one| one.from < free) {
        // SAFETY: fcntl on descriptors that the caller borrowed for us.
        one.from = unsafe { libc::fcntl(one.from, libc::F_DUPFD_CLOEXEC, free) };
        if one.from < 0 {
            return Err("fcntl");
        }
    }
    for one in moves {
        // SAFETY: `from` is open and differs from `to`, so dup2 clears close-on-exec; our table is a copy.
        if unsafe { libc::dup2(one.from, one.to) } < 0 {
            return Err("dup2");
        }
    }
    Ok(())
}

/// Closes every descriptor from 3 on that is neither a destination nor `image`, which lies behind them; `moves` is sorted by
/// destination.
fn close_others(moves: &[Move], image: Option<RawFd>) {
    let mut first = 3;
    for to in moves.iter().map(|one| one.to).chain(image).filter(|to| *to >= 3) {
        close_range(first, to - 1);
        first = to + 1;
    }
    close_range(first, RawFd::MAX);
}

/// Closes `first..=last`. KERNEL(5.9): without close_range(2) the first 4096 are closed one by one.
fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: we are a new process whose descriptors nobody else uses.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) < 0 {
            for fd in first..=last.min(4096) {
                libc::close(fd);
            }
        }
    }
}

/// Handlers back to the default (they would vanish at the exec, but the mask is opened before), SIGPIPE too; empty
/// mask.
fn reset_signals() {
    // SAFETY: a zeroed sigaction is SIG_DFL with an empty mask; the child's table of handlers is its own (no
    // CLONE_SIGHAND); numbers that take no handler only give EINVAL.
    unsafe {
        let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
        for signal in 1..=libc::SIGRTMAX() {
            let mut now = default;
            let known = libc::sigaction(signal, ptr::null(), &raw mut now) == 0;
            let ignored = now.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if known && !ignored && now.sa_sigaction != libc::SIG_DFL {
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

fn text(value: &OsStr) -> Result<CString> {
    CString::new(value.as_bytes()).map_err(|_| Error::new("execve", format!("{value:?}"), libc::EINVAL))
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    /// Runs a shell script with its standard output in a pipe; extra descriptors at chosen numbers.
    fn shell(script: &str, extra: &[(BorrowedFd<'_>, RawFd)]) -> (Exit, String) {
        let (out, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut spawn = Spawn::new(Path::new("/bin/sh")).unwrap();
        spawn.arg("-c").unwrap().arg(script).unwrap().env("A", "b c").unwrap();
        spawn.fd(into.as_fd(), 1);
        for (fd, number) in extra {
            spawn.fd(*fd, *number);
        }
        let mut child = spawn.spawn().unwrap();
        drop(into);
        let mut text = String::new();
        File::from(out).read_to_string(&mut text).unwrap();
        (child.wait().unwrap(), text)
    }

    #[test]
    fn only_the_named_descriptors_arrive_each_at_its_number() {
        let stray = File::open("/proc/self/stat").unwrap();
        rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
        let (a, b) = (File::open("/proc/self/status").unwrap(), File::open("/proc/self/maps").unwrap());
        let fds = [(a.as_fd(), 7), (b.as_fd(), 3)];
        // 4 is the directory that ls reads.
        assert_eq!(shell("exec ls /proc/self/fd", &fds).1, "0\n1\n2\n3\n4\n7\n");
        let (_, links) = shell("cd /proc/$$/fd; readlink 3 7", &fds);
        let (third, seventh) = links.split_once('\n').unwrap();
        assert!(third.ends_with("/maps") && seventh.trim().ends_with("/status"), "{links}");
    }

    #[test]
    fn swapped_numbers_do_not_clobber_each_other() {
        let (a, b) = (File::open("/proc/self/status").unwrap(), File::open("/proc/self/maps").unwrap());
        let swap = [(a.as_fd(), b.as_raw_fd()), (b.as_fd(), a.as_raw_fd())];
        let script = format!("readlink /proc/$$/fd/{} /proc/$$/fd/{}", a.as_raw_fd(), b.as_raw_fd());
        let (_, text) = shell(&script, &swap);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("/maps") && lines[1].ends_with("/status"), "{text}");
    }

    #[test]
    fn the_environment_is_what_was_given_and_the_exit_code_comes_back() {
        let (exit, text) = shell("echo \"$A|$HOME\"; exit 7", &[]);
        assert_eq!((exit, text.as_str()), (Exit::Code(7), "b c|\n"));
    }

    #[test]
    fn a_failed_exec_is_an_error_and_leaves_no_zombie() {
        let error = Spawn::new(Path::new("/no/such")).unwrap().spawn().unwrap_err();
        assert_eq!(error.to_string(), "execve(\"/no/such\"): no such file or directory");
    }

    #[test]
    fn sigpipe_is_default_and_nothing_is_blocked() {
        let (_, text) = shell("exec grep -E 'SigIgn|SigBlk' /proc/self/status", &[]);
        let masks: Vec<u64> = text
            .lines()
            .map(|line| u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap())
            .collect();
        assert_eq!((masks[0], masks[1] & 1 << (libc::SIGPIPE - 1)), (0, 0), "{text}");
    }

    #[test]
    fn dies_with_the_thread_that_started_it() {
        let start = || {
            let mut spawn = Spawn::new(Path::new("/bin/sleep")).unwrap();
            spawn.arg("100").unwrap().die_with_parent();
            spawn.spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(child.wait_for(Duration::from_secs(5)).unwrap(), Some(Exit::Signal(libc::SIGKILL)));
    }

    #[test]
    fn a_dropped_child_is_killed_and_reaped() {
        let mut spawn = Spawn::new(Path::new("/bin/sleep")).unwrap();
        let mut child = spawn.arg("100").unwrap().spawn().unwrap();
        assert_eq!(child.wait_for(Duration::from_millis(10)).unwrap(), None);
        let pid = child.pid();
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
