//! `rt docker`: containers of real engines, checkpointed and restored from outside.

use std::path::Path;

use testkit::daemon::{self, Engine};
use testkit::{Case, Cmd, Fallible, Outcome, Output, Test, Value, needs, rt_only, wait_until};

use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    const WHY: &str = "runc has no such command";
    let podman = [
        rt_only("podman_vfs", WHY, |test| counter(test, &runc_podman(test, "vfs")?)),
        rt_only("podman_overlay", WHY, |test| counter(test, &runc_podman(test, "overlay")?)),
        rt_only("podman_on_rt", WHY, |test| {
            counter(test, &Engine::podman(test, "vfs", &test.runtime().binary)?)
        }),
        rt_only("terminal", WHY, terminal),
        rt_only("attached", WHY, attached),
        rt_only("left_running", WHY, left_running),
        rt_only("print_changes_nothing", WHY, print_changes_nothing),
        rt_only("asks_for_a_container", WHY, asks_for_a_container),
        rt_only("mistakes_change_nothing", WHY, mistakes_change_nothing),
        rt_only("forgotten_by_podman", WHY, forgotten_by_podman),
        rt_only("exec_is_not_lost", WHY, exec_is_not_lost),
        rt_only("unions_are_mounted_again", WHY, unions_are_mounted_again).needs(unionfs_fuse),
    ];
    let docker = [
        rt_only("docker_overlay2", WHY, |test| counter(test, &Engine::docker(test, "overlay2")?)),
        rt_only("docker_vfs", WHY, |test| counter(test, &Engine::docker(test, "vfs")?)),
    ];
    let podman = podman.into_iter().map(|case| case.needs(daemon::podman));
    podman
        .chain(docker.into_iter().map(|case| case.needs(daemon::docker)))
        .map(|case| case.needs(needs::criu))
        .collect()
}

pub(super) fn runc_podman(test: &Test, driver: &str) -> Fallible<Engine> {
    Engine::podman(test, driver, Path::new("runc"))
}

/// Counts, and notes down the number in a volume, in a bind mount and in its root.
pub(super) const COUNTER: &str = "i=0; while :; do i=$((i + 1)); echo $i; for to in /volume /bind /; do echo $i >$to/count; done; usleep 50000; done";

/// A container of an engine's, and the commands about it.
pub(super) struct Subject<'a> {
    test: &'a Test,
    engine: &'a Engine,
    pub(super) name: String,
    /// What is mounted at /bind.
    bind: String,
    pub(super) images: String,
}

impl<'a> Subject<'a> {
    pub(super) fn run(test: &'a Test, engine: &'a Engine, options: &[&str], script: &str) -> Fallible<Self> {
        let (bind, images) = (test.new_path("bind"), test.new_path("images"));
        std::fs::create_dir(&bind)?;
        let this = Self { test, engine, name: test.new_id(), bind, images };
        let bind = format!("--volume={}:/bind", this.bind);
        let volume = format!("--volume={}:/volume", this.name);
        let options: Vec<_> = [bind.as_str(), &volume].into_iter().chain(options.iter().copied()).collect();
        engine.run(&this.name, &options, script)?;
        Ok(this)
    }

    /// `rt docker ARGS` with the script's variables.
    pub(super) fn rt(&self, args: &[&str]) -> Cmd {
        let command = self.test.bare(&["docker"]).args(args);
        command.env("DOCKER_BINARY", self.engine.program()).env("CRIU_IMG_DIR", &self.images)
    }

