//! The calls of CRI-O, which no Debian has: its own to the runtime, and those of its monitor, which is the real conmon.

use std::fs;
use std::path::Path;

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, both, daemon, needs, wait_until};

use super::counter::{COUNTER, counts_on, is_unbroken, stands_still};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("life", life).needs(daemon::podman),
        both("exec_sync", exec_sync).needs(daemon::podman),
        both("checkpoint", checkpoint).needs(daemon::podman).needs(needs::criu),
    ]
}

/// What CRI-O keeps of a container: `container` is the runtime's side.
struct Monitored<'a> {
    container: Container<'a>,
    /// Where conmon writes: log, pid, how it ended.
    place: String,
}

impl<'a> Monitored<'a> {
    fn new(test: &'a Test, script: &str) -> Fallible<Self> {
        let container = test.container(&test.bundle()?.script(script).build()?);
        let place = test.new_path("monitor");
        fs::create_dir_all(format!("{place}/exits"))?;
        Ok(Self { container, place })
    }

    /// conmon with what is the same in all its calls.
    fn conmon(&self, words: &[&str]) -> Fallible<Cmd> {
        let Container { test, id, bundle } = &self.container;
        // Not by its name: conmon does not look into PATH.
        let runtime = test.host("sh").args(["-c", "command -v \"$0\""]).arg(&test.runtime().binary);
        let runtime = runtime.succeeds()?.stdout;
        let command = test.host("conmon").args(["-c", id, "-n", id, "-u", id, "-b", bundle.directory()]);
        let command =
            command.args(["-r", runtime.trim(), "--runtime-arg", &format!("--root={}", test.root())]);
        let command = command.arg("--socket-dir-path");
        let command = match test.criu_config().filter(|_| !test.is_rt()) {
            Some(config) => command.env("CRIU_CONFIG_FILE", config),
            None => command,
        };
        Ok(command.arg(&self.place).args(["--log-level", "info", "--persist-dir", &self.place]).args(words))
    }

    /// The container's first process under conmon: created, or restored.
    fn monitored(&self, words: &[&str]) -> Outcome {
        let pid_file = format!("{}/pid", self.place);
        let _ = fs::remove_file(&pid_file);
        let log = format!("{}/log", self.place);
        let exits = format!("{}/exits", self.place);
        self.conmon(&["-p", &pid_file, "-l", &log, "--exit-dir", &exits])?.args(words).succeeds()?;
        let seen = || fs::read_to_string(&pid_file).is_ok_and(|pid| pid.trim().parse::<i32>().is_ok());
        wait_until("the pid file of conmon", seen)
    }

    fn create(&self) -> Outcome {
        self.monitored(&[])
    }

    /// How conmon says that a process has ended.
    fn exit_code(&self, name: &str) -> Fallible<String> {
        let path = format!("{}/exits/{name}", self.place);
        wait_until("the exit file of conmon", || {
            fs::read_to_string(&path).is_ok_and(|code| !code.is_empty())
        })?;
        Ok(fs::read_to_string(&path)?.trim().to_owned())
    }

    /// Lines are written with a time, a stream and a mark before them.
    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("{}/{name}", self.place)).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(|line| format!("{line}\n")).collect()
    }

    /// `rt --root R update --resources - ID`, as CRI-O spells it.
    fn rt(&self, words: &[&str]) -> Cmd {
        self.container.test.cmd(words).arg(&self.container.id)
    }

    fn end(&self) -> Outcome {
        let kill = self.container.test.cmd(&["kill", "-a", &self.container.id, "9"]);
        kill.succeeds()?;
        assert_eq!(self.exit_code(&self.container.id)?, "137");
        self.container.wait_for_status("stopped")?;
        self.rt(&["delete", "--force"]).succeeds()?;
        Ok(())
    }
}

fn life(test: &Test) -> Outcome {
    let monitored = Monitored::new(test, &format!("echo hello; {COUNTER}"))?;
    let container = &monitored.container;
    monitored.create()?;
    assert_eq!(container.status()?, "created");
    monitored.rt(&["start"]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    assert_eq!(monitored.log("log"), "hello\n");
    monitored.rt(&["update", "--resources", "-"]).stdin("{}").succeeds()?;
    monitored.rt(&["pause"]).succeeds()?;
    assert_eq!(container.status()?, "paused");
    stands_still(&container.bundle, "/log")?;
    monitored.rt(&["resume"]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    let kill = test.cmd(&["kill", &container.id, "CONT"]);
    kill.succeeds()?;
    monitored.end()?;
    let state = monitored.rt(&["state"]).fails()?;
    assert!(state.stderr.contains("does not exist"), "{state}");
    Ok(())
}

/// An attached exec is the runtime's own; one whose end is waited for is conmon's.
fn exec_sync(test: &Test) -> Outcome {
    let monitored = Monitored::new(test, COUNTER)?;
    let container = &monitored.container;
    monitored.create()?;
    monitored.rt(&["start"]).succeeds()?;
    let process = test.new_path("process");
    let words = |script: &str| testkit::json!({"args": ["sh", "-c", script], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
    fs::write(&process, words("echo out; echo err >&2; exit 7").to_string())?;
    let attached = monitored.rt(&["exec", "--process", &process]).output()?;
    assert_eq!((attached.code, attached.stdout.as_str(), attached.stderr.trim_end()), (7, "out\n", "err"));
    let (pid, log) = (test.new_path("pid"), format!("{}/exec", monitored.place));
    let exec = ["-e", "--exec-process-spec", &process, "-p", &pid, "-l", &log, "-T", "30", "--sync"];
    let mut conmon = monitored.conmon(&exec)?.spawn()?;
    wait_until("conmon's end", || !conmon.is_running())?;
    assert_eq!(monitored.log("exec").lines().collect::<Vec<_>>().join(" "), "out err");
    counts_on(&container.bundle, "/log", 3)?;
    monitored.end()
}

/// Paused before, and still paused after, as CRI-O expects; then made again from the images by another conmon.
fn checkpoint(test: &Test) -> Outcome {
    let monitored = Monitored::new(test, COUNTER)?;
    let container = &monitored.container;
    monitored.create()?;
    monitored.rt(&["start"]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    let (images, work) = (format!("{}/checkpoint", monitored.place), monitored.place.clone());
    let dump =
        ["checkpoint", "--file-locks", "--image-path", &images, "--work-path", &work, "--leave-running"];
    monitored.rt(&["pause"]).succeeds()?;
    monitored.rt(&dump).succeeds()?;
    assert_eq!(container.status()?, "paused");
    let before = container.bundle.read("/log");
    monitored.rt(&["resume"]).succeeds()?;
    monitored.end()?;
    fs::write(container.bundle.path("/log"), before)?;
    let _ = fs::remove_file(format!("{}/exits/{}", monitored.place, container.id));
    monitored.monitored(&["--restore", &images])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    assert_eq!(container.status()?, "running");
    assert!(
        Path::new(&format!("{work}/restore.log")).exists()
            || Path::new(container.bundle.directory()).join("restore.log").exists()
    );
    monitored.end()
}
