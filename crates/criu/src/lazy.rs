//! A way around CRIU's deafness for a lazy dump's address.
//!
//! CRIU(4.2): when a request asks for lazy pages, of the page server's fields only the port is taken; address and
//! descriptor are dropped and CRIU listens on every interface, handing the tree's memory to whoever connects first.
//! The configuration file of a request is read after the request, and there both work. So they are passed in a file
//! in memory, behind the contents of the caller's own configuration file, if it named one.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, memfd_create};
use sys::Context;

use crate::wire::CriuOpts;
use crate::{Dump, Error, Operation, PageSocket, Result};

/// Puts the address of a lazy dump where CRIU looks for it. The answer is to be kept open until CRIU has answered.
pub(crate) fn put_address(dump: &Dump<'_>, opts: &mut CriuOpts) -> Result<Option<File>> {
    let Some(line) = dump.page_server.as_ref().filter(|_| dump.lazy_pages).and_then(config_line) else {
        return Ok(None);
    };
    let socket = |source| Error::Socket { operation: Operation::Dump, source };
    let mut text = match &dump.images.config_file {
        Some(path) => std::fs::read_to_string(path).call("read", || format!("{path:?}")).map_err(socket)?,
        None => String::new(),
    };
    text.push('\n');
    text.push_str(&line);
    let memory = memfd_create("criu-lazy.conf", MemfdFlags::CLOEXEC);
    let mut file = File::from(memory.call("memfd_create", || "\"criu-lazy.conf\"".into()).map_err(socket)?);
    file.write_all(text.as_bytes()).call("write", || "\"criu-lazy.conf\"".into()).map_err(socket)?;
    opts.config_file = Some(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    Ok(Some(file))
}

/// The configuration line; none where every interface was asked for, by naming none.
fn config_line(socket: &PageSocket) -> Option<String> {
    match socket {
        PageSocket::Tcp { address, .. } => address.as_ref().map(|address| format!("address {address}\n")),
        PageSocket::Fd(fd) => Some(format!("ps-socket {fd}\n")),
    }
}
