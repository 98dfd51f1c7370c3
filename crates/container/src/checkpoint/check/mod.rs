//! `checkpoint --check`: what would stand in the way of a dump, found without stopping or changing anything; and `criu check`, the
//! same for a machine alone.
//!
//! [`look::Look`] reads what /proc tells of the container's processes; the functions called `judge` are told what was read and read
//! nothing themselves. After a dump that failed the same look says what CRIU's log does not.

mod allowed;
mod descriptors;
mod finding;
mod look;
mod machine;
mod mappings;
mod mounts;
mod proc;
mod processes;
mod scratch;
mod sockets;
mod space;

pub use finding::{Finding, Verdict};

use super::{Checkpoint, Kind, Subject, criu_config, network};
use crate::checkpoint::After;
use crate::error::{Error, Result};
use crate::store::{Record, Store};
use allowed::Allowed;
use criu::{Class, Launch, NetworkLock, PageSocket};
use look::Look;
use machine::{Machine, Needs};
use scratch::Scratch;
use serde::Serialize;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a check found, the worst first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether a dump would work.
    pub works: bool,
    /// One for each thing that was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    fn new(mut findings: Vec<Finding>) -> Self {
        findings.dedup();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        Self { works: findings.iter().all(|finding| finding.verdict != Verdict::WouldFail), findings }
    }
}

/// Looks whether the checkpoint that is asked for would work.
pub fn check(store: &Store, request: &Checkpoint) -> Result<Report> {
    let (entry, record) = store.look(&request.id)?;
    // What is wrong with the request is no finding about the container.
    criu_config::file(request.criu_config.as_deref(), &entry.config()?)?;
    let (mut findings, look) = match Subject::find(&entry, &record, request.criu_config.as_deref()) {
        // What cannot be dumped at all, whatever it does.
        Err(Error::Request(reason)) => (vec![Finding::fails(Class::Unsupported, reason)], None),
        Err(other) => return Err(other),
        Ok(subject) => {
            let allowed = Allowed::by(request, &record).with_files(subject.criu_config.as_deref());
            let look = Look::at(&record, subject.init, &subject.external(request)?)?;
            (Vec::new(), Some((subject, allowed, look)))
        }
    };
    let machine = ask(&request.criu);
    let is_criu_blind = machine.as_ref().is_ok_and(Machine::is_criu_blind);
    let needs = look.as_ref().map(|(subject, _, look)| needs(request, subject, look)).unwrap_or_default();
    match machine {
        Ok(machine) => findings.extend(machine.judge(Some(needs))),
        Err(refusal) => findings.push(refusal),
    }
    let memory = look.as_ref().map(|(_, _, look)| look.memory()).filter(|_| writes_memory(request));
    findings.extend(space::judge(&request.images, memory, request.memory.parent.is_some()));
    findings
        .extend(request.memory.parent.as_deref().map(|parent| space::judge_parent(&request.images, parent)));
    if let Some((_, allowed, look)) = look {
        findings.push(Finding::ok(Class::Unsupported, look.summary()));
        let found = look.judge(&allowed, is_criu_blind).into_iter();
        findings.extend(found.map(|finding| for_kind(finding, request.kind)));
    }
    Ok(Report::new(findings))
}

/// What is found where all that /proc tells is `text`; for the fuzzer.
pub(crate) fn judge_text(text: &str) -> Vec<Finding> {
    Look::at_text(text).judge(&Allowed::default().with_text(text), false)
}

/// Looks whether CRIU would work on this machine.
pub fn check_machine(criu: &Path) -> Report {
    let mut findings = match ask(criu) {
        Ok(machine) => machine.judge(None),
        Err(refusal) => return Report::new(vec![refusal]),
    };
    findings.push(match look_over(criu) {
        Ok(()) => Finding::ok(Class::KernelFeature, kernel()),
        Err(error) => refused(&error, Class::KernelFeature),
    });
    Report::new(findings)
}

fn kernel() -> String {
    let kept = match criu::kernel_cache::kept_in() {
        Some(place) => format!("what it knows of the kernel is kept in {place}"),
        None => "it asks the kernel anew each time".to_owned(),
    };
    format!("criu check finds all it needs; {kept}")
}