    pub(super) fn checkpoint(&self) -> Outcome {
        let output = self.rt(&["checkpoint", &self.name]).succeeds()?;
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("dump successful\n", ""));
        assert_eq!(self.engine.fact(&self.name, "{{.State.Running}}")?, "false");
        Ok(())
    }

    pub(super) fn restore(&self, flags: &[&str]) -> Outcome {
        let output = self.rt(&["restore"]).args(flags).arg(&self.name).succeeds()?;
        assert_eq!(output.stdout, "restore successful\n", "{output}");
        Ok(())
    }

    fn id(&self) -> Fallible<String> {
        self.engine.fact(&self.name, "{{.Id}}")
    }

    pub(super) fn image_dir(&self) -> Fallible<String> {
        Ok(format!("{}/{}", self.images, self.id()?))
    }

    /// The process that it became when it was restored standing alone.
    pub(super) fn pid(&self) -> Fallible<i32> {
        Ok(std::fs::read_to_string(format!("{}/restore.pid", self.image_dir()?))?.trim().parse()?)
    }

    /// A file as the container sees it that stands alone.
    fn read(&self, path: &str) -> Fallible<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/root{path}", self.pid()?))?)
    }

    pub(super) fn count(&self) -> u64 {
        let text = std::fs::read_to_string(format!("{}/count", self.bind));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until it counts beyond a number.
    pub(super) fn counts_on_from(&self, number: u64) -> Outcome {
        wait_until("the container to count on", || self.count() > number)
    }

    /// Kills a container that stands alone.
    pub(super) fn kill(&self) -> Outcome {
        let pid = self.pid()?;
        Cmd::new("kill").args(["-9", &pid.to_string()]).succeeds()?;
        wait_until("its end", || !Path::new(&format!("/proc/{pid}/root/bin")).exists())
    }
}

/// The whole way, twice: from the engine, standing alone, and back into the engine.
fn counter(test: &Test, engine: &Engine) -> Outcome {
    let subject = Subject::run(test, engine, &[], COUNTER)?;
    for round in 0..2 {
        subject.counts_on_from(0)?;
        subject.checkpoint()?;
        let before = subject.count();
        subject.restore(&["--alone"])?;
        subject.counts_on_from(before)?;
        stands_alone(&subject, before)?;
        // The engine believes that it has ended; its pid was noted down.
        subject.checkpoint()?;
        let before = subject.count();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(subject.count(), before, "it still runs in round {round}");
        subject.restore(&[])?;
        subject.counts_on_from(before)?;
        assert_eq!(engine.fact(&subject.name, "{{.State.Running}}")?, "true");
        let seen = engine.cmd(&["exec", &subject.name, "cat", "/volume/count", "/count", "/bind/count"]);
        let seen = seen.succeeds()?.stdout;
        assert!(
            seen.lines().all(|line| line.parse::<u64>().is_ok_and(|n| n > before)),
            "{seen} after {before}"
        );
    }
    Ok(())
}

fn stands_alone(subject: &Subject<'_>, before: u64) -> Outcome {
    let engine = subject.engine;
    assert_eq!(engine.fact(&subject.name, "{{.State.Running}}")?, "false");
    for (file, fact) in [("/etc/hosts", "{{.HostsPath}}"), ("/etc/hostname", "{{.HostnamePath}}")] {
        assert_eq!(
            subject.read(file)?,
            std::fs::read_to_string(engine.fact(&subject.name, fact)?)?,
            "{file}"
        );
    }
    for file in ["/count", "/volume/count"] {
        wait_until(file, || {
            subject.read(file).is_ok_and(|n| n.trim().parse::<u64>().is_ok_and(|n| n > before))
        })?;
    }
    let log = std::fs::read_to_string(format!("{}/output", subject.image_dir()?))?;
    assert!(log.lines().any(|line| line.parse::<u64>().is_ok_and(|n| n > before)), "{log}");
    // Its root is mounted for it alone.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&subject.images), "{mounts}");
    let again = subject.rt(&["restore", "--alone", &subject.name]).fails()?;
    one_line(subject.test, &again, &["runs already, as process", &subject.pid()?.to_string()])
}

fn terminal(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let script = "i=0; while :; do i=$((i + 1)); echo $(tty) $i; echo $i >/bind/count; usleep 50000; done";
    let subject = Subject::run(test, &engine, &["-t"], script)?;
    subject.counts_on_from(0)?;
    for _ in 0..2 {
        subject.checkpoint()?;
        let before = subject.count();
        subject.restore(&["--alone"])?;
        subject.counts_on_from(before)?;
        let log = format!("{}/output", subject.image_dir()?);
        let line = format!("/dev/pts/0 {}", before + 1);
        wait_until(&line, || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(&line)))?;
    }
    subject.kill()
}

