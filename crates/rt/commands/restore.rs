use super::{Target, criu_options::CriuOptions, exit_of};
use crate::context::Context;
use crate::exit::Exit;
use crate::progress::Meter;
use anyhow::{Context as _, bail};
use clap::Args;
use container::restore::{Restore, Tolerances, restore};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Bring a container back from a directory of images
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: CriuOptions,
    /// The bundle's directory [default: the current one]
    #[arg(long, short, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Send the terminal's master to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Return when the container runs, instead of when it has ended
    #[arg(long, short)]
    detach: bool,
    /// Write init's process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Do not adopt the container's orphans
    #[arg(long)]
    no_subreaper: bool,
    /// Accepted for runc's sake: CRIU makes the root, and always pivots
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Stand this many descriptors, from 3 on, for those that the container was passed when it was made
    #[arg(long, value_name = "N")]
    preserve_fds: Option<u32>,
    /// Fetch memory when it is needed, from `criu lazy-pages` with the same --work-path
    #[arg(long)]
    lazy_pages: bool,
    /// Accepted for the engines' sake: the images know what they build on
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Accept files whose permissions have changed since the checkpoint
    #[arg(long)]
    skip_file_rwx_check: bool,
    /// Skip kernel parameters that this kernel does not have
    #[arg(long)]
    weak_sysctls: bool,
    /// Restore mounts the way CRIU did before 3.17 (kernels older than 5.15)
    #[arg(long)]
    mntns_compat_mode: bool,
    /// Use another security profile (apparmor:NAME or selinux:LABEL)
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// Use another SELinux context for mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
    /// Stand this descriptor for a resource of the outside, in CRIU's words (fd[3]:pipe:[1234], fd[4]:file[1a:2b], ...)
    #[arg(long, value_name = "fd[N]:RESOURCE")]
    inherit_fd: Vec<String>,
    /// Leave the container paused: not one of its processes runs before `resume`
    #[arg(long)]
    leave_stopped: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<Exit> {
    let options = arguments.options;
    let mut stats = options.open_stats()?;
    let request = Restore {
        id: arguments.target.id()?,
        bundle: arguments.bundle,
        images: options.images(),
        work: options.work(),
        allow: options.allowances()?,
        lazy_pages: arguments.lazy_pages,
        auto_dedup: options.auto_dedup(),
        tolerate: Tolerances {
            file_modes: arguments.skip_file_rwx_check,
            missing_sysctls: arguments.weak_sysctls,
            old_mounts: arguments.mntns_compat_mode,
        },
        criu: context.criu()?,
        criu_config: options.criu_config(),
        inherit_fds: arguments.inherit_fd.iter().map(|text| inherited(text)).collect::<Result<_, _>>()?,
        passed: passed(arguments.preserve_fds),
        leave_paused: arguments.leave_stopped,
        console_socket: arguments.console_socket,
        pid_file: arguments.pid_file,
        detach: arguments.detach,
        no_new_keyring: arguments.no_new_keyring,
        no_subreaper: arguments.no_subreaper,
        systemd: context.systemd.clone(),
        lsm_profile: arguments.lsm_profile,
        lsm_mount_context: arguments.lsm_mount_context,
    };
    let ready = |outcome: &_| stats.write(outcome);
    let outcome = Meter::new("restore").during(|watch| restore(&context.store, &request, watch, ready))?;
    Ok(exit_of(outcome.exit))
}

/// The first descriptors behind stdio. Engines may name more than there are.
fn passed(count: Option<u32>) -> Vec<Option<OwnedFd>> {
    const MOST: u16 = 4096;
    let count = count.map_or(0, |count| u16::try_from(count).unwrap_or(MOST).min(MOST));
    (3..3 + i32::from(count)).map(|number| sys::process::inherited(number).ok()).collect()
}

/// What `--inherit-fd` names: CRIU's `fd[N]:RESOURCE`.
fn inherited(text: &str) -> anyhow::Result<(String, OwnedFd)> {
    let parts = text.strip_prefix("fd[").and_then(|rest| rest.split_once("]:"));
    let parsed = parts.and_then(|(number, resource)| Some((number.parse::<i32>().ok()?, resource)));
    let Some((number, resource)) = parsed.filter(|(number, resource)| *number >= 0 && !resource.is_empty())
    else {
        bail!(
            "--inherit-fd {text:?}: must be fd[N]:RESOURCE, with the number of a descriptor that is open here"
        );
    };
    let fd = sys::process::inherited(number).with_context(|| format!("--inherit-fd {text:?}"))?;
    Ok((resource.to_owned(), fd))
}
