//! Running a program to its end, or to the end of our patience.
//!
//! Standard output and error go to unlinked temporary files and never to pipes: a detached container keeps
//! them open, and a reader of a pipe would wait for it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::{becomes_true, patience};
use crate::{Fallible, Systemd};

/// What the program gets as its standard streams.
#[derive(Debug)]
enum Streams {
    /// Input from the text (or /dev/null without one), output to files.
    Files(Option<String>),
    /// /dev/null for all three; errors are read from this log file afterwards.
    ///
    /// A container that is to be checkpointed must run so: a file of the host among its descriptors
    /// cannot be dumped by runc.
    Nothing(PathBuf),
    /// The terminal for all three.
    Terminal(OwnedFd),
}

/// A command to run.
#[derive(Debug)]
#[must_use = "nothing runs before `output`, `succeeds`, `fails` or `spawn`"]
pub struct Cmd {
    command: Command,
    streams: Streams,
    stdout: Option<OwnedFd>,
    patience: Duration,
}

impl Cmd {
    /// Runs `program`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
            streams: Streams::Files(None),
            stdout: None,
            patience: patience() * 3,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, directory: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sends `text` to standard input, then end of file.
    pub fn stdin(mut self, text: &str) -> Self {
        self.streams = Streams::Files(Some(text.to_owned()));
        self
    }

    /// Lets it take `factor` times as long as a command may take.
    pub fn patient(self, factor: u32) -> Self {
        Self { patience: self.patience * factor, ..self }
    }

    /// Uses `terminal` for all three standard streams.
    pub fn terminal(mut self, terminal: OwnedFd) -> Self {
        self.streams = Streams::Terminal(terminal);
        self
    }

