//! SCMP_ACT_NOTIFY: a listener outside decides about a container's system calls.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use libseccomp::{ScmpNotifReq, ScmpNotifResp};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use testkit::{BundleBuilder, Case, Fallible, Outcome, Test, Value, both, json, needs, rt_only};

use super::seccomp::{allowing, mkdir};
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    const OLD: &str = "Debian's runc 1.1.5 tells another state";
    vec![
        both("answers", answers),
        both("answers_after_create", answers_after_create),
        both("answers_exec", answers_exec),
        rt_only("is_told_the_state", OLD, is_told_the_state),
        both("sees_what_the_runtime_does_last", sees_what_the_runtime_does_last),
        both("nobody_listens", nobody_listens),
        rt_only("waits_killably", "runc 1.1.5 does not know the flag", waits_killably),
        rt_only("is_not_checkpointed", "runc lets CRIU fail", is_not_checkpointed).needs(needs::criu),
    ]
}

/// Answers the calls of one process: mkdir fails with ENOTSUP, all others are made. Ends with the process.
struct Agent {
    path: String,
    thread: JoinHandle<Result<Told, String>>,
}

/// What an agent was told, and how many calls it has answered.
struct Told {
    state: Value,
    answered: usize,
}

const ENOTSUP: i32 = 95;

impl Agent {
    fn start(test: &Test) -> Fallible<Self> {
        let path = test.new_path("agent");
        let listener = UnixListener::bind(&path)?;
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
            let (state, fd) = receive(&stream).map_err(|e| e.to_string())?;
            Ok(Told { state, answered: answer_all(&fd) })
        });
        Ok(Self { path, thread })
    }

    fn told(self) -> Fallible<Told> {
        Ok(self.thread.join().map_err(|_| "the agent panicked")??)
    }
}

fn receive(stream: &UnixStream) -> Result<(Value, OwnedFd), Box<dyn std::error::Error>> {
    let mut text = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds.flatten().next().ok_or("no descriptor came along")?;
    Ok((std::str::from_utf8(&text[..got.bytes])?.parse()?, fd))
}

fn answer_all(fd: &OwnedFd) -> usize {
    let mut answered = 0;
    // The descriptor hangs up once nobody has the filter any more.
    while readable(fd) {
        let Ok(request) = ScmpNotifReq::receive(fd.as_raw_fd()) else { continue };
        let answer = if is_mkdir(request.data.syscall) {
            answered += 1;
            ScmpNotifResp::new(request.id, 0, -ENOTSUP, 0)
        } else {
            ScmpNotifResp::new(request.id, 0, 0, libseccomp::ScmpNotifRespFlags::CONTINUE.bits())
        };
        let _ = answer.respond(fd.as_raw_fd());
    }
    answered
}

fn is_mkdir(call: libseccomp::ScmpSyscall) -> bool {
    call.get_name().is_ok_and(|name| name.starts_with("mkdir"))
}

fn readable(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    while poll(&mut watched, None).is_err() {}
    watched[0].revents().contains(PollFlags::IN)
}

fn bundle(test: &Test, agent: &str) -> Fallible<BundleBuilder> {
    let mut profile = allowing(&[mkdir("SCMP_ACT_NOTIFY")]);
    profile["listenerPath"] = json!(agent);
    profile["listenerMetadata"] = json!("some words");
    Ok(test.bundle()?.set("/linux/seccomp", profile))
}

fn answers(test: &Test) -> Outcome {
    for no_new_privileges in [true, false] {
        let agent = Agent::start(test)?;
        let bundle = bundle(test, &agent.path)?
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .script("exec 2>&1; mkdir /tmp/x; mkdir /tmp/y; ls /tmp");
        let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
        assert_eq!(output.stdout.matches("Operation not supported").count(), 2, "{output}");
        assert_eq!(agent.told()?.answered, 2);
    }
    Ok(())
}

fn answers_after_create(test: &Test) -> Outcome {
    let agent = Agent::start(test)?;
    let bundle = bundle(test, &agent.path)?.script("mkdir /tmp/x 2>/said");
    let container = test.container(&bundle.build()?);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("start", &[]).succeeds()?;
    container.wait_for_status("stopped")?;
    assert!(container.bundle.read("/said").contains("Operation not supported"));
    container.delete()?;
    assert_eq!(agent.told()?.answered, 1);
    Ok(())
}

