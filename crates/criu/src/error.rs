//! What can go wrong, as one line each.

use std::fmt;
use std::path::PathBuf;

use sys::one_line;
use sys::spawn::Exit;

use crate::Class;
use crate::diagnose::Diagnosis;
use crate::exchange::Refusal;
use crate::{log, wire};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of criu, of the way to it, or of what it was asked to do. Displays as one line, the cause first.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no criu.
    #[error("criu not found: install criu or set RT_CRIU to its path")]
    NotFound,
    /// There is something else at the path that was named.
    #[error("{path:?} cannot be used as criu: {reason}")]
    NotUsable {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// criu could not be started.
    #[error("cannot start criu: {0}")]
    Start(#[source] sys::Error),
    /// A message could not be sent or received.
    #[error("criu {operation}: {source}")]
    Socket {
        /// What was asked of criu.
        operation: Operation,
        /// The failed call.
        source: sys::Error,
    },
    /// criu ended without an answer.
    #[error("{0}")]
    Died(Box<Death>),
    /// A command of criu's failed.
    #[error("{0}")]
    Ended(Box<Ended>),
    /// criu said something that this crate does not understand.
    #[error("criu {operation}{}: {problem}: not the protocol of this criu?", at(stage.as_deref()))]
    Protocol {
        /// What was asked of criu.
        operation: Operation,
        /// The last stage it told of.
        stage: Option<String>,
        /// What is wrong with the message.
        problem: String,
    },
    /// An earlier request ended the session.
    #[error("criu {operation}: the session has ended with {ended_by}")]
    Closed {
        /// What was asked of criu.
        operation: Operation,
        /// What ended the session.
        ended_by: Operation,
    },
    /// criu did what it could and reports a failure.
    #[error("{0}")]
    Failed(Box<Failure>),
}

impl Error {
    /// What criu's log means, if it could be told.
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        match self {
            Self::Failed(failure) => failure.diagnosis.as_ref(),
            Self::Died(death) => death.diagnosis.as_ref(),
            Self::Ended(ended) => ended.diagnosis.as_ref(),
            _ => None,
        }
    }

    /// The same, for who knows more of what it is about.
    pub fn diagnosis_mut(&mut self) -> Option<&mut Diagnosis> {
        match self {
            Self::Failed(failure) => failure.diagnosis.as_mut(),
            Self::Died(death) => death.diagnosis.as_mut(),
            Self::Ended(ended) => ended.diagnosis.as_mut(),
            _ => None,
        }
    }

    /// Says what it is, where criu's log did not.
    pub fn explain(&mut self, class: Class, object: String) {
        if let Self::Failed(failure) = self
            && failure.diagnosis.is_none()
        {
            let line = failure.log.cause().map(ToString::to_string).unwrap_or_default();
            let (object, cure) = (Some(object), class.cure().to_owned());
            failure.diagnosis = Some(Diagnosis { class, object, cure, pid: None, line });
        }
    }

    /// The kind of failure, if it has a name.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::NotFound | Self::NotUsable { .. } => Some(Class::CriuMissing),
            Self::Died(death) if death.diagnosis.is_none() => Some(Class::CriuDied),
            other => other.diagnosis().map(|diagnosis| diagnosis.class),
        }
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// VERSION.
    Version,
    /// FEATURE_CHECK.
    FeatureCheck,
    /// CHECK.
    Check,
    /// CPUINFO_DUMP.
    CpuinfoDump,
    /// CPUINFO_CHECK.
    CpuinfoCheck,
    /// DUMP.
    Dump,
    /// PRE_DUMP or SINGLE_PRE_DUMP.
    PreDump,
    /// RESTORE.
    Restore,
    /// PAGE_SERVER or PAGE_SERVER_CHLD.
    PageServer,
    /// WAIT_PID.
    WaitPid,
}

impl Operation {
    /// The request's type, except for [`Operation::PreDump`] and [`Operation::PageServer`], which have two.
    pub(crate) fn kind(self) -> wire::CriuReqType {
        match self {
            Self::Version => wire::CriuReqType::Version,
            Self::FeatureCheck => wire::CriuReqType::FeatureCheck,
            Self::Check => wire::CriuReqType::Check,
            Self::CpuinfoDump => wire::CriuReqType::CpuinfoDump,
            Self::CpuinfoCheck => wire::CriuReqType::CpuinfoCheck,
            Self::Dump => wire::CriuReqType::Dump,
            Self::PreDump => wire::CriuReqType::PreDump,
            Self::Restore => wire::CriuReqType::Restore,
            Self::PageServer => wire::CriuReqType::PageServer,
            Self::WaitPid => wire::CriuReqType::WaitPid,
        }
    }

