//! The stages CRIU tells of while it works, and the answers.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::InheritFd;
use crate::options::set;
use crate::wire;

/// Why a stage was refused; anything that displays will do (`?` converts errors, `.into()` texts).
pub type Reason = Box<dyn std::error::Error + Send + Sync>;

/// An answer to a notification: go on, or stop the operation with a reason.
pub type Answer<T = ()> = Result<T, Reason>;

/// Files outside the dumped tree, named once it is frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalFiles {
    /// As [`crate::Dump::external`]; for files `file[<mount id>:<inode>]`, both in lower-case hexadecimal. CRIU asks before it looks
    /// at mounts, so these may be named here, too.
    pub external: Vec<String>,
    /// Descriptors in their place.
    pub inherit_fds: Vec<InheritFd>,
}

/// Somebody who wants to know how far CRIU is.
///
/// CRIU stops at each stage until it is answered, so an answer must come soon; in a dump the tasks are frozen between
/// `network-lock` and `post-dump`. A refusal makes CRIU undo what it did and report a failure, which then carries the
/// reason. The exceptions are the stages that CRIU does not go back from: refusing `network-unlock`, `pre-resume` or
/// `post-resume` only leaves a warning in our log.
///
/// The unit type is the one that does not care: for it CRIU is told not to ask.
pub trait Notify {
    /// Whether CRIU shall notify at all.
    fn wanted(&self) -> bool {
        true
    }

    /// After which time without a word from CRIU [`Notify::waiting`] is called; `None` for never.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// CRIU works on, and has nothing to tell.
    fn waiting(&mut self) {}

    /// CRIU has answered that all is done, and is about to end.
    fn answered(&mut self) {}

    /// A dump begins; nothing is frozen yet.
    fn pre_dump(&mut self) -> Answer {
        Ok(())
    }

    /// All images are written and the tasks still frozen: the last moment to keep them alive by refusing, and the
    /// moment to copy files of theirs.
    fn post_dump(&mut self) -> Answer {
        Ok(())
    }

    /// A restore begins; nothing has been made yet.
    fn pre_restore(&mut self) -> Answer {
        Ok(())
    }

    /// All tasks exist, restored and stopped: the last moment to refuse, which kills them. `pid` is the root of the
    /// tree in our pid namespace.
    fn post_restore(&mut self, _pid: i32) -> Answer {
        Ok(())
    }

    /// TCP connections are about to be read or written: hold back their packets.
    fn network_lock(&mut self) -> Answer {
        Ok(())
    }

    /// Packets may pass again.
    fn network_unlock(&mut self) -> Answer {
        Ok(())
    }

    /// The root task exists in its new namespaces, which are empty; `pid` is in our pid namespace.
    fn setup_namespaces(&mut self, _pid: i32) -> Answer {
        Ok(())
    }

    /// The namespaces' contents are restored, mounts included.
    fn post_setup_namespaces(&mut self) -> Answer {
        Ok(())
    }

    /// The restored tasks are complete and about to run: the moment to move addresses. Too late to refuse (CRIU 4.1
    /// and 4.2 go on).
    fn pre_resume(&mut self) -> Answer {
        Ok(())
    }

    /// The restored tasks run.
    fn post_resume(&mut self) -> Answer {
        Ok(())
    }

    /// The master side of a terminal whose slave the restored tree uses
    /// ([`crate::Restore::orphan_pts_master`]).
    fn orphan_pts_master(&mut self, _master: OwnedFd) -> Answer {
        Ok(())
    }

    /// A page server or a lazy dump listens.
    fn status_ready(&mut self) -> Answer {
        Ok(())
    }

    /// Images are about to be streamed.
    fn pre_stream(&mut self) -> Answer {
        Ok(())
    }

    /// The tasks are frozen, and CRIU asks which of their files are somebody else's; CRIU 3.19.
    fn query_external_files(&mut self) -> Answer<ExternalFiles> {
        Ok(ExternalFiles::default())
    }

    /// A stage of a newer CRIU than this crate knows.
    fn unknown(&mut self, _stage: &str, _fds: Vec<OwnedFd>) -> Answer {
        Ok(())
    }
}

impl Notify for () {
    fn wanted(&self) -> bool {
        false
    }
}

/// A notification that breaks the protocol.
pub(crate) type Problem = String;

/// Asks `notify` about one stage; the answer may carry options.
pub(crate) fn dispatch(
    notify: &mut dyn Notify,
    stage: &str,
    pid: Option<i32>,
    mut fds: Vec<OwnedFd>,
) -> Result<Answer<Option<wire::CriuOpts>>, Problem> {
    let need_pid = || pid.ok_or_else(|| format!("notification {stage} came without a pid"));
    let answer = match stage {
        "orphan-pts-master" => match fds.pop() {
            Some(master) => notify.orphan_pts_master(master),
            None => return Err(format!("notification {stage} came without a descriptor")),
        },
        "query-ext-files" => return Ok(notify.query_external_files().map(|files| files.to_wire())),
        "setup-namespaces" => notify.setup_namespaces(need_pid()?),
        "post-restore" => notify.post_restore(need_pid()?),
        "pre-dump" => notify.pre_dump(),
        "post-dump" => notify.post_dump(),
        "pre-restore" => notify.pre_restore(),
        "network-lock" => notify.network_lock(),
        "network-unlock" => notify.network_unlock(),
        "post-setup-namespaces" => notify.post_setup_namespaces(),
        "pre-resume" => notify.pre_resume(),
        "post-resume" => notify.post_resume(),
        "status-ready" => notify.status_ready(),
        "pre-stream" => notify.pre_stream(),
        other => notify.unknown(other, std::mem::take(&mut fds)),
    };
    if !fds.is_empty() {
        ::log::warn!("criu sent {} descriptors with {stage} that nobody expects; closing them", fds.len());
    }
    Ok(answer.map(|()| None))
}

impl ExternalFiles {
    /// `None` when there is nothing to say. The required images_dir_fd is -1, which CRIU does not look at here.
    fn to_wire(&self) -> Option<wire::CriuOpts> {
        let any = !self.external.is_empty() || !self.inherit_fds.is_empty();
        any.then(|| wire::CriuOpts {
            images_dir_fd: -1,
            external: self.external.clone(),
            inherit_fd: InheritFd::list(&self.inherit_fds),
            ..Default::default()
        })
    }
}

/// The request that answers a notification.
pub(crate) fn reply(answer: &Answer<Option<wire::CriuOpts>>) -> wire::CriuReq {
    wire::CriuReq {
        r#type: wire::CriuReqType::Notify.into(),
        notify_success: Some(answer.is_ok()),
        opts: answer.as_ref().ok().and_then(Clone::clone),
        ..Default::default()
    }
}

/// Sets the option that makes CRIU notify.
pub(crate) fn put(notify: &dyn Notify, opts: &mut wire::CriuOpts) {
    opts.notify_scripts = set(notify.wanted());
}
