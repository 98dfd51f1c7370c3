use super::{Target, criu::print, criu_options::CriuOptions, list::Format, pages::peer, tls::TlsOptions};
use crate::context::{self, Context};
use crate::exit::Exit;
use crate::progress::Meter;
use anyhow::bail;
use clap::Args;
use container::checkpoint::check::check;
use container::checkpoint::{After, Checkpoint, Kind, Memory, checkpoint};
use container::{PageSocket, PreDumpMode};
use std::path::PathBuf;

/// Freeze a container into a directory of images
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: CriuOptions,
    /// Let the container run on (or stay paused) afterwards
    #[arg(long)]
    leave_running: bool,
    /// Let the container stay, but paused: `resume` lets it run on, `delete --force` ends it
    #[arg(long)]
    leave_stopped: bool,
    /// Write its memory alone while it runs on, for a later checkpoint with --parent-path
    #[arg(long)]
    pre_dump: bool,
    /// How a pre-dump reads memory (splice or read) [default: splice]
    #[arg(long, value_name = "MODE")]
    pre_dump_mode: Option<String>,
    /// The images of the pre-dump before, relative to --image-path: write only what changed since
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Note down which memory changes from now on, for a checkpoint with this one as --parent-path
    #[arg(long)]
    track_mem: bool,
    /// Send memory to the page server at this address instead of writing it; with --lazy-pages serve it there
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Keep the memory here and serve it page by page to whoever restores the container
    #[arg(long)]
    lazy_pages: bool,
    /// Write a NUL byte to this descriptor when --lazy-pages is ready to serve
    #[arg(long, value_name = "FD")]
    status_fd: Option<i32>,
    /// Give unlinked files that have other names a temporary name for the restore
    #[arg(long)]
    link_remap: bool,
    /// The largest unlinked file that is kept, in bytes (suffixes K, M, G) [default: 1M]
    #[arg(long, value_name = "SIZE")]
    ghost_limit: Option<String>,
    /// Write images that runc can restore as well; takes longer
    #[arg(long)]
    portable: bool,
    /// Seconds that freezing may take [default: 10]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Let go of the container only when the images are on the disk
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    tls: TlsOptions,
    /// Only look whether this would work, without stopping anything; if not, the exit code is 1
    #[arg(long)]
    check: bool,
    /// How to print what --check finds [default: table]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.format.is_some() && !arguments.check {
        bail!("--format is of use with --check only");
    }
    let request = request(context, arguments)?;
    if arguments.check {
        return print(&check(&context.store, &request)?, arguments.format.unwrap_or(Format::Table));
    }
    let mut stats = arguments.options.open_stats()?;
    let meter = Meter::new("checkpoint");
    stats.write(&meter.during(|watch| checkpoint(&context.store, request, watch))?);
    Ok(Exit::Success)
}

fn request(context: &Context, arguments: &Arguments) -> anyhow::Result<Checkpoint> {
    let options = &arguments.options;
    Ok(Checkpoint {
        id: arguments.target.id()?,
        images: options.images(),
        work: options.work(),
        kind: arguments.kind()?,
        status: arguments.status_fd.filter(|fd| *fd >= 0).map(context::status_file).transpose()?,
        memory: Memory {
            parent: arguments.parent_path.clone().filter(|path| !path.as_os_str().is_empty()),
            track: arguments.track_mem,
            auto_dedup: options.auto_dedup(),
            page_server: arguments.page_server()?,
            tls: arguments.tls.tls(arguments.page_server.as_ref().is_some_and(|text| !text.is_empty()))?,
            sync: arguments.sync,
        },
        allow: options.allowances()?,
        link_remap: arguments.link_remap,
        ghost_limit: arguments.ghost_limit.as_deref().map(bytes).transpose()?,
        portable: arguments.portable,
        timeout: arguments.timeout,
        criu_config: options.criu_config(),
        criu: context.criu()?,
    })
}

impl Arguments {
    /// One of three kinds; what only another kind has is refused.
    fn kind(&self) -> anyhow::Result<Kind> {
        if !self.pre_dump && self.pre_dump_mode.is_some() {
            bail!("--pre-dump-mode is of use with --pre-dump only");
        }
        if !self.lazy_pages && self.status_fd.is_some_and(|fd| fd >= 0) {
            bail!("--status-fd is of use with --lazy-pages only");
        }
        match (self.pre_dump, self.lazy_pages) {
            (true, true) => {
                bail!("--pre-dump and --lazy-pages exclude each other: one writes memory, one keeps it")
            }
            (true, false) if self.leave_stopped => {
                bail!("--pre-dump and --leave-stopped exclude each other: after a pre-dump it runs on")
            }
            (true, false) => Ok(Kind::PreDump(self.pre_dump_mode()?)),
            (false, true) => self.lazy(),
            (false, false) => self.after().map(Kind::Dump),
        }
    }

    fn after(&self) -> anyhow::Result<After> {
        match (self.leave_running, self.leave_stopped) {
            (true, true) => {
                bail!("--leave-running and --leave-stopped exclude each other: it runs on or it does not")
            }
            (true, false) => Ok(After::LeaveRunning),
            (false, true) => Ok(After::LeavePaused),
            (false, false) => Ok(After::Remove),
        }
    }

    fn lazy(&self) -> anyhow::Result<Kind> {
        if self.after()? != After::Remove {
            bail!(
                "--lazy-pages excludes --leave-running and --leave-stopped: the container would be in two places"
            );
        }
        if self.page_server.is_none() {
            bail!("--lazy-pages needs --page-server ADDRESS:PORT, where the memory is to be fetched");
        }
        Ok(Kind::Dump(After::ServeMemory))
    }

    fn pre_dump_mode(&self) -> anyhow::Result<Option<PreDumpMode>> {
        Ok(match self.pre_dump_mode.as_deref() {
            None | Some("") => None,
            Some("splice") => Some(PreDumpMode::Splice),
            Some("read") => Some(PreDumpMode::VmRead),
            Some(other) => bail!("--pre-dump-mode {other:?}: must be splice or read"),
        })
    }

    fn page_server(&self) -> anyhow::Result<Option<PageSocket>> {
        let text = self.page_server.as_deref().filter(|text| !text.is_empty());
        let peer = text.map(|text| peer("--page-server", text)).transpose()?;
        Ok(peer.map(|(address, port)| PageSocket::Tcp { address: Some(address), port }))
    }
}

/// A size in bytes, as CRIU's own --ghost-limit takes it.
fn bytes(text: &str) -> anyhow::Result<u32> {
    let (number, shift) = match text.chars().last() {
        Some('K' | 'k') => (&text[..text.len() - 1], 10),
        Some('M' | 'm') => (&text[..text.len() - 1], 20),
        Some('G' | 'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match size.and_then(|size| u32::try_from(size).ok()) {
        Some(size) => Ok(size),
        None => bail!(
            "--ghost-limit {text:?}: must be a number of bytes below 4G, with K, M or G for larger units"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!((bytes("7").unwrap(), bytes("2K").unwrap(), bytes("3m").unwrap()), (7, 2048, 3 << 20));
        for text in ["", "K", "-1", "4G", "1T", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