fn attached(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let script = "until [ -e /bind/end ]; do echo waiting; usleep 50000; done; echo done; exit 7";
    let subject = Subject::run(test, &engine, &[], script)?;
    subject.checkpoint()?;
    let mut restore = subject.rt(&["-r", "--attach", &subject.name]).spawn()?;
    wait_until("the container", || subject.pid().is_ok())?;
    assert!(restore.is_running());
    std::fs::write(format!("{}/end", subject.bind), "")?;
    let output = restore.output()?;
    assert_eq!(output.code, 7, "{output}");
    // The container runs before that is said, and may be the first to speak.
    assert!(output.stdout.contains("restore successful\n") && output.stdout.contains("done\n"), "{output}");
    Ok(())
}

fn left_running(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    let before = subject.count();
    subject.counts_on_from(before)?;
    assert_eq!(engine.fact(&subject.name, "{{.State.Running}}")?, "true");
    let output = subject.rt(&["-r", &subject.name]).fails()?;
    one_line(test, &output, &["runs already"])
}

fn print_changes_nothing(test: &Test) -> Outcome {
    let engine = runc_podman(test, "overlay")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    let plan: Value =
        serde_json::from_str(&subject.rt(&["checkpoint", "--print", &subject.name]).succeeds()?.stdout)?;
    let pid: i32 = engine.fact(&subject.name, "{{.State.Pid}}")?.parse()?;
    assert_eq!(
        (&plan["request"]["type"], &plan["request"]["opts"]["pid"]),
        (&"DUMP".into(), &pid.into()),
        "{plan}"
    );
    let external = plan["request"]["opts"]["external"].to_string();
    assert!(
        external.contains("mnt[/bind]:/bind") && external.contains("mnt[/etc/hosts]:/etc/hosts"),
        "{plan}"
    );
    assert!(plan["mounts"].to_string().contains(&subject.bind), "{plan}");
    assert!(!Path::new(&subject.images).exists());
    subject.counts_on_from(subject.count())?;
    subject.checkpoint()?;
    let print = |flag: &str| subject.rt(&["restore", "--print", flag, &subject.name]).succeeds();
    let plan: Value = serde_json::from_str(&print("--alone")?.stdout)?;
    assert_eq!(plan["request"]["type"], "RESTORE", "{plan}");
    assert_eq!(plan["root"]["fileSystem"]["fstype"], "overlay", "{plan}");
    let upper = engine.fact(&subject.name, "{{.GraphDriver.Data.UpperDir}}")?;
    assert!(plan["root"]["fileSystem"]["options"].to_string().contains(&upper), "{plan}");
    let plan: Value = serde_json::from_str(&print("--into-engine")?.stdout)?;
    assert_eq!(plan["command"][1], "container", "{plan}");
    assert_eq!(plan["command"][3], subject.id()?, "{plan}");
    assert!(!Path::new(&format!("{}/restore.log", subject.image_dir()?)).exists());
    subject.restore(&[])
}

fn asks_for_a_container(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    let answer = format!("{}\n", subject.name);
    let output = subject.rt(&["-c", "-v"]).stdin(&answer).succeeds()?;
    for part in [&subject.name, "Container ID: ", "criu binary: ", "images are in", "dump successful\n"] {
        assert!(output.stdout.contains(part), "{part}: {output}");
    }
    // All are listed now, also those that have ended; and the process is shown.
    let output = subject.rt(&["-r", "-v", "--alone"]).stdin(&answer).succeeds()?;
    for part in
        [&subject.name, "restore successful\n", &format!("root {:>9}", subject.pid()?), "usleep 50000"]
    {
        assert!(output.stdout.contains(part), "{part}: {output}");
    }
    let output = subject.rt(&["-r"]).fails()?;
    one_line(test, &output, &["no container was named"])?;
    subject.kill()
}

