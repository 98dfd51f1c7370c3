//! `rt docker` when something goes wrong on the way: whatever it is, the container runs or is in the images, whole.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use testkit::daemon;
use testkit::{Case, Fallible, Outcome, Test, needs, rt_only, wait_until};

use super::docker::{COUNTER, Subject, runc_podman};
use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    const WHY: &str = "runc has no such command";
    [
        rt_only("one_at_a_time", WHY, one_at_a_time),
        rt_only("a_failure_keeps_the_last_checkpoint", WHY, a_failure_keeps_the_last_checkpoint),
        rt_only("full_disk", WHY, full_disk),
        rt_only("damaged_record", WHY, damaged_record),
        rt_only("silent_engine", WHY, silent_engine),
        rt_only("podmans_own_checkpoint", WHY, podmans_own_checkpoint),
        rt_only("killed_in_a_checkpoint", WHY, killed_in_a_checkpoint),
        rt_only("killed_in_a_restore", WHY, killed_in_a_restore),
        rt_only("paused", WHY, paused),
    ]
    .into_iter()
    .map(|case| case.needs(daemon::podman).needs(needs::criu))
    .collect()
}

/// The names of what makes up a checkpoint, and how long each is.
fn checkpoint_files(subject: &Subject<'_>) -> Fallible<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(subject.image_dir()?)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".img") || name.ends_with(".json") {
            files.push((name, entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn one_at_a_time(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    let dir = File::open(subject.image_dir()?)?;
    flock(&dir, FlockOperation::LockExclusive)?;
    let output = subject.rt(&["-c", &subject.name]).fails()?;
    one_line(test, &output, &[&subject.image_dir()?, "another checkpoint or restore is at work"])?;
    drop(dir);
    // Several at the same moment: one of them does it, and those that come too late spoil nothing.
    let all = (0..4).map(|_| subject.rt(&["-c", &subject.name]).spawn()).collect::<Fallible<Vec<_>>>()?;
    let codes = all.into_iter().map(|one| Ok(one.output()?.code)).collect::<Fallible<Vec<_>>>()?;
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    let before = subject.count();
    let all = (0..4)
        .map(|_| subject.rt(&["-r", "--alone", &subject.name]).spawn())
        .collect::<Fallible<Vec<_>>>()?;
    let codes = all.into_iter().map(|one| Ok(one.output()?.code)).collect::<Fallible<Vec<_>>>()?;
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    subject.counts_on_from(before)?;
    subject.kill()
}

fn a_failure_keeps_the_last_checkpoint(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    let files = checkpoint_files(&subject)?;
    let output = subject.rt(&["-c", &subject.name, "--criu-binary", "/bin/false"]).fails()?;
    one_line(test, &output, &["/bin/false"])?;
    assert_eq!(checkpoint_files(&subject)?, files);
    subject.counts_on_from(subject.count())?;
    engine.cmd(&["kill", &subject.name]).succeeds()?;
    wait_until("its end", || engine.fact(&subject.name, "{{.State.Running}}").is_ok_and(|it| it == "false"))?;
    let before = subject.count();
    subject.restore(&["--alone"])?;
    wait_until("the container to count", || subject.count() != before)?;
    subject.kill()
}

/// A checkpoint needs none of it.
fn damaged_record(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    fs::write(format!("{}/docker.json", subject.image_dir()?), "{")?;
    let output = subject.rt(&["-c", &subject.name]).succeeds()?;
    assert_eq!(output.stdout, "dump successful\n");
    let before = subject.count();
    subject.restore(&["--alone"])?;
    subject.counts_on_from(before)?;
    subject.kill()?;
    fs::write(format!("{}/docker.json", subject.image_dir()?), "{")?;
    let output = subject.rt(&["-r", &subject.name]).fails()?;
    one_line(test, &output, &["docker.json"])
}

fn full_disk(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    fs::create_dir(&subject.images)?;
    let small = format!("mount -t tmpfs -o size=64k none {}", subject.images);
    let output = subject.rt(&["-c", &subject.name]).in_private_mounts(&small).fails()?;
    assert_eq!(output.stdout, "dump failed\n");
    one_line(test, &output, &["no space left on device"])?;
    subject.counts_on_from(subject.count())?;
    subject.checkpoint()?;
    subject.restore(&[])
}

/// An engine whose daemon goes away while its container is dumped: the checkpoint is there all the same.
fn silent_engine(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    let program = test.new_path("engine");
    let gone = format!("{}/descriptors.json", subject.image_dir()?);
    let script = format!(
        "#!/bin/sh\n[ ! -e {gone} ] || {{ echo 'Cannot connect to the daemon' >&2; exit 1; }}\nexec {} \"$@\"\n",
        engine.program()
    );
    // Not by us: a child of another case's would have it open for writing for a moment (ETXTBSY).
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    testkit::Cmd::new("sh").args(["-c", write, &program, &script]).succeeds()?;
    let output = subject.rt(&["-c", &subject.name]).env("DOCKER_BINARY", &program).succeeds()?;
    assert_eq!(output.stdout, "dump successful\n");
    one_line(test, &output, &["the checkpoint is complete, but", "cannot connect to the daemon"])?;
    let output = subject.rt(&["-r", &subject.name]).env("DOCKER_BINARY", &program).fails()?;
    assert!(
        output.stderr.contains("Cannot connect to the daemon") && !output.stderr.contains("removed"),
        "{output}"
    );
    wait_until("its end", || engine.fact(&subject.name, "{{.State.Running}}").is_ok_and(|it| it == "false"))?;
    let before = subject.count();
    subject.restore(&[])?;
    subject.counts_on_from(before)
}

/// It lies where `rt` hands over its own.
fn podmans_own_checkpoint(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    engine.cmd(&["container", "checkpoint", &subject.name]).succeeds()?;
    let output = subject.rt(&["-r", &subject.name]).fails()?;
    one_line(test, &output, &["has a checkpoint of its own", "/checkpoint"])?;
    let before = subject.count();
    engine.cmd(&["container", "restore", "--keep", &subject.name]).succeeds()?;
    subject.counts_on_from(before)?;
    // One that it was told to keep is no hindrance, and stays.
    let kept = format!("{}/checkpoint", engine.fact(&subject.name, "{{.StaticDir}}")?);
    let inventory = || fs::read(format!("{kept}/inventory.img"));
    let its = inventory()?;
    subject.checkpoint()?;
    let before = subject.count();
    subject.restore(&[])?;
    subject.counts_on_from(before)?;
    assert_eq!(inventory()?, its);
    Ok(())
}

/// Whether the container counts.
fn counts(subject: &Subject<'_>) -> bool {
    let before = subject.count();
    std::thread::sleep(Duration::from_millis(250));
    subject.count() != before
}

/// Moments of an operation, in milliseconds; the last ones are often after its end.
const MOMENTS: [u64; 6] = [60, 120, 180, 240, 320, 450];

fn killed_in_a_checkpoint(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.rt(&["-c", "--leave-running", &subject.name]).succeeds()?;
    for moment in MOMENTS {
        let mut checkpoint = subject.rt(&["-c", &subject.name]).spawn()?;
        std::thread::sleep(Duration::from_millis(moment));
        checkpoint.kill();
        // CRIU, left to itself, holds the directory until it has put things back in order.
        let dir = File::open(subject.image_dir()?)?;
        wait_until("criu's end", || flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())?;
        drop(dir);
        if counts(&subject) {
            continue;
        }
        let before = subject.count();
        subject.restore(&["--alone"])?;
        subject.counts_on_from(before)?;
    }
    let pid = subject.pid().ok();
    if let Some(pid) = pid.filter(|pid| Path::new(&format!("/proc/{pid}/root/bin")).exists()) {
        testkit::Cmd::new("kill").args(["-9", &pid.to_string()]).succeeds()?;
    }
    Ok(())
}

fn killed_in_a_restore(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    subject.checkpoint()?;
    for moment in MOMENTS {
        let before = subject.count();
        let mut restore = subject.rt(&["-r", "--alone", &subject.name]).spawn()?;
        std::thread::sleep(Duration::from_millis(moment));
        restore.kill();
        std::thread::sleep(Duration::from_millis(100));
        let again = subject.rt(&["restore", "--alone", &subject.name]).output()?;
        let runs = again.stderr.contains("runs already");
        assert!(runs || again.code == 0, "after {moment} ms: {again}");
        wait_until("the container to count", || subject.count() != before)?;
        // Whoever restored it, it is known.
        subject.checkpoint()?;
        assert!(!counts(&subject), "another one runs, after {moment} ms (it ran: {runs})");
    }
    Ok(())
}

fn paused(test: &Test) -> Outcome {
    let engine = runc_podman(test, "vfs")?;
    let subject = Subject::run(test, &engine, &[], COUNTER)?;
    subject.counts_on_from(0)?;
    engine.cmd(&["pause", &subject.name]).succeeds()?;
    let output = subject.rt(&["-c", &subject.name]).fails()?;
    one_line(test, &output, &["is paused", "unpause"])?;
    assert_eq!(engine.fact(&subject.name, "{{.State.Status}}")?, "paused");
    engine.cmd(&["unpause", &subject.name]).succeeds()?;
    subject.counts_on_from(subject.count())
}
