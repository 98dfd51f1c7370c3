//! One request and its answer, with the notifications in between.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::io::Errno;
use sys::seqpacket::{self, Waited};

use crate::notify::{self, Notify, Reason};
use crate::wire::{CriuReq, CriuReqType, CriuResp};
use crate::{Error, Operation, Result};

/// When CRIU told of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The stage, in CRIU's words ("network-lock").
    pub stage: String,
    /// Since the request was sent.
    pub at: Duration,
    /// How long the answer took.
    pub answered_in: Duration,
}

/// An operation's course, as seen from outside CRIU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The stages in order; none when nobody wanted to be notified.
    pub marks: Vec<Mark>,
    /// From the request to the final answer.
    pub total: Duration,
}

impl Timeline {
    /// The first mark of a stage.
    pub fn mark(&self, stage: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.stage == stage)
    }
}

/// A stage that the caller refused.
#[derive(Debug)]
pub struct Refusal {
    /// The stage, in CRIU's words.
    pub stage: String,
    /// Why.
    pub reason: Reason,
}

/// How an exchange ended when no call failed.
pub(crate) enum Ending {
    /// With an answer, good or bad.
    Answer { answer: Box<CriuResp>, refusal: Option<Refusal> },
    /// criu closed the socket.
    Closed,
}

/// A running exchange.
pub(crate) struct Exchange<'a> {
    socket: BorrowedFd<'a>,
    /// criu's pidfd, where it is our child.
    process: Option<BorrowedFd<'a>>,
    operation: Operation,
    started: Instant,
    /// What has happened so far.
    pub(crate) timeline: Timeline,
    refusal: Option<Refusal>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(socket: BorrowedFd<'a>, process: Option<BorrowedFd<'a>>, operation: Operation) -> Self {
        let (started, timeline) = (Instant::now(), Timeline::default());
        Self { socket, process, operation, started, timeline, refusal: None }
    }

    /// Sends the request and answers notifications until the final answer comes.
    pub(crate) fn run(&mut self, request: &CriuReq, notify: &mut dyn Notify) -> Result<Ending> {
        self.send(request)?;
        loop {
            if !self.wait(notify)? {
                return Ok(Ending::Closed);
            }
            let message = match seqpacket::receive(self.socket) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Ending::Closed),
                Err(source) if gone(&source) => return Ok(Ending::Closed),
                Err(source) => return Err(Error::Socket { operation: self.operation, source }),
            };
            let answer = CriuResp::decode(message.data.as_slice())
                .map_err(|error| self.problem(format!("a message cannot be decoded: {error}")))?;
            if answer.r#type != i32::from(CriuReqType::Notify) {
                return self.finish(answer);
            }
            self.notification(answer, message.fds, notify)?;
        }
    }

    /// Waits until there is something to receive. False: criu has ended, though its children may hold the socket open.
    fn wait(&self, notify: &mut dyn Notify) -> Result<bool> {
        let Some(process) = self.process else { return Ok(true) };
        loop {
            let waited = seqpacket::wait(self.socket, process, notify.interval());
            match waited.map_err(|source| Error::Socket { operation: self.operation, source })? {
                Waited::Message => return Ok(true),
                Waited::PeerEnded => return Ok(false),
                Waited::Time => notify.waiting(),
            }
        }
    }

    /// The last stage that CRIU told of.
    pub(crate) fn stage(&self) -> Option<String> {
        self.timeline.marks.last().map(|mark| mark.stage.clone())
    }

    /// Asks `notify` and passes on its answer.
    fn notification(&mut self, answer: CriuResp, fds: Vec<OwnedFd>, notify: &mut dyn Notify) -> Result<()> {
        let told = answer.notify.ok_or_else(|| self.problem("a notification without content".into()))?;
        let stage = told.script().to_owned();
        let at = self.started.elapsed();
        self.timeline.marks.push(Mark { stage: stage.clone(), at, answered_in: Duration::ZERO });
        let said =
            notify::dispatch(notify, &stage, told.pid, fds).map_err(|problem| self.problem(problem))?;
        self.send(&notify::reply(&said))?;
        let took = self.started.elapsed() - at;
        ::log::debug!("criu {}: {stage} at {at:?}, answered in {took:?}: {}", self.operation, said.is_ok());
        if let Some(mark) = self.timeline.marks.last_mut() {
            mark.answered_in = took;
        }
        if let Err(reason) = said {
            // The stages that CRIU tells of while it undoes must not hide the first refusal.
            self.refusal.get_or_insert(Refusal { stage, reason });
        }
        Ok(())
    }

    /// Checks that the final answer is one to our request.
    fn finish(&mut self, answer: CriuResp) -> Result<Ending> {
        let refused = answer.r#type == i32::from(CriuReqType::Empty) && !answer.success;
        if !refused && !self.operation.is_answered_by(answer.r#type) {
            return Err(self.problem(format!("an answer of type {} came", answer.r#type)));
        }
        self.timeline.total = self.started.elapsed();
        Ok(Ending::Answer { answer: Box::new(answer), refusal: self.refusal.take() })
    }

    /// That criu has gone is not an error here: its last words may still wait to be received.
    fn send(&self, request: &CriuReq) -> Result<()> {
        match seqpacket::send(self.socket, &request.encode_to_vec(), &[]) {
            Err(source) if !gone(&source) => Err(Error::Socket { operation: self.operation, source }),
            _ => Ok(()),
        }
    }

    fn problem(&self, problem: String) -> Error {
        Error::Protocol { operation: self.operation, stage: self.stage(), problem }
    }
}

/// Whether an error says that the peer has closed its end.
fn gone(error: &sys::Error) -> bool {
    [Errno::PIPE, Errno::CONNRESET].iter().any(|errno| error.is(errno.raw_os_error()))
}
