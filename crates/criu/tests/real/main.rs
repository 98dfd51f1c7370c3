//! The real criu, on real processes. Needs root and a criu that works on this kernel; says so where they are missing.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod kernel_cache;
mod support;

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use criu::{
    AfterDump, Answer, Dump, Error, ExternalFiles, Features, InheritFd, Launch, LogLevel, Notify, PageServer,
    PageSocket, PreDump, Version,
};
use support::{Dir, Victim, binary, start};
use sys::spawn::Exit;

/// Does one thing at one stage.
struct At<F>(&'static str, F);

impl<F: FnMut() -> Answer> At<F> {
    fn at(&mut self, stage: &str) -> Answer {
        if stage == self.0 { (self.1)() } else { Ok(()) }
    }
}

impl<F: FnMut() -> Answer> Notify for At<F> {
    fn post_dump(&mut self) -> Answer {
        self.at("post-dump")
    }
    fn post_restore(&mut self, _pid: i32) -> Answer {
        self.at("post-restore")
    }
    fn status_ready(&mut self) -> Answer {
        self.at("status-ready")
    }
    fn unknown(&mut self, stage: &str, _: Vec<OwnedFd>) -> Answer {
        panic!("criu tells of {stage}, which this crate does not know");
    }
}

#[test]
fn one_process_answers_questions_and_then_dumps_and_restores() {
    let Some(binary) = binary() else { return };
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let mut session = start(&binary);
    assert!(session.version().unwrap() >= Version::new(3, 11, 0));
    let features = session.features(Features::ALL).unwrap();
    eprintln!("{features:?}");
    session.cpuinfo_dump(&dir.images(), None).unwrap();
    session.cpuinfo_check(&dir.images(), None).unwrap();
    let outcome = session.dump(&dir.dump(&victim), &mut At("", || Ok(()))).unwrap();
    let stats = outcome.stats.unwrap();
    assert!(stats.pages_written > 0 && stats.frozen > Duration::ZERO);
    assert!(outcome.timeline.mark("post-dump").unwrap().at <= outcome.timeline.total);
    assert!(!victim.alive());
    victim.reap();
    let outcome = start(&binary).restore(&dir.restore(), &mut At("", || Ok(()))).unwrap();
    let restored = Victim::restored(outcome.pid);
    assert!(restored.runs("sleep"));
    assert!(restored.status().contains(&format!("PPid:\t{}", std::process::id())));
    assert!(outcome.stats.unwrap().pages_restored > 0 && outcome.timeline.mark("pre-resume").is_some());
}

#[test]
fn a_refusal_in_post_dump_leaves_the_process_running() {
    let Some(binary) = binary() else { return };
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let error =
        start(&binary).dump(&dir.dump(&victim), &mut At("post-dump", || Err("the target is gone".into())));
    let error = error.unwrap_err().to_string();
    let log = dir.path.path().join("criu.log");
    assert_eq!(
        error,
        format!("criu dump failed: refused at post-dump: the target is gone (log: {})", log.display())
    );
    assert!(victim.alive() && !victim.stopped());
}

#[test]
fn a_refusal_in_post_restore_leaves_nothing_behind() {
    let Some(binary) = binary() else { return };
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let pid = victim.pid;
    start(&binary).dump(&dir.dump(&victim), &mut ()).unwrap();
    victim.reap();
    let mut refusal = At("post-restore", || Err("no".into()));
    let error = start(&binary).restore(&dir.restore(), &mut refusal).unwrap_err();
    assert!(error.to_string().starts_with("criu restore failed: refused at post-restore: no"), "{error}");
    Victim::restored(pid).becomes(|victim| !victim.alive());
}

#[test]
fn leaving_it_running_or_stopped() {
    let Some(binary) = binary() else { return };
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let mut dump = dir.dump(&victim);
    dump.after = AfterDump::Run;
    start(&binary).dump(&dump, &mut ()).unwrap();
    assert!(victim.alive() && !victim.stopped());
    dump.after = AfterDump::Stop;
    start(&binary).dump(&dump, &mut ()).unwrap();
    victim.becomes(Victim::stopped);
}

/// Names one file as external.
struct Declares(String);

impl Notify for Declares {
    fn query_external_files(&mut self) -> Answer<ExternalFiles> {
        Ok(ExternalFiles { external: vec![self.0.clone()], ..Default::default() })
    }
}

#[test]
fn a_file_declared_when_frozen_is_inherited_at_restore() {
    let Some(binary) = binary() else { return };
    let (dir, log) = (Dir::new(), tempfile::NamedTempFile::new().unwrap());
    let file = log.reopen().unwrap();
    let victim = Victim::shell("exec sleep 1000", file.try_clone().unwrap());
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/1", victim.pid)).unwrap();
    let field = |name: &str| -> u64 {
        info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let key = format!("file[{:x}:{:x}]", field("mnt_id:"), field("ino:"));
    start(&binary).dump(&dir.dump(&victim), &mut Declares(key.clone())).unwrap();
    victim.reap();
    let other = tempfile::NamedTempFile::new().unwrap();
    let other_file = other.reopen().unwrap();
    let mut launch = Launch::new(binary);
    let fd = launch.pass(other_file.as_fd());
    assert_eq!(fd, 4);
    let mut restore = dir.restore();
    restore.inherit_fds = vec![InheritFd { key, fd }];
    let restored = Victim::restored(launch.start().unwrap().restore(&restore, &mut ()).unwrap().pid);
    let link = std::fs::read_link(format!("/proc/{}/fd/1", restored.pid)).unwrap();
    assert_eq!(link, other.path());
}

#[test]
fn failures_name_the_cause_and_the_way_out() {
    let Some(binary) = binary() else { return };
    let cases: [(&str, &str, &str); 5] = [
        (
            "lock",
            "import fcntl; f=open(sys.argv[1]+'/x','w'); fcntl.flock(f,fcntl.LOCK_EX)",
            "(pass --file-locks)",
        ),
        (
            "ghost",
            "f=open(sys.argv[1]+'/x','w'); f.write('x'*(2<<20)); f.flush(); os.unlink(f.name)",
            "--ghost-limit",
        ),
        (
            "unlinked",
            "f=open(sys.argv[1]+'/x','w'); os.link(f.name,f.name+'2'); os.unlink(f.name)",
            "--link-remap",
        ),
        (
            "established",
            "import socket; l=socket.socket(); l.bind(('127.0.0.1',0)); l.listen()\n\
             c=socket.create_connection(l.getsockname()); a=l.accept()",
            "TCP connection|internet sockets",
        ),
        (
            "unix",
            "import socket; l=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); l.connect(sys.argv[1]+'/sock')",
            "--ext-unix-sk",
        ),
    ];
    for (name, script, expected) in cases {
        let (dir, files) = (Dir::new(), tempfile::tempdir().unwrap());
        let _peer = std::os::unix::net::UnixDatagram::bind(files.path().join("sock")).unwrap();
        let Some(victim) = Victim::python(script, &[files.path()]) else { return };
        let error = start(&binary).dump(&dir.dump(&victim), &mut ()).unwrap_err();
        let text = error.to_string();
        eprintln!("{name}: {text}");
        assert!(expected.split('|').any(|expected| text.contains(expected)), "{name}: {text}");
        assert!(text.starts_with("criu dump failed: ") && !text.contains('\n'), "{text}");
        assert!(text.ends_with(&format!("(log: {})", dir.path.path().join("criu.log").display())), "{text}");
        assert!(victim.alive() && !victim.stopped(), "{name}");
    }
}

#[test]
fn other_failures_are_told_in_criu_s_words_or_ours() {
    let Some(binary) = binary() else { return };
    let dir = Dir::new();
    let error = start(&binary).restore(&dir.restore(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("the images are incomplete"), "{error}");
    let mut images = dir.images();
    images.log_file = Some("gone.log".into());
    images.log_level = Some(LogLevel::Debug);
    let error = start(&binary).dump(&Dump::new(i32::MAX - 1, images), &mut ()).unwrap_err();
    assert!(
        error.to_string().contains("the process is gone") && error.to_string().contains("gone.log"),
        "{error}"
    );
    let victim = Victim::sleep();
    start(&binary).dump(&Dump { after: AfterDump::Run, ..dir.dump(&victim) }, &mut ()).unwrap();
    let error = start(&binary).restore(&dir.restore(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("a process id of the images is taken"), "{error}");
}

#[test]
fn pre_dumps_need_soft_dirty_pages() {
    let Some(binary) = binary() else { return };
    let (first, second, victim) = (Dir::new(), Dir::new(), Victim::sleep());
    let can = start(&binary).features(Features::ALL).unwrap().mem_track;
    let round = PreDump::new(victim.pid, first.images());
    let mut copy = start(&binary).pre_copy();
    match copy.round(&round, &mut ()) {
        Ok(outcome) => {
            assert!(can && outcome.stats.unwrap().pages_written > 0);
            let mut last = second.dump(&victim);
            let parent = first.path.path().file_name().unwrap().to_str().unwrap();
            last.parent = Some(format!("../{parent}"));
            let outcome = copy.dump(&last, &mut ()).unwrap();
            assert!(outcome.stats.unwrap().pages_skipped_parent > 0);
            victim.reap();
        }
        Err(error) => {
            eprintln!("SKIP the rounds: {error}");
            assert!(!can && error.to_string().contains("CONFIG_MEM_SOFT_DIRTY"), "{error}");
            let error = start(&binary).pre_dump(&round, &mut ()).unwrap_err();
            assert!(error.to_string().contains("CONFIG_MEM_SOFT_DIRTY"), "{error}");
        }
    }
}

#[test]
fn pages_go_to_a_page_server_over_a_port_or_a_socket() {
    let Some(binary) = binary() else { return };
    let (target, source, victim) = (Dir::new(), Dir::new(), Victim::sleep());
    let mut server = start(&binary);
    let anywhere = PageSocket::Tcp { address: Some("127.0.0.1".into()), port: 0 };
    let info = server.page_server_child(&PageServer::new(target.images(), anywhere)).unwrap();
    assert!(info.port != 0);
    let mut dump = source.dump(&victim);
    dump.after = AfterDump::Run;
    dump.page_server = Some(PageSocket::Tcp { address: Some("127.0.0.1".into()), port: info.port });
    start(&binary).dump(&dump, &mut ()).unwrap();
    assert_eq!(server.wait_pid(info.pid.unwrap()).unwrap(), Exit::Code(0));
    assert!(target.has_pages() && !source.has_pages());

    let (target, source) = (Dir::new(), Dir::new());
    let (there, here) = std::os::unix::net::UnixStream::pair().unwrap();
    let (mut receiver, mut sender) = (Launch::new(binary.clone()), Launch::new(binary));
    let (there_fd, here_fd) = (receiver.pass(there.as_fd()), sender.pass(here.as_fd()));
    let (mut server, session) = (receiver.start().unwrap(), sender.start().unwrap());
    drop((there, here));
    let info = server.page_server_child(&PageServer::new(target.images(), PageSocket::Fd(there_fd))).unwrap();
    let mut dump = source.dump(&victim);
    dump.page_server = Some(PageSocket::Fd(here_fd));
    session.dump(&dump, &mut ()).unwrap();
    assert_eq!(server.wait_pid(info.pid.unwrap()).unwrap(), Exit::Code(0));
    assert!(target.has_pages() && !source.has_pages());
}

#[test]
fn an_abandoned_page_server_is_killed_with_its_criu() {
    let Some(binary) = binary() else { return };
    let dir = Dir::new();
    let mut server = start(&binary);
    let anywhere = PageSocket::Tcp { address: Some("127.0.0.1".into()), port: 0 };
    let info = server.page_server_child(&PageServer::new(dir.images(), anywhere)).unwrap();
    let criu = server.pid().unwrap();
    drop(server);
    assert!(!Path::new(&format!("/proc/{criu}")).exists());
    // A killed process takes a moment to let go.
    let limit = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", info.port)).is_ok() {
        assert!(Instant::now() < limit, "the page server still listens");
    }
}

#[test]
fn a_lazy_dump_listens_where_it_was_told_and_nowhere_else() {
    let Some(binary) = binary() else { return };
    let mut session = start(&binary);
    if !session.features(Features::ALL).unwrap().lazy_pages {
        eprintln!("SKIP the kernel has no userfaultfd for this");
        return;
    }
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut dump = dir.dump(&victim);
    dump.lazy_pages = true;
    dump.page_server = Some(PageSocket::Tcp { address: Some("127.0.0.1".into()), port });
    let mut listening = Vec::new();
    let outcome = session.dump(
        &dump,
        &mut At("status-ready", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let port = format!(":{port:04X} ");
            let local =
                table.lines().filter_map(|line| line.split(": ").nth(1)).filter(|line| line.contains(&port));
            listening = local.map(|line| line[..8].to_owned()).collect();
            // One who says nothing ends the serving.
            drop(TcpStream::connect(
                "127.0.0.1:".to_owned() + &u16::from_str_radix(&port[1..5], 16).unwrap().to_string(),
            ));
            Ok(())
        }),
    );
    eprintln!("{outcome:?}");
    assert_eq!(listening, ["0100007F"], "{outcome:?}");
}

#[test]
fn a_criu_killed_in_the_middle_is_told_and_reaped() {
    let Some(binary) = binary() else { return };
    let (dir, victim) = (Dir::new(), Victim::sleep());
    let session = start(&binary);
    let criu = rustix::process::Pid::from_raw(session.pid().unwrap()).unwrap();
    let mut kill =
        At("post-dump", || Ok(rustix::process::kill_process(criu, rustix::process::Signal::KILL)?));
    let error = session.dump(&dir.dump(&victim), &mut kill).unwrap_err();
    let Error::Died(death) = &error else { panic!("{error}") };
    assert_eq!((death.exit, death.stage.as_deref()), (Some(Exit::Signal(9)), Some("post-dump")));
    assert!(
        error.to_string().starts_with("criu died during dump after post-dump (killed by signal 9)"),
        "{error}"
    );
    assert!(!Path::new(&format!("/proc/{}", criu.as_raw_nonzero())).exists());
}

#[test]
fn a_criu_that_cannot_start_is_told_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("criu");
    let script = "#!/bin/sh\necho 'criu: error while loading shared libraries: libnet.so.1' >&2\nexit 127\n";
    File::create(&fake).unwrap().write_all(script.as_bytes()).unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = start(&fake).version().unwrap_err();
    let expected =
        "criu died during version (exit status 127): criu: error while loading shared libraries: libnet.so.1";
    assert_eq!(error.to_string(), expected);
    let error = Launch::new("/no/such".into()).start().unwrap_err();
    assert_eq!(error.to_string(), "cannot start criu: execve(\"/no/such\"): no such file or directory");
}
