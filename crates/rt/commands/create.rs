use super::Target;
use crate::context::{self, Context};
use crate::exit::Exit;
use clap::Args;
use container::ops::{self, Create};
use std::path::PathBuf;

/// Make a container that waits to be started
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) creation: Creation,
    #[command(flatten)]
    target: Target,
}

/// The options that `create` and `run` share.
#[derive(Debug, Args)]
pub(crate) struct Creation {
    /// The bundle's directory [default: the current one]
    #[arg(long, short, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Send the terminal's master to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a descriptor of init to this unix socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write init's process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move the root instead of pivoting to it (for a root on a ramdisk)
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass this many descriptors, from 3 on, to the container
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
}

impl Creation {
    pub(super) fn request(self, context: &Context, target: &Target) -> anyhow::Result<Create> {
        Ok(Create {
            id: target.id()?,
            bundle: self.bundle,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            pid_file: self.pid_file,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            listen_fds: context::listen_fds(),
            preserve_fds: self.preserve_fds,
            notify_socket: context::notify_socket(),
            rootless: context.rootless,
            systemd: context.systemd.clone(),
        })
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<Exit> {
    let request = arguments.creation.request(context, &arguments.target)?;
    context::seal(request.listen_fds, request.preserve_fds)?;
    ops::create(&context.store, &request)?;
    Ok(Exit::Success)
}
