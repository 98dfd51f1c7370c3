//! A container of a case.

use std::fs;
use std::path::PathBuf;

use crate::{Bundle, Cmd, Fallible, Output, Test, Value, wait_until};

/// A container id with its bundle; whether anything runs under it is the case's business.
#[derive(Debug)]
pub struct Container<'test> {
    /// The case it belongs to.
    pub test: &'test Test,
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: Bundle,
}

impl Container<'_> {
    /// `<runtime> <command> [flags] <id>`.
    pub fn cmd(&self, command: &str, flags: &[&str]) -> Cmd {
        self.test.cmd(&[command]).args(flags).arg(&self.id)
    }

    /// `<runtime> <command> --bundle B [flags] <id>` with /dev/null as its standard streams.
    pub fn quiet(&self, command: &str, flags: &[&str]) -> Cmd {
        self.test.quiet(&[command, "--bundle", self.bundle.directory()]).args(flags).arg(&self.id)
    }

    /// Runs it detached.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn run(&self, flags: &[&str]) -> Fallible<()> {
        self.quiet("run", &[&["--detach"], flags].concat()).succeeds().map(drop)
    }

    /// `run` in the foreground, as a command to be completed.
    pub fn run_foreground(&self, flags: &[&str]) -> Cmd {
        self.cmd("run", &[&["--bundle", self.bundle.directory()], flags].concat())
    }

    /// Dumps it into `images`.
    ///
    /// # Errors
    /// When the runtime fails; the text then holds the errors of CRIU's log.
    pub fn checkpoint(&self, images: &str, flags: &[&str]) -> Fallible<Output> {
        let output = self.cmd("checkpoint", &[&["--image-path", images], flags].concat()).output()?;
        explain(output, &format!("{images}/dump.log"))
    }

    /// Restores it, detached, from `images`.
    ///
    /// # Errors
    /// When the runtime fails; the text then holds the errors of CRIU's log.
    pub fn restore(&self, images: &str, flags: &[&str]) -> Fallible<Output> {
        let flags = [&["--detach", "--image-path", images], flags].concat();
        let output = self.quiet("restore", &flags).output()?;
        explain(output, &format!("{images}/restore.log"))
    }

    /// A command inside it, attached.
    pub fn exec(&self, flags: &[&str], args: &[&str]) -> Cmd {
        self.cmd("exec", flags).args(args)
    }

    /// What `state` prints.
    ///
    /// # Errors
    /// When the runtime fails or prints no JSON.
    pub fn state(&self) -> Fallible<Value> {
        Ok(serde_json::from_str(&self.cmd("state", &[]).succeeds()?.stdout)?)
    }

    /// The status, `absent` when the runtime does not know the container.
    ///
    /// # Errors
    /// When the runtime prints no JSON.
    pub fn status(&self) -> Fallible<String> {
        let output = self.cmd("state", &[]).output()?;
        if output.code != 0 {
            return Ok("absent".to_owned());
        }
        let state: Value = serde_json::from_str(&output.stdout)?;
        Ok(state["status"].as_str().unwrap_or("no status in the state").to_owned())
    }

    /// Waits until it has the status.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn wait_for_status(&self, status: &str) -> Fallible<()> {
        wait_until(&format!("status {status} of {}", self.id), || {
            self.status().is_ok_and(|now| now == status)
        })
    }

    /// The host's pid of its init.
    ///
    /// # Errors
    /// When the runtime fails or it has none.
    pub fn pid(&self) -> Fallible<u64> {
        self.state()?["pid"].as_u64().filter(|pid| *pid > 0).ok_or_else(|| "the state has no pid".into())
    }

    /// Host pids of its processes, as `ps --format json` prints them.
    ///
    /// # Errors
    /// When the runtime fails or prints no JSON array of numbers.
    pub fn pids(&self) -> Fallible<Vec<u64>> {
        Ok(serde_json::from_str(&self.cmd("ps", &["--format", "json"]).succeeds()?.stdout)?)
    }

    /// The directory of its cgroup in the hierarchy of `controller`, or else in cgroup2's, as this process sees it.
    ///
    /// # Errors
    /// When it has no init, or no such cgroup.
    pub fn cgroup(&self, controller: &str) -> Fallible<PathBuf> {
        let own = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()?))?;
        let lines = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let v1 = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
        let (directory, path) = match v1.filter(|_| !self.test.is_on_v2()) {
            Some((names, path)) => (format!("/sys/fs/cgroup/{}", names.trim_start_matches("name=")), path),
            None => {
                let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
                let mount =
                    unified.iter().find(|d| fs::exists(format!("{d}/cgroup.controllers")).unwrap_or(false));
                let path = lines().find(|(names, _)| names.is_empty()).ok_or("not in cgroup2")?.1;
                ((*mount.ok_or("no cgroup2")?).to_owned(), path)
            }
        };
        Ok(PathBuf::from(format!("{directory}{path}")))
    }

    /// What stands in a file of its cgroup, without the last line's end.
    ///
    /// # Errors
    /// As [`Container::cgroup`], and when the file cannot be read.
    pub fn cgroup_file(&self, controller: &str, file: &str) -> Fallible<String> {
        let path = self.cgroup(controller)?.join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.trim_end().to_owned())
    }

    /// Kills it and deletes it.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn delete(&self) -> Fallible<()> {
        self.cmd("delete", &["--force"]).succeeds().map(drop)
    }
}

/// Turns a failed operation of CRIU into an error with the decisive lines of its log.
fn explain(output: Output, log: &str) -> Fallible<Output> {
    if output.code == 0 {
        return Ok(output);
    }
    let log = fs::read_to_string(log).unwrap_or_default();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("Error") || line.contains("Warn")).collect();
    Err(format!("unexpected failure of {output}\nCRIU: {}", errors.join("\nCRIU: ")).into())
}
