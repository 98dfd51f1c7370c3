//! `events`: what a container uses, and when its memory is short.

use super::status;
use crate::error::{Error, Result, Step};
use crate::status::Status;
use crate::store::{ProcessId, Store};
use cgroup::{Cgroup, OomWatch, resctrl, stats::Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use spec::Id;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Something to tell of a container; the JSON is runc's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<Data>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Data {
    #[serde(flatten)]
    stats: Stats,
    intel_rdt: resctrl::Stats,
    /// runc tells only of interfaces that it has made itself; no config.json can ask for one.
    network_interfaces: Option<()>,
}

/// A container that is watched.
#[derive(Debug)]
pub struct Events {
    id: Id,
    cgroup: Cgroup,
    resctrl: Option<resctrl::Group>,
    init: OwnedFd,
}

impl Events {
    /// Looks at a container, which must not have ended.
    pub fn of(store: &Store, id: &Id) -> Result<Self> {
        let (entry, record) = store.look(id)?;
        let ended = || Error::Request(format!("container with id {id} is not running"));
        if matches!(status(&entry, &record)?, Status::Stopped | Status::Creating) {
            return Err(ended());
        }
        let init = record.init.map(ProcessId::pidfd).transpose()?.flatten().ok_or_else(ended)?;
        Ok(Self { id: id.clone(), cgroup: record.cgroup, resctrl: record.resctrl, init })
    }

    /// What the container uses now.
    pub fn stats(&self) -> Result<Event> {
        let stats = self.cgroup.stats()?;
        let intel_rdt = self.resctrl.as_ref().map(resctrl::Group::stats).transpose()?.unwrap_or_default();
        let data = Data { stats, intel_rdt, network_interfaces: None };
        Ok(Event { kind: "stats", id: self.id.to_string(), data: Some(Box::new(data)) })
    }

    /// Tells what happens until the container ends or `tell` has heard enough (it says whether to go on): its statistics each time
    /// `interval` has passed, and each shortage of memory at once.
    pub fn follow(&self, interval: Duration, mut tell: impl FnMut(&Event) -> Result<bool>) -> Result<()> {
        let mut oom = self.cgroup.watch_oom()?;
        let mut next = Instant::now() + interval;
        loop {
            let has_ended = self.wait(oom.as_ref(), next.saturating_duration_since(Instant::now()))?;
            if let Some(oom) = &mut oom
                && oom.hear()?
                && !tell(&Event { kind: "oom", id: self.id.to_string(), data: None })?
            {
                return Ok(());
            }
            if has_ended {
                return Ok(());
            }
            if Instant::now() >= next {
                // From now: who was stopped for an hour has not missed anything.
                next = Instant::now() + interval;
                if !tell(&self.stats()?)? {
                    return Ok(());
                }
            }
        }
    }

    /// Waits for the end of init, for news of memory, or for the time; tells whether init has ended.
    fn wait(&self, oom: Option<&OomWatch>, time: Duration) -> Result<bool> {
        let mut files = vec![PollFd::new(&self.init, PollFlags::IN)];
        if let Some((fd, flags)) = oom.map(OomWatch::poll) {
            files.push(PollFd::from_borrowed_fd(fd, flags));
        }
        // What cannot be expressed is longer than any machine runs.
        let time = Timespec::try_from(time).ok();
        match poll(&mut files, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(!files[0].revents().is_empty()),
            Err(e) => Err(std::io::Error::from(e)).step(|| format!("wait for events of {}", self.id)),
        }
    }
}
