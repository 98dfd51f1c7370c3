//! Finding the user's program and becoming it.

use super::failure::{During, Failure, Result};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use spec::Process;
use std::collections::HashSet;
use std::ffi::CString;
use std::io::Read;
use std::path::Path;

/// A program that was found, with all that execve(2) takes.
#[derive(Debug)]
pub(crate) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Looks the program up in the container, as the user who will run it. Only finding it is done here, so that `create`
    /// can already say what `start` would fail on.
    pub(crate) fn find(process: &Process) -> Result<Self> {
        let env = environment(process, Path::new("/etc/passwd"));
        let name = process.args.first().map(String::as_str).unwrap_or_default();
        let path = if name.contains('/') {
            check(name, name).map(|()| name.to_owned())?
        } else {
            search(name, &env)?
        };
        let strings = |list: &[String]| {
            list.iter().map(|s| CString::new(s.as_str())).collect::<std::result::Result<Vec<_>, _>>()
        };
        Ok(Self {
            path: CString::new(path).during("process.args[0]")?,
            args: strings(&process.args).during("process.args")?,
            env: strings(&env).during("process.env")?,
        })
    }

    /// The environment that it gets.
    pub(crate) fn env(&self) -> &[CString] {
        &self.env
    }

    /// Becomes the program; returns only on failure.
    pub(crate) fn exec(&self) -> Failure {
        let error = sys::process::exec(&self.path, &self.args, &self.env);
        let exit_code = if error.errno == rustix::io::Errno::NOENT.raw_os_error() { 127 } else { 126 };
        let path = sys::one_line(&self.path.to_string_lossy());
        Failure { message: format!("exec {path}: {}", sys::strerror(error.errno)), exit_code }
    }
}

fn search(name: &str, env: &[String]) -> Result<String> {
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = None;
    for dir in path.split(':') {
        let candidate = if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") };
        match check(name, &candidate) {
            Ok(()) => return Ok(candidate),
            Err(failure) if failure.exit_code == 126 => denied = denied.or(Some(failure)),
            Err(_) => {}
        }
    }
    // A program that is there but cannot be run says more than that none was found.
    Err(denied.unwrap_or_else(|| Failure {
        message: format!("exec: {name:?}: executable file not found in $PATH"),
        exit_code: 127,
    }))
}

fn check(name: &str, path: &str) -> Result<()> {
    let stat = rustix::fs::stat(path).map_err(|e| Failure {
        message: format!("exec: {name:?}: stat {path}: {}", sys::strerror(e.raw_os_error())),
        exit_code: if matches!(e, rustix::io::Errno::ACCESS) { 126 } else { 127 },
    })?;
    let refuse = |reason: &str| Err(Failure { message: format!("exec: {name:?}: {reason}"), exit_code: 126 });
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        // Older runc and exec(2) have the second half only, newer runc the first; podman looks for the second.
        return refuse("is a directory: permission denied");
    }
    match rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(_) => refuse("permission denied"),
    }
}

/// The environment as given, each name once with its last value, and with a HOME: the user's from /etc/passwd, or `/`.
fn environment(process: &Process, passwd: &Path) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().len();
    let mut seen = HashSet::new();
    let last = process.env.iter().rev().filter(|entry| seen.insert(&entry[..name(entry)]));
    let mut env: Vec<String> = last.filter(|entry| *entry != "HOME=").cloned().collect();
    env.reverse();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", home(process.user.uid, passwd).unwrap_or_else(|| "/".into())));
    }
    env
}

/// More than a passwd of tens of thousands of users has.
const PASSWD_LIMIT: u64 = 4 << 20;

/// passwd(5): name:password:uid:gid:comment:home:shell
///
/// The file is the image's: a pipe is not waited for, a descriptor's link in /proc is not followed (CVE-2024-21626), and what
/// lies beyond the limit is not read.
fn home(uid: u32, passwd: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(rustix::fs::CWD, passwd, flags, Mode::empty(), resolve).ok()?;
    let file = std::fs::File::from(file);
    let mut text = String::new();
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(PASSWD_LIMIT).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)?.parse() == Ok(uid)).then(|| fields.nth(2).unwrap_or("/").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_passwd() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passwd");
        std::fs::write(&file, "root:x:0:0:root:/root:/bin/sh\nweird\nu:x:7:7::/home/u:/bin/sh\n").unwrap();
        assert_eq!(home(7, &file).as_deref(), Some("/home/u"));
        assert_eq!(home(8, &file), None);
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let json = r#"{"args":["x"],"cwd":"/","user":{"uid":8,"gid":0},"env":["A=1","HOME=","B=2","A=3=4"]}"#;
        let mut process = Process::parse(json.as_bytes(), "p").unwrap();
        let none = Path::new("/no/such/file");
        assert_eq!(environment(&process, none), ["B=2", "A=3=4", "HOME=/"]);
        process.env = vec!["HOME=/x".into()];
        assert_eq!(environment(&process, none), ["HOME=/x"]);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told_from_one_that_is_not_there() {
        assert_eq!(check("x", "/no/such/file").unwrap_err().exit_code, 127);
        let failure = check("/etc", "/etc").unwrap_err();
        assert_eq!(
            (failure.exit_code, failure.message.as_str()),
            (126, "exec: \"/etc\": is a directory: permission denied")
        );
        assert_eq!(check("p", "/etc/passwd").unwrap_err().exit_code, 126);
    }
}
