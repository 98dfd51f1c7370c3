//! Makes a bundle's file tree in the mount namespace that it is started in, and runs a command there:
//! `unshare -mpf enter [--no-pivot] [--console] [--user-namespace] [--cgroup-namespace] BUNDLE COMMAND...`. What the tests of this crate use.

#![allow(clippy::print_stderr)]

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use rootfs::{CgroupView, Context, Hierarchy, Plan, Rootfs};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> process::ExitCode {
    // Only a failure returns.
    let Err(error) = enter() else { return process::ExitCode::SUCCESS };
    eprintln!("{error}");
    process::ExitCode::FAILURE
}

fn enter() -> Result<()> {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let given = args.first().is_some_and(|arg| arg == name);
        given.then(|| args.remove(0)).is_some()
    };
    let no_pivot = flag("--no-pivot");
    let console = flag("--console");
    let user_namespace = flag("--user-namespace");
    let cgroup_namespace = flag("--cgroup-namespace");
    let (Some(bundle), Some(program)) = (args.first().map(PathBuf::from), args.get(1)) else {
        return Err(
            "usage: enter [--no-pivot] [--console] [--user-namespace] [--cgroup-namespace] BUNDLE COMMAND..."
                .into(),
        );
    };
    let spec: spec::oci::Spec = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
    let context = Context {
        rootfs: bundle.join("rootfs"),
        cgroup: machine_cgroups()?,
        mount_namespace: true,
        user_namespace,
        cgroup_namespace,
        bundle,
    };
    let plan = Plan::new(&spec, &context)?;
    let tree = Rootfs::prepare(&plan)?;
    tree.pivot(no_pivot)?;
    if console {
        let (_master, slave) = terminal(&tree)?;
        tree.bind_console(slave)?;
    }
    tree.finish()?;
    Err(process::Command::new(program).args(&args[2..]).exec().into())
}

/// Master and slave of a terminal of the container's own devpts. With its master the terminal goes away again.
fn terminal(tree: &Rootfs<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(tree.root(), "dev/pts/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

/// The machine's cgroups; the view shows the roots of the v1 hierarchies.
fn machine_cgroups() -> Result<CgroupView> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return Ok(CgroupView::V2 { host_path: top.to_owned() });
    }
    let (mut hierarchies, mut links) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_symlink() {
            links.push((name, fs::read_link(entry.path())?.to_string_lossy().into_owned()));
        } else if name != "unified" {
            hierarchies.push(Hierarchy { name, host_path: entry.path() });
        }
    }
    Ok(CgroupView::V1 { hierarchies, links })
}
