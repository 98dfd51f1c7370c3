use super::{Target, exit_of};
use crate::context::{self, Context};
use crate::exit::Exit;
use anyhow::{Context as _, bail};
use clap::Args;
use container::ops::{self, Exec, ExecUser};
use std::path::PathBuf;

/// Run one more process in a container
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Send the terminal's master to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a descriptor of the process to this unix socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set an environment variable (NAME=value; may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// Run as this user (UID[:GID], numbers)
    #[arg(long, short, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Add a supplementary group (may be repeated)
    #[arg(long, short = 'g', value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Read the whole process from this JSON file
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when it runs, instead of when it has ended
    #[arg(long, short)]
    detach: bool,
    /// Write its process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Run with this SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Run in this AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// execve(2) can no longer grant privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability (may be repeated)
    #[arg(long, short, value_name = "CAP")]
    cap: Vec<String>,
    /// Pass this many descriptors, from 3 on, to it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
    /// Run it in this sub-cgroup of the container's, which must exist (may be repeated, once for each controller)
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,
    /// Start it in a paused container too
    #[arg(long)]
    ignore_paused: bool,
    #[command(flatten)]
    target: Target,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<Exit> {
    let request = request(arguments)?;
    context::seal(0, request.preserve_fds)?;
    Ok(exit_of(ops::exec(&context.store, &request)?))
}

fn request(arguments: Arguments) -> anyhow::Result<Exec> {
    let process = arguments.process.as_ref().map(|path| {
        let bytes = std::fs::read(path).with_context(|| format!("--process {}", path.display()))?;
        anyhow::Ok(::spec::Process::parse(&bytes, &path.display().to_string())?)
    });
    let process = process.transpose()?;
    if let Some(entry) = arguments.env.iter().find(|entry| !::spec::is_variable(entry)) {
        bail!("--env {entry:?}: must be NAME=value");
    }
    if process.is_none() && arguments.command.is_empty() {
        bail!("exec needs a program to run, or --process FILE");
    }
    Ok(Exec {
        id: arguments.target.id()?,
        process,
        args: arguments.command,
        cwd: arguments.cwd,
        env: arguments.env,
        tty: arguments.tty,
        user: arguments.user.as_deref().map(ExecUser::parse).transpose()?,
        additional_gids: arguments.additional_gids,
        caps: arguments.cap,
        apparmor: arguments.apparmor.filter(|profile| !profile.is_empty()),
        process_label: arguments.process_label.filter(|label| !label.is_empty()),
        no_new_privs: arguments.no_new_privs,
        detach: arguments.detach,
        console_socket: arguments.console_socket,
        pidfd_socket: arguments.pidfd_socket,
        pid_file: arguments.pid_file,
        preserve_fds: arguments.preserve_fds,
        cgroups: arguments.cgroup,
        ignore_paused: arguments.ignore_paused,
    })
}
