//! A dump of all of a container, with or without its memory.

use super::companions::Companions;
use super::frozen::Frozen;
use super::images::Directories;
use super::request::{After, Checkpoint};
use super::{DUMP_LOG, Means, Subject, cgroups, check, external, network};
use crate::error::{Error, Result};
use crate::ops::destroy;
use crate::store::{Entry, Record};
use criu::{AfterDump, CgroupMode, Dump, DumpOutcome, Features, Session};
use spec::Config;
use std::time::Duration;

/// Dumps, and takes away what is no longer to be there. Told with it: for how long the container stood still.
pub(super) fn run(
    entry: Entry,
    record: &Record,
    subject: &Subject,
    request: Checkpoint,
    after: After,
    means: Means<'_>,
) -> Result<(DumpOutcome, Duration)> {
    let Means { mut session, dirs, gauge } = means;
    let of_criu = Error::of_criu(&request.criu);
    if after == After::ServeMemory {
        require_lazy_pages(&mut session)?;
    }
    let new_network = !request.allow.empty_network
        && !request.portable
        && network::can_be_made_anew(&subject.config, subject.init)?;
    let mut dump = dump_request(&request, record, subject, after, dirs)?;
    if new_network {
        dump.external.push(external::network_of(subject.init)?);
    }
    if network::is_made_by_hooks(&subject.config, subject.init)? {
        dump.empty_ns = Some(network::EMPTY);
    }
    let asked = check::Asked::new(&request, record, subject.init, dump.external.clone());
    let companions = Companions {
        dirs,
        new_network,
        notify: crate::notify::has_directory(&entry),
        stdio_links: &record.stdio,
        created: &record.created,
        owner: mapped_root(&subject.config),
        is_labelled: subject.config.process()?.selinux_label.is_some(),
        sync: request.memory.sync,
        criu: None,
    };
    let hollow = external::HollowMounts { plan: &subject.plan, config: &subject.config, init: subject.init };
    let hollow = (!request.portable).then_some(hollow);
    let mut frozen = Frozen::new(&entry, record, after, subject.is_paused, hollow, companions);
    frozen.terminals = request.allow.shell_job;
    frozen.status = request.status;
    frozen.gauge = gauge;
    let outcome = match frozen.dump(session, dump) {
        Err(criu::Error::Died(death))
            if frozen.is_written() && !after.stays() && has_ended(record, 1000)? =>
        {
            log::warn!("{}: {death}, when all was written", entry.id);
            DumpOutcome::default()
        }
        Err(error) => {
            if frozen.is_written() {
                dirs.spoil();
            }
            let has_died = matches!(error, criu::Error::Died(_));
            let error = of_criu(asked.explain(error, record));
            // It runs on from here, if it can.
            drop(frozen);
            let is_lost = has_died && has_ended(record, 100)?;
            return Err(if is_lost { Error::Lost(Box::new(error)) } else { error });
        }
        Ok(outcome) => outcome,
    };
    let frozen_time = frozen.end()?;
    if !after.stays() {
        destroy(entry, record, Some(&subject.config))?;
    }
    Ok((outcome, frozen_time))
}

/// Whether init ends within so many milliseconds of CRIU's death. After the dump CRIU had begun to kill then, and init is the first:
/// nothing of the container has run since, and what is left of it is `destroy`'s to end; otherwise the container runs on. Before,
/// init dies of the code and the registers that CRIU gave it for a system call, and that nobody else could take back.
fn has_ended(record: &Record, milliseconds: u64) -> Result<bool> {
    record.init.map_or(Ok(true), |init| init.wait_end(Duration::from_millis(milliseconds)))
}

/// Known before anything is frozen.
fn require_lazy_pages(session: &mut Session) -> Result<()> {
    let wanted = Features { lazy_pages: true, ..Features::default() };
    if session.features(wanted)?.lazy_pages {
        return Ok(());
    }
    Err(Error::Request(
        "--lazy-pages: this kernel lacks userfaultfd(2) with non-cooperative events (CONFIG_USERFAULTFD), or CRIU may \
         not use it"
            .into(),
    ))
}

/// The request to CRIU. RPC booleans that nobody asked for stay unset, so that the administrator's configuration holds.
fn dump_request<'a>(
    request: &Checkpoint,
    record: &Record,
    subject: &Subject,
    after: After,
    dirs: &'a Directories,
) -> Result<Dump<'a>> {
    let (allow, memory) = (&request.allow, &request.memory);
    let cgroups = allow.cgroups.or(request.portable.then_some(CgroupMode::Soft));
    Ok(Dump {
        root: Some(record.rootfs.display().to_string()),
        after: if after.stays() { AfterDump::Run } else { AfterDump::Kill },
        freeze_cgroup: record.cgroup.freezer_path().map(|path| path.display().to_string()),
        external: subject.external(request)?,
        allow: criu::Allowances { link_remap: request.link_remap, ..allow.to_criu() },
        ghost_limit: request.ghost_limit,
        timeout: request.timeout,
        empty_ns: allow.empty_network.then_some(network::EMPTY),
        parent: memory.parent_for_criu(),
        // Without tracking, CRIU writes all memory, whatever stands in the parent.
        track_mem: memory.track || memory.parent.is_some(),
        auto_dedup: memory.auto_dedup,
        page_server: memory.page_server.clone(),
        tls: memory.tls.clone(),
        lazy_pages: after == After::ServeMemory,
        cgroups: cgroups::for_dump(cgroups, &subject.config, &record.cgroup, subject.init)?,
        ..Dump::new(subject.init, dirs.for_criu(DUMP_LOG, subject.criu_config.clone()))
    })
}

/// Who the container's root is on the host, where it has its own user namespace.
pub(crate) fn mapped_root(config: &Config) -> Option<u32> {
    let mut mappings = config.linux()?.uid_mappings().iter().flatten();
    mappings.find(|mapping| mapping.container_id() == 0).map(spec::oci::LinuxIdMapping::host_id)
}
