//! Memory on its way between machines: the server that receives a checkpoint's, and the daemon that fetches a restore's.

use crate::checkpoint::criu_config;
use crate::checkpoint::held::Held;
use crate::checkpoint::images::Directories;
use crate::error::{Result, Step};
use criu::{Daemon, Task, Tls};
use rustix::fs::{Access, AtFlags};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The name of CRIU's log of a page server, in the work directory.
pub const PAGE_SERVER_LOG: &str = "page-server.log";
/// The same of a lazy pages daemon.
pub const LAZY_PAGES_LOG: &str = "lazy-pages.log";

/// The socket that a lazy pages daemon makes in its work directory, when it is ready.
const LAZY_PAGES_SOCKET: &str = "lazy-pages.socket";
/// How long a restore waits for one that was started right before it.
const STARTING: Duration = Duration::from_secs(2);

/// Waits for the daemon of a lazy restore, which may still be starting. CRIU tells of one that never comes.
pub(crate) fn await_daemon(work: BorrowedFd<'_>) {
    let end = Instant::now() + STARTING;
    while rustix::fs::accessat(work, LAZY_PAGES_SOCKET, Access::EXISTS, AtFlags::empty()).is_err() {
        if Instant::now() > end {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The directories of either, and who runs it.
#[derive(Debug)]
pub struct Place {
    /// Where the images are, or go.
    pub images: PathBuf,
    /// Where the log and working files go, if not with the images.
    pub work: Option<PathBuf>,
    /// Gets a NUL byte when it is ready.
    pub status: Option<File>,
    /// The criu program.
    pub criu: PathBuf,
}

/// A request to receive the memory of one dump or pre-dump.
#[derive(Debug)]
pub struct Receive {
    /// Where, and by whom.
    pub place: Place,
    /// The address to listen on; none other is listened on.
    pub address: String,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// The images of the round before, relative to this one's.
    pub parent: Option<PathBuf>,
    /// Take out of the parent's images what arrives anew.
    pub auto_dedup: bool,
    /// Return when all of it is on the disk.
    pub sync: bool,
    /// Encrypts the connection.
    pub tls: Option<Tls>,
}

/// Receives until the dump is done. `ready` is called with the address once it is listened on.
///
/// We listen, and criu gets the one connection: nobody else can connect any more, and criu is there only when there is work.
pub fn receive(request: Receive, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let Receive { place, address, port, parent, auto_dedup, sync, tls } = request;
    let dirs =
        Directories::create(&place.images, place.work.as_deref())?.building_on(parent.as_deref(), None)?;
    let images = dirs.for_criu(PAGE_SERVER_LOG, criu_config::default_file()?);
    let step = || format!("listen on {address}, port {port}");
    let listener = TcpListener::bind((address.as_str(), port)).step(step)?;
    ready(listener.local_addr().step(step)?);
    if let Some(mut status) = place.status {
        // Who asked to be told may have gone; the dump comes all the same.
        let _ = status.write_all(b"\0");
    }
    let (connection, peer) = listener.accept().step(step)?;
    drop(listener);
    log::debug!("{peer} sends its memory");
    let task = Task::Receive { connection: connection.into(), parent, auto_dedup };
    Daemon { binary: place.criu, images, task, tls }.run()?;
    if sync { dirs.sync() } else { Ok(()) }
}

/// A request to bring memory to a restore that runs with `--lazy-pages` and the same work directory.
#[derive(Debug)]
pub struct Fetch {
    /// Where, and by whom.
    pub place: Place,
    /// Where the memory is, if not in the images: address and port of the lazy checkpoint.
    pub server: Option<(String, u16)>,
    /// Encrypts the connection to it.
    pub tls: Option<Tls>,
}

/// Brings it, until the restored container has all its memory.
pub fn fetch(request: Fetch) -> Result<()> {
    let Fetch { place, server, tls } = request;
    let dirs = Held::open(&place.images, None)?.hand_over(place.work.as_deref())?;
    let images = dirs.for_criu(LAZY_PAGES_LOG, criu_config::default_file()?);
    let task = Task::Fetch { server, status: place.status };
    Ok(Daemon { binary: place.criu, images, task, tls }.run()?)
}