fn answers_exec(test: &Test) -> Outcome {
    let first = Agent::start(test)?;
    let container = test.container(&bundle(test, &first.path)?.script(SLEEPER).build()?);
    container.run(&[])?;
    std::fs::remove_file(&first.path)?;
    // The profile is the container's, so is the path; somebody else listens there now.
    let listener = UnixListener::bind(&first.path)?;
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
        let (state, fd) = receive(&stream).map_err(|e| e.to_string())?;
        Ok(Told { state, answered: answer_all(&fd) })
    });
    let second = Agent { path: first.path.clone(), thread };
    let output = container.exec(&[], &["sh", "-c", "mkdir /tmp/x 2>&1; true"]).succeeds()?;
    assert!(output.stdout.contains("Operation not supported"), "{output}");
    let told = second.told()?;
    assert_eq!(told.answered, 1);
    assert_ne!(told.state["pid"], json!(container.pid()?));
    assert_eq!(told.state["state"]["pid"], json!(container.pid()?));
    container.delete()?;
    first.told().map(drop)
}

fn is_told_the_state(test: &Test) -> Outcome {
    let agent = Agent::start(test)?;
    let bundle = bundle(test, &agent.path)?.set("/annotations", json!({"a": "b"})).script(SLEEPER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let pid = container.pid()?;
    container.delete()?;
    let expected = json!({
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "some words",
        "state": {
            "ociVersion": "1.3.0",
            "id": container.id,
            "status": "creating",
            "pid": pid,
            "bundle": container.bundle.directory(),
            "annotations": {"a": "b"},
        },
    });
    assert_eq!(agent.told()?.state, expected);
    Ok(())
}

/// Whatever the runtime does behind its filter, the listener can decide about it already.
fn sees_what_the_runtime_does_last(test: &Test) -> Outcome {
    let agent = Agent::start(test)?;
    let names = ["read", "close", "capset", "execve", "accept4", "sendmsg", "recvmsg", "mkdir", "mkdirat"];
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]});
    let bundle = test.bundle()?.set("/linux/seccomp", profile).set("/process/noNewPrivileges", json!(false));
    let container = test.container(&bundle.script("mkdir /tmp/x").build()?);
    container.quiet("create", &[]).succeeds()?;
    container.cmd("start", &[]).succeeds()?;
    container.wait_for_status("stopped")?;
    container.delete()?;
    assert_eq!(agent.told()?.answered, 1);
    Ok(())
}

fn nobody_listens(test: &Test) -> Outcome {
    let path = test.new_path("nobody");
    let bundle = bundle(test, &path)?.script(SLEEPER).build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["linux.seccomp.listenerPath", &path, "no such file"])?;
    test.leaves_nothing()?;
    let output = test.container(&bundle).cmd("create", &["--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["linux.seccomp.listenerPath", &path, "no such file"])?;
    test.leaves_nothing()
}

fn waits_killably(test: &Test) -> Outcome {
    let agent = Agent::start(test)?;
    let bundle = bundle(test, &agent.path)?
        .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]))
        .script("mkdir /tmp/x 2>&1; true");
    let output = test.container(&bundle.build()?).run_foreground(&[]).succeeds()?;
    assert!(output.stdout.contains("Operation not supported"), "{output}");
    agent.told().map(drop)
}

fn is_not_checkpointed(test: &Test) -> Outcome {
    let agent = Agent::start(test)?;
    let container = test.container(&bundle(test, &agent.path)?.script(SLEEPER).build()?);
    container.run(&[])?;
    let images = test.new_path("images");
    let output = container.cmd("checkpoint", &["--image-path", &images]).fails()?;
    one_line(test, &output, &["cannot be checkpointed", "SCMP_ACT_NOTIFY"])?;
    assert_eq!(container.status()?, "running");
    assert!(!std::path::Path::new(&images).exists());
    container.delete()?;
    agent.told().map(drop)
}
