//! Receiving the pages of a dump that runs elsewhere.

use crate::options::set;
use crate::session::{Request, missing};
use crate::wire::{CriuOpts, CriuReqType};
use crate::{Images, Operation, PageSocket, Result, Session, Tls};

/// A receiver of pages: writes what a dump elsewhere sends into `images`.
#[derive(Clone, Debug)]
pub struct PageServer<'a> {
    /// Where to.
    pub images: Images<'a>,
    /// Where to listen, or the connection itself.
    pub socket: PageSocket,
    /// The images of the round before, relative to `images`.
    pub parent: Option<String>,
    /// Punch holes in the parent's images where this one has newer pages.
    pub auto_dedup: bool,
    /// Encrypts the connection.
    pub tls: Option<Tls>,
}

/// A page server that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageServerOutcome {
    /// Its process; unknown for one that outlives the session, where CRIU 4.1 says 0.
    pub pid: Option<u32>,
    /// Its port, 0 for a connected socket.
    pub port: u16,
}

impl<'a> PageServer<'a> {
    /// A page server on `socket`.
    pub fn new(images: Images<'a>, socket: PageSocket) -> Self {
        Self { images, socket, parent: None, auto_dedup: false, tls: None }
    }

    pub(crate) fn to_wire(&self) -> CriuOpts {
        let mut opts = CriuOpts {
            ps: Some(self.socket.to_wire()),
            parent_img: self.parent.clone(),
            auto_dedup: set(self.auto_dedup),
            ..self.images.to_wire()
        };
        Tls::put(self.tls.as_ref(), &mut opts);
        opts
    }
}

impl Session {
    /// Starts a page server that outlives this session and serves one dump; nobody learns how it ends.
    pub fn page_server(&mut self, server: &PageServer<'_>) -> Result<PageServerOutcome> {
        self.start_server(server, CriuReqType::PageServer)
    }

    /// Starts a page server as a child of criu: [`Session::wait_pid`] tells how it ended, and dropping the session
    /// before that kills it.
    pub fn page_server_child(&mut self, server: &PageServer<'_>) -> Result<PageServerOutcome> {
        let outcome = self.start_server(server, CriuReqType::PageServerChld)?;
        let pid = outcome.pid.ok_or_else(|| missing(Operation::PageServer, "pid"))?;
        self.adopt(pid);
        Ok(outcome)
    }

    fn start_server(&mut self, server: &PageServer<'_>, kind: CriuReqType) -> Result<PageServerOutcome> {
        let request = Request {
            opts: Some(server.to_wire()),
            images: Some(&server.images),
            keep_open: true,
            ..Default::default()
        };
        let (answer, _) = self.exchange(Operation::PageServer, request, kind.into(), &mut ())?;
        let info = answer.ps.ok_or_else(|| missing(Operation::PageServer, "address"))?;
        Ok(PageServerOutcome {
            pid: info.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
            port: u16::try_from(info.port()).unwrap_or_default(),
        })
    }
}
