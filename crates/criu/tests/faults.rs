//! A scripted criu at the other end of the socket: each way in which it may break the protocol, or off.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use criu::{
    Answer, Dump, Error, ExternalFiles, Features, Images, InheritFd, Notify, Operation, Session, Version,
};
use prost::Message;
use sys::seqpacket;

mod wire {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/criu.rs"));
}

use wire::{CriuNotify, CriuReq, CriuReqType, CriuResp};

/// What the peer does with the socket, in a thread of its own; it hands back the requests it got.
fn peer(script: impl FnOnce(&Peer) + Send + 'static) -> (Session, JoinHandle<()>) {
    let (ours, theirs) = seqpacket::pair().unwrap();
    let thread = std::thread::spawn(move || script(&Peer(theirs)));
    (Session::over(ours), thread)
}

struct Peer(OwnedFd);

impl Peer {
    fn request(&self) -> CriuReq {
        CriuReq::decode(seqpacket::receive(&self.0).unwrap().expect("a request").data.as_slice()).unwrap()
    }

    fn answer(&self, kind: CriuReqType, success: bool) {
        self.send(&CriuResp { r#type: kind.into(), success, ..Default::default() });
    }

    fn send(&self, answer: &CriuResp) {
        seqpacket::send(&self.0, &answer.encode_to_vec(), &[]).unwrap();
    }

    /// Tells of a stage, with descriptors, and takes the answer.
    fn notify(&self, stage: &str, pid: Option<i32>, fds: usize) -> CriuReq {
        let null = File::open("/dev/null").unwrap();
        let notify = Some(CriuNotify { script: Some(stage.into()), pid });
        let message =
            CriuResp { r#type: CriuReqType::Notify.into(), success: true, notify, ..Default::default() };
        seqpacket::send(&self.0, &message.encode_to_vec(), &vec![null.as_fd(); fds]).unwrap();
        self.request()
    }
}

/// Runs a dump against a script.
fn dump(
    notify: &mut dyn Notify,
    script: impl FnOnce(&Peer) + Send + 'static,
) -> criu::Result<criu::DumpOutcome> {
    let (session, thread) = peer(script);
    let images = tempfile::tempdir().unwrap();
    let dir = File::open(images.path()).unwrap();
    let outcome = session.dump(&Dump::new(4711, Images::new(dir.as_fd())), notify);
    thread.join().unwrap();
    outcome
}

/// Wants every notification, writes them down, and refuses one.
#[derive(Default)]
struct Scribe {
    seen: Vec<String>,
    refuse: Option<&'static str>,
}

impl Scribe {
    fn note(&mut self, what: String) -> Answer {
        let refused = self.refuse == Some(what.as_str());
        self.seen.push(what);
        if refused { Err("the disk is\nfull".into()) } else { Ok(()) }
    }
}

impl Notify for Scribe {
    fn pre_dump(&mut self) -> Answer {
        self.note("pre-dump".into())
    }
    fn post_dump(&mut self) -> Answer {
        self.note("post-dump".into())
    }
    fn setup_namespaces(&mut self, pid: i32) -> Answer {
        self.note(format!("setup-namespaces {pid}"))
    }
    fn orphan_pts_master(&mut self, _master: OwnedFd) -> Answer {
        self.note("orphan-pts-master".into())
    }
    fn query_external_files(&mut self) -> Answer<ExternalFiles> {
        self.note("query-ext-files".into())?;
        let inherit_fds = vec![InheritFd { key: "file[1b:2]".into(), fd: 5 }];
        Ok(ExternalFiles { external: vec!["file[1b:2]".into()], inherit_fds })
    }
    fn unknown(&mut self, stage: &str, fds: Vec<OwnedFd>) -> Answer {
        self.note(format!("{stage} with {} descriptors", fds.len()))
    }
}

#[test]
fn notifications_are_answered_and_carry_what_they_should() {
    let mut scribe = Scribe::default();
    let outcome = dump(&mut scribe, |peer| {
        assert_eq!(peer.request().opts.unwrap().notify_scripts, Some(true));
        for (stage, pid, fds) in [
            ("pre-dump", None, 0),
            ("setup-namespaces", Some(7), 0),
            ("orphan-pts-master", None, 1),
            ("of-the-future", None, 2),
            ("network-lock", None, 1),
        ] {
            let answer = peer.notify(stage, pid, fds);
            assert_eq!(
                (answer.r#type, answer.notify_success),
                (CriuReqType::Notify.into(), Some(true)),
                "{stage}"
            );
        }
        let files = peer.notify("query-ext-files", None, 0).opts.unwrap();
        assert_eq!((files.images_dir_fd, files.external.len(), files.inherit_fd[0].fd), (-1, 1, 5));
        peer.answer(CriuReqType::Dump, true);
    })
    .unwrap();
    let stages: Vec<&str> = outcome.timeline.marks.iter().map(|mark| mark.stage.as_str()).collect();
    assert_eq!(stages.len(), 6);
    assert_eq!(stages[4..], ["network-lock", "query-ext-files"]);
    let seen = ["pre-dump", "setup-namespaces 7", "orphan-pts-master", "of-the-future with 2 descriptors"];
    assert_eq!(scribe.seen[..4], seen);
    assert!(outcome.stats.is_none());
}

#[test]
fn who_does_not_care_is_not_asked() {
    dump(&mut (), |peer| {
        assert_eq!(peer.request().opts.unwrap().notify_scripts, None);
        peer.answer(CriuReqType::Dump, true);
    })
    .unwrap();
}

#[test]
fn a_refusal_is_told_with_its_stage_and_reason_although_others_follow() {
    let mut scribe = Scribe { refuse: Some("post-dump"), ..Default::default() };
    let error = dump(&mut scribe, |peer| {
        peer.request();
        assert_eq!(peer.notify("post-dump", None, 0).notify_success, Some(false));
        assert_eq!(peer.notify("network-unlock", None, 0).notify_success, Some(true));
        peer.answer(CriuReqType::Dump, false);
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "criu dump failed: refused at post-dump: the disk is full");
}

#[test]
fn success_false_carries_errno_and_message() {
    let failed = |errno, message: Option<&str>| {
        let cr_errmsg = message.map(str::to_owned);
        let error = dump(&mut (), move |peer| {
            peer.request();
            let kind = CriuReqType::Dump.into();
            peer.send(&CriuResp { r#type: kind, cr_errno: errno, cr_errmsg, ..Default::default() });
        });
        error.unwrap_err().to_string()
    };
    assert_eq!(failed(Some(3), None), "criu dump failed: no such process");
    assert_eq!(failed(None, Some("Error (a.c:1): odd\n")), "criu dump failed: Error (a.c:1): odd");
    let full = failed(
        None,
        Some("Error (criu/page-xfer.c:263): page-xfer: Unable to spice data: No space left on device"),
    );
    assert!(full.contains("[no-space]: Error (criu/page-xfer.c:263)"), "{full}");
    let harmless =
        "Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted";
    assert_eq!(failed(None, Some(harmless)), "criu dump failed: criu gives no reason");
}

#[test]
fn a_request_that_criu_does_not_know_is_a_failure() {
    let error = dump(&mut (), |peer| {
        peer.request();
        peer.send(&CriuResp { r#type: 0, cr_errno: Some(56), ..Default::default() });
    });
    assert_eq!(error.unwrap_err().to_string(), "criu dump failed: invalid request code");
}

#[test]
fn broken_messages_are_protocol_errors() {
    let problem = |script: fn(&Peer)| match dump(&mut Scribe::default(), script).unwrap_err() {
        Error::Protocol { operation: Operation::Dump, problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    let short = problem(|peer| {
        peer.request();
        let whole =
            CriuResp { r#type: 1, success: true, cr_errmsg: Some("abc".into()), ..Default::default() };
        let bytes = whole.encode_to_vec();
        seqpacket::send(&peer.0, &bytes[..bytes.len() - 1], &[]).unwrap();
    });
    assert!(short.contains("cannot be decoded"), "{short}");
    let wrong = problem(|peer| {
        peer.request();
        peer.answer(CriuReqType::Restore, true);
    });
    assert_eq!(wrong, "an answer of type 2 came");
    let empty = problem(|peer| {
        peer.request();
        peer.answer(CriuReqType::Notify, true);
    });
    assert_eq!(empty, "a notification without content");
    let bare = problem(|peer| {
        peer.request();
        let notify = Some(CriuNotify { script: Some("orphan-pts-master".into()), pid: None });
        peer.send(&CriuResp { r#type: CriuReqType::Notify.into(), notify, ..Default::default() });
    });
    assert_eq!(bare, "notification orphan-pts-master came without a descriptor");
}

#[test]
fn a_peer_that_dies_is_told_with_its_last_stage() {
    let error = dump(&mut Scribe::default(), |peer| {
        peer.request();
        peer.notify("pre-dump", None, 0);
    });
    assert_eq!(error.unwrap_err().to_string(), "criu died during dump after pre-dump");
    let error = dump(&mut (), |_| {});
    assert_eq!(error.unwrap_err().to_string(), "criu died during dump");
}

#[test]
fn a_message_of_a_mebibyte_is_read_whole() {
    let error = dump(&mut (), |peer| {
        peer.request();
        let cr_errmsg = Some("x".repeat(1 << 20));
        let answer = CriuResp { r#type: CriuReqType::Dump.into(), cr_errmsg, ..Default::default() };
        if let Err(error) = seqpacket::send(&peer.0, &answer.encode_to_vec(), &[]) {
            eprintln!("SKIP large messages need CAP_NET_ADMIN: {error}");
            peer.answer(CriuReqType::Dump, false);
        }
    });
    let Error::Failed(failure) = error.unwrap_err() else { panic!() };
    assert!(failure.message.is_none_or(|message| message.len() == 1 << 20));
}

#[test]
fn questions_keep_the_session_and_its_end_is_remembered() {
    let (mut session, thread) = peer(|peer| {
        let request = peer.request();
        assert_eq!((request.r#type, request.keep_open), (CriuReqType::Version.into(), Some(true)));
        let version =
            wire::CriuVersion { major_number: 4, minor_number: 1, sublevel: Some(1), ..Default::default() };
        let kind = CriuReqType::Version.into();
        peer.send(&CriuResp { r#type: kind, success: true, version: Some(version), ..Default::default() });
        let asked = peer.request().features.unwrap();
        assert_eq!((asked.mem_track, asked.lazy_pages), (Some(true), None));
        let features = wire::CriuFeatures { mem_track: Some(true), ..Default::default() };
        let kind = CriuReqType::FeatureCheck.into();
        peer.send(&CriuResp { r#type: kind, success: true, features: Some(features), ..Default::default() });
        peer.request();
        peer.answer(CriuReqType::Version, false);
    });
    assert_eq!(session.version().unwrap(), Version::new(4, 1, 1));
    let wanted = Features { mem_track: true, ..Features::default() };
    assert_eq!(session.features(wanted).unwrap(), wanted);
    session.version().unwrap_err();
    let error = session.features(wanted).unwrap_err();
    assert_eq!(error.to_string(), "criu feature check: the session has ended with version");
    thread.join().unwrap();
}