/// CRIU's own check of the kernel.
fn look_over(criu: &Path) -> Result<()> {
    let scratch = Scratch::make()?;
    let _view = criu::kernel_cache::view();
    let session = Launch::new(criu.to_owned()).start()?;
    Ok(session.check(&scratch.for_criu())?)
}

/// What there is of CRIU; a finding that says why there is nothing.
fn ask(criu: &Path) -> std::result::Result<Machine, Finding> {
    let _view = criu::kernel_cache::view();
    let started = Launch::new(criu.to_owned()).start();
    let asked = started.and_then(|mut session| Machine::ask(criu.to_owned(), &mut session));
    asked.map_err(|error| refused(&Error::of_criu(criu)(error), Class::CriuMissing))
}

fn refused(error: &Error, class: Class) -> Finding {
    Finding::fails(error.class().unwrap_or(class), sys::one_line(&error.to_string()))
}

/// What a dump needs of the machine, by what is asked for and what the container has.
fn needs(request: &Checkpoint, subject: &Subject, look: &Look) -> Needs {
    let allow = &request.allow;
    let is_pre_dump = matches!(request.kind, Kind::PreDump(_));
    let has_own_network = subject.namespaces.is_new(spec::oci::LinuxNamespaceType::Network);
    let is_left_out =
        allow.empty_network || network::can_be_made_anew(&subject.config, subject.init).unwrap_or(false);
    Needs {
        tracking: is_pre_dump || request.memory.track || request.memory.parent.is_some(),
        lazy_pages: request.kind == Kind::Dump(After::ServeMemory),
        iptables: match allow.network_lock {
            None => allow.tcp.established && look.is_connected(),
            Some(method) => method == NetworkLock::Iptables,
        } && !is_pre_dump,
        network: has_own_network && !is_left_out && !is_pre_dump,
    }
}

fn writes_memory(request: &Checkpoint) -> bool {
    request.memory.page_server.is_none() && request.kind != Kind::Dump(After::ServeMemory)
}

/// A pre-dump copies memory alone: what stands in the way of other things stands in the way of the dump that comes after it.
fn for_kind(finding: Finding, kind: Kind) -> Finding {
    let is_of_dump = matches!(kind, Kind::PreDump(_)) && finding.class != Class::Traced;
    if is_of_dump && finding.verdict == Verdict::WouldFail {
        Finding {
            verdict: Verdict::Warning,
            object: format!("{} (for the dump after it)", finding.object),
            ..finding
        }
    } else {
        finding
    }
}

/// What was asked of a dump, as far as it takes part in the explanation of its failure.
pub(super) struct Asked {
    init: i32,
    images: PathBuf,
    page_server: Option<PageSocket>,
    allowed: Allowed,
    external: Vec<String>,
}

impl Asked {
    pub(super) fn new(request: &Checkpoint, record: &Record, init: i32, external: Vec<String>) -> Self {
        Self {
            init,
            images: request.images.clone(),
            page_server: request.memory.page_server.clone(),
            allowed: Allowed::by(request, record),
            external,
        }
    }

    /// Says of a failed dump what its log does not, by looking at the container.
    pub(super) fn explain(&self, mut error: criu::Error, record: &Record) -> criu::Error {
        if let Some(refusal) = self.page_server.as_ref().and_then(refusal) {
            error.explain(Class::PageServer, refusal);
        }
        let Some(diagnosis) = error.diagnosis_mut() else { return error };
        if matches!(diagnosis.class, Class::NoSpace | Class::ReadOnly) {
            diagnosis.object = Some(self.images.display().to_string());
            return error;
        }
        match Look::at(record, self.init, &self.external) {
            Ok(look) => look::complete(diagnosis, &look.judge(&self.allowed, false)),
            Err(e) => log::debug!("look at the container: {e}"),
        }
        error
    }
}

/// Why nobody can be reached at an address of a page server. CRIU tells that only to who wants to know everything.
fn refusal(server: &PageSocket) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let PageSocket::Tcp { address: Some(address), port } = server else { return None };
    let place = (address.parse::<IpAddr>().ok()?, *port).into();
    let error = TcpStream::connect_timeout(&place, PATIENCE).err()?;
    Some(format!("{place}: {}", sys::strerror(error.raw_os_error()?)))
}