/// Each in one line, and the container counts on.
fn mistakes_change_nothing(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    let name = subject.name.as_str();
    let said = |output: Output, words: &[&str]| -> Outcome {
        one_line(test, &output, words)?;
        assert!(!Path::new(&subject.images).exists(), "{output}");
        let before = subject.count();
        subject.counts_on_from(before)
    };
    said(subject.rt(&["checkpoint", "nobody"]).fails()?, &["no such container"])?;
    said(
        subject.rt(&["-c", name]).env("DOCKER_BINARY", "/no/docker").fails()?,
        &["/no/docker not found", "--docker-binary"],
    )?;
    said(subject.rt(&["-c", name]).env("CRIU_BINARY", "/no/criu").fails()?, &["/no/criu", "no such file"])?;
    said(
        subject.rt(&["-c", name, "--dockerinit-binary", "/no/init"]).fails()?,
        &["/no/init does not exist"],
    )?;
    said(subject.rt(&["-r", name]).fails()?, &["image directory", "no such file"])?;
    said(subject.rt(&[name]).fails()?, &["need either checkpoint or restore"])?;
    said(subject.rt(&["-c", "-r", name]).fails()?, &["exclude each other"])?;
    said(subject.rt(&["-c", name, "more"]).fails()?, &["unexpected argument"])?;
    let stopped = test.new_id();
    engine.cmd(&["create", "--name", &stopped, daemon::IMAGE, "true"]).succeeds()?;
    let output = subject.rt(&["-c", &stopped]).fails()?;
    assert_eq!(output.stdout, "dump failed\n");
    said(output, &["does not run"])?;
    let fleeting = test.new_id();
    engine.run(&fleeting, &["--rm"], "sleep 1000")?;
    said(subject.rt(&["-c", &fleeting]).fails()?, &["--rm", "--leave-running"])
}

/// The error says what is left of it, and nothing is changed.
fn forgotten_by_podman(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.checkpoint()?;
    let (id, dir) = (subject.id()?, subject.image_dir()?);
    engine.cmd(&["rm", &subject.name]).succeeds()?;
    for (named, flag) in [(subject.name.as_str(), "--into-engine"), (&id[..12], "--alone")] {
        let output = subject.rt(&["restore", flag, named]).fails()?;
        one_line(test, &output, &["no such container", &dir, "podman container checkpoint --export"])?;
    }
    assert!(Path::new(&format!("{dir}/inventory.img")).exists());
    Ok(())
}

fn exec_is_not_lost(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    let mut exec = engine.cmd(&["exec", &subject.name, "sh", "-c", "touch /bind/in; sleep 1000"]).spawn()?;
    wait_until("the exec", || Path::new(&format!("{}/in", subject.bind)).exists())?;
    let output = subject.rt(&["-c", &subject.name]).fails()?;
    one_line(test, &output, &["came in by exec"])?;
    assert!(exec.is_running());
    subject.counts_on_from(subject.count())
}

/// The machine's unionfs-fuse.
fn unionfs_fuse() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join("unionfs-fuse").exists());
    if found && Path::new("/dev/fuse").exists() { Ok(()) } else { Err("needs unionfs-fuse".into()) }
}

/// The root as CRIU's log tells of a UnionFS, which this kernel has not: unionfs-fuse takes the same words.
fn unions_are_mounted_again(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.checkpoint()?;
    let dir = subject.image_dir()?;
    let record: Value = serde_json::from_str(&std::fs::read_to_string(format!("{dir}/docker.json"))?)?;
    let tree = record["tree"]["directory"].as_str().ok_or("no directory")?.to_owned();
    let mut without = record;
    without["tree"] = Value::Null;
    std::fs::write(format!("{dir}/docker.json"), without.to_string())?;
    let line =
        format!("(00.010) \ttype unsupported source none 21 / @ ./ flags 200000 options dirs={tree}=RW\n");
    std::fs::write(format!("{dir}/dump.log"), line)?;
    for _ in 0..2 {
        let before = subject.count();
        subject.restore(&["--alone"])?;
        subject.counts_on_from(before)?;
        let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", subject.pid()?))?;
        assert!(mounts.lines().any(|line| line.contains(" / / ") && line.contains("fuse")), "{mounts}");
        subject.checkpoint()?;
    }
    Ok(())
}