    /// Uses `stdout` for standard output, whatever the others are.
    pub fn stdout(mut self, stdout: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Uses /dev/null for all three standard streams; [`Output::stderr`] is then what stands in `log`.
    pub(crate) fn quiet(mut self, log: PathBuf) -> Self {
        self.streams = Streams::Nothing(log);
        self
    }

    /// Runs it in a mount namespace of its own, after the shell command `setup`.
    pub fn in_private_mounts(self, setup: &str) -> Self {
        self.wrapped(Command::new("unshare"), &["-m", "--propagation", "private", "sh", "-c"], setup)
    }

    /// Runs it after the shell command `setup`, in the same process: say, `exec 3<file`.
    pub fn after_shell(self, setup: &str) -> Self {
        self.wrapped(Command::new("sh"), &["-c"], setup)
    }

    /// Runs it in the network namespace at `path`, with the mounts as they are.
    pub fn in_network(self, path: &str) -> Self {
        self.wrapped(Command::new("nsenter"), &[&format!("--net={path}"), "sh", "-c"], "true")
    }

    /// Runs it on the machine that this systemd manages.
    pub fn in_systemd(self, systemd: &Systemd) -> Self {
        let (entrance, words) = systemd.entrance();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.moved(entrance.command, &words)
    }

    /// Runs it as the unprivileged user and group `id`, after the shell command `setup`.
    pub fn as_user(self, id: u32, setup: &str) -> Self {
        let id = id.to_string();
        let words = ["--reuid", &id, "--regid", &id, "--clear-groups", "sh", "-c"];
        self.wrapped(Command::new("setpriv"), &words, setup)
    }

    /// Runs it as the arguments of another program: say, `strace -f`.
    pub fn under(self, program: &str, words: &[&str]) -> Self {
        self.moved(Command::new(program), words)
    }

    fn wrapped(self, command: Command, words: &[&str], setup: &str) -> Self {
        let script = format!("{setup} && exec \"$0\" \"$@\"");
        self.moved(command, &[words, &[&script]].concat())
    }

    fn moved(self, mut command: Command, words: &[&str]) -> Self {
        command.args(words).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        Self { command, ..self }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time (it is then killed).
    pub fn output(self) -> Fallible<Output> {
        self.spawn()?.output()
    }

    /// Runs it; a non-zero exit is an error.
    ///
    /// # Errors
    /// As [`Cmd::output`], and when it fails.
    pub fn succeeds(self) -> Fallible<Output> {
        let output = self.output()?;
        if output.code == 0 { Ok(output) } else { Err(format!("unexpected failure of {output}").into()) }
    }

    /// Runs it; success is an error.
    ///
    /// # Errors
    /// As [`Cmd::output`], and when it succeeds.
    pub fn fails(self) -> Fallible<Output> {
        let output = self.output()?;
        if output.code == 0 { Err(format!("unexpected success of {output}").into()) } else { Ok(output) }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut self) -> Fallible<Running> {
        let words: Vec<OsString> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(OsStr::to_owned)
            .collect();
        let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let capture = self.connect()?;
        if let Some(stdout) = self.stdout.take() {
            self.command.stdout(stdout);
        }
        let child = self.command.spawn().map_err(|error| format!("cannot start `{line}`: {error}"))?;
        Ok(Running { child, line, capture, patience: self.patience })
    }

    fn connect(&mut self) -> Fallible<Capture> {
        match std::mem::replace(&mut self.streams, Streams::Files(None)) {
            Streams::Files(text) => {
                let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
                let stdin = text.map_or_else(|| Ok(Stdio::null()), |text| input(&text))?;
                self.command.stdin(stdin).stdout(out.try_clone()?).stderr(err.try_clone()?);
                Ok(Capture::Files { out, err })
            }
            Streams::Nothing(log) => {
                self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Ok(Capture::Log(log))
            }
            Streams::Terminal(terminal) => {
                self.command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
                Ok(Capture::None)
            }
        }
    }
}

/// A pipe that holds `text` and is closed on the writing side.
fn input(text: &str) -> Fallible<Stdio> {
    let (reader, mut writer) = std::io::pipe()?;
    let text = text.to_owned();
    std::thread::spawn(move || writer.write_all(text.as_bytes()));
    Ok(reader.into())
}

#[derive(Debug)]
enum Capture {
    Files { out: File, err: File },
    Log(PathBuf),
    None,
}

impl Capture {
    fn read(self) -> Fallible<(String, String)> {
        Ok(match self {
            Self::Files { out, err } => (from_start(out)?, from_start(err)?),
            Self::Log(log) => (String::new(), std::fs::read_to_string(log).unwrap_or_default()),
            Self::None => (String::new(), String::new()),
        })
    }
}

fn from_start(mut file: File) -> Fallible<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A command that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    capture: Capture,
    patience: Duration,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time; it is then killed, and the text says what was running.
    pub fn output(mut self) -> Fallible<Output> {
        let mut status = None;
        let ended = becomes_true(self.patience, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        let running = if ended { String::new() } else { self.tree() };
        self.kill();
        let capture = std::mem::replace(&mut self.capture, Capture::None);
        let (stdout, stderr) = capture.read()?;
        let line = std::mem::take(&mut self.line);
        let Some(status) = status else {
            let patience = self.patience;
            return Err(format!(
                "hung for {patience:?}: `{line}`\n{running}stdout: {stdout}\nstderr: {stderr}"
            )
            .into());
        };
        Ok(Output { command: line, code: code(status), stdout, stderr })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with SIGKILL (and nothing of what it started), and waits for it.
    pub fn kill(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it and its children are doing, for the error text.
    fn tree(&self) -> String {
        let mut text = String::new();
        let mut pids = vec![self.child.id()];
        while let Some(pid) = pids.pop() {
            let read =
                |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let (command, kernel) = (read("cmdline").replace('\0', " "), read("wchan"));
            text.push_str(&format!("  {pid} {command} in {kernel}\n"));
            // Each thread has children of its own.
            for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As a shell would report it: 128 + n for a signal.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// The exit status; 128 + n for a signal.
    pub code: i32,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "`{command}`: status {code}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hung_command_is_killed_and_named() {
        let mut command = Cmd::new("sh").args(["-c", "echo begun; sleep 1000"]);
        command.patience = Duration::from_millis(200);
        let error = command.output().unwrap_err();
        let text = error.message().unwrap();
        assert!(
            text.contains("hung") && text.contains("sleep 1000") && text.contains("stdout: begun"),
            "{text}"
        );
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_is_not_waited_for() {
        let output = Cmd::new("sh").args(["-c", "sleep 2 & echo done; exit 3"]).output().unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (3, "done\n"));
    }

    #[test]
    fn signals_are_reported_as_a_shell_does() {
        assert_eq!(Cmd::new("sh").args(["-c", "kill -9 $$"]).output().unwrap().code, 137);
    }
}
