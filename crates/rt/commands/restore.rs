use super::{Target, criu_options::CriuOptions, exit_of};
use crate::context::Context;
use crate::exit::Exit;
use clap::Args;
use container::restore::{Restore, Tolerances, restore};
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
    /// Accepted for the engines' sake: a restored process has the keyrings it had
    #[arg(long)]
    no_new_keyring: bool,
    /// Accepted for the engines' sake: CRIU brings back the descriptors that were there
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
        console_socket: arguments.console_socket,
        pid_file: arguments.pid_file,
        detach: arguments.detach,
        no_subreaper: arguments.no_subreaper,
        systemd: context.systemd.clone(),
        lsm_profile: arguments.lsm_profile,
        lsm_mount_context: arguments.lsm_mount_context,
    };
    let outcome = restore(&context.store, &request, |outcome| stats.write(outcome))?;
    Ok(exit_of(outcome.exit))
}