    /// Whether an answer of type `kind` is one to this request: CRIU answers its two kinds of pre-dump with their
    /// own type each, but those of page servers alike.
    pub(crate) fn is_answered_by(self, kind: i32) -> bool {
        let other = match self {
            Self::PreDump => wire::CriuReqType::SinglePreDump,
            Self::PageServer => wire::CriuReqType::PageServerChld,
            _ => self.kind(),
        };
        kind == i32::from(self.kind()) || kind == i32::from(other)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::FeatureCheck => "feature check",
            Self::Check => "check",
            Self::CpuinfoDump => "cpuinfo dump",
            Self::CpuinfoCheck => "cpuinfo check",
            Self::Dump => "dump",
            Self::PreDump => "pre-dump",
            Self::Restore => "restore",
            Self::PageServer => "page-server",
            Self::WaitPid => "wait",
        })
    }
}

/// criu's end without an answer.
#[derive(Debug)]
pub struct Death {
    /// What was asked of criu.
    pub operation: Operation,
    /// The last stage it told of.
    pub stage: Option<String>,
    /// How it ended, if it was our child and has ended.
    pub exit: Option<Exit>,
    /// The last lines it wrote to its standard error and the errors in its log.
    pub words: log::Report,
    /// What they mean.
    pub diagnosis: Option<Diagnosis>,
}

/// What is known of a failed command of criu's.
#[derive(Debug)]
pub struct Ended {
    /// The command.
    pub command: &'static str,
    /// How it ended.
    pub exit: Exit,
    /// The last lines it wrote to its standard error and the errors in its log.
    pub words: log::Report,
    /// What they mean.
    pub diagnosis: Option<Diagnosis>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "criu {} failed ({})", self.command, self.exit)?;
        write_cause(f, self.diagnosis.as_ref(), &self.words)
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "criu died during {}{}", self.operation, at(self.stage.as_deref()))?;
        if let Some(exit) = self.exit {
            write!(f, " ({exit})")?;
        }
        write_cause(f, self.diagnosis.as_ref(), &self.words)
    }
}

/// A failure that criu reported.
#[derive(Debug)]
pub struct Failure {
    /// What was asked of criu.
    pub operation: Operation,
    /// The last stage it told of.
    pub stage: Option<String>,
    /// The stage that the caller refused, if it did, and why.
    pub refusal: Option<Refusal>,
    /// criu's errno, coarse and often unset.
    pub errno: Option<i32>,
    /// criu's first line of level "error", whether it mattered or not.
    pub message: Option<String>,
    /// The errors in its log.
    pub log: log::Report,
    /// What they mean.
    pub diagnosis: Option<Diagnosis>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "criu {} failed", self.operation)?;
        if let Some(Refusal { stage, reason }) = &self.refusal {
            write!(f, ": refused at {}: {}", one_line(stage), one_line(&reason.to_string()))?;
            return write_path(f, &self.log);
        }
        if self.diagnosis.is_none() && self.log.cause().is_none() {
            match (self.message.as_deref().filter(|text| !log::is_harmless(text)), self.errno) {
                (Some(message), _) => write!(f, ": {}", one_line(message))?,
                (None, Some(errno)) => write!(f, ": {}", sys::strerror(errno))?,
                (None, None) => write!(f, "{}: criu gives no reason", at(self.stage.as_deref()))?,
            }
        }
        write_cause(f, self.diagnosis.as_ref(), &self.log)
    }
}

/// `: <what it means>: <what it is about> (<what to do>) [<class>]: <criu's line> (log: <path>)`, as far as each is known.
fn write_cause(
    f: &mut fmt::Formatter<'_>,
    diagnosis: Option<&Diagnosis>,
    report: &log::Report,
) -> fmt::Result {
    if let Some(diagnosis) = diagnosis {
        write!(f, ": {diagnosis}: {}", one_line(&diagnosis.line))?;
    } else if let Some(line) = report.cause() {
        write!(f, ": {}", one_line(&line.to_string()))?;
    }
    write_path(f, report)
}

fn write_path(f: &mut fmt::Formatter<'_>, report: &log::Report) -> fmt::Result {
    match &report.path {
        Some(path) => write!(f, " (log: {})", one_line(&path.to_string_lossy())),
        None => Ok(()),
    }
}

/// ` after <stage>`, or nothing.
fn at(stage: Option<&str>) -> String {
    stage.map(|stage| format!(" after {}", one_line(stage))).unwrap_or_default()
}
