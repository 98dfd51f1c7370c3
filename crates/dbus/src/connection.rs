//! A connection: the handshake, calls and their answers, signals.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use crate::message::{self, Call, FIXED, Received, Signal};
use crate::{Error, Result, Value};

/// The bus itself, as somebody to call.
const BUS: &str = "org.freedesktop.DBus";

/// Where somebody listens, and who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address, `unix:path=...` or `unix:abstract=...`; of several, separated by semicolons, the first of these counts.
    pub text: String,
    /// Whether it is a bus, which passes messages on to others; else it is the one who is called.
    pub is_bus: bool,
}

/// Which signals a bus is to pass on.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Who sends them.
    pub sender: &'a str,
    /// Their interface.
    pub interface: &'a str,
    /// Their name.
    pub member: &'a str,
}

/// A connection to a bus, or to one program.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    /// What was read and not looked at yet.
    received: Vec<u8>,
    serial: u32,
    is_bus: bool,
    patience: Duration,
    /// Signals that came while an answer was waited for.
    signals: VecDeque<Signal>,
}

impl Connection {
    /// Connects and introduces us. `patience` is how long any answer may take.
    ///
    /// We say that we are who the kernel says we are (EXTERNAL without an identity), which is right in every user namespace.
    pub fn open(address: &Address, patience: Duration) -> Result<Self> {
        let socket = connect(&address.text)
            .map_err(|error| Error::Connect { address: address.text.clone(), reason: reason(&error) })?;
        let timeouts = socket.set_write_timeout(Some(patience)).and(socket.set_read_timeout(Some(patience)));
        timeouts.map_err(|error| Error::Io(reason(&error)))?;
        let (is_bus, received, signals) = (address.is_bus, Vec::new(), VecDeque::new());
        let mut this = Self { socket, received, serial: 0, is_bus, patience, signals };
        this.introduce()?;
        if is_bus {
            this.call_bus("Hello", &[])?;
        }
        Ok(this)
    }

    /// Asks for signals; on a direct connection all of them come anyway.
    pub fn listen(&mut self, rule: Rule<'_>) -> Result<()> {
        if !self.is_bus {
            return Ok(());
        }
        let Rule { sender, interface, member } = rule;
        let rule = format!("type='signal',sender='{sender}',interface='{interface}',member='{member}'");
        self.call_bus("AddMatch", &[Value::text(rule)]).map(drop)
    }

    /// Calls a method and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Reply`] is the answer of who was called; all others are about the connection.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Vec<Value>> {
        self.serial += 1;
        let bytes = call.encode(self.serial)?;
        self.write(&bytes)?;
        let deadline = Instant::now() + self.patience;
        loop {
            match self.receive(deadline)? {
                Received::Reply(serial, body) if serial == self.serial => return Ok(body),
                Received::Error(serial, name, message) if serial == self.serial => {
                    return Err(Error::Reply { name, message });
                }
                Received::Signal(signal) => self.signals.push_back(signal),
                _ => {}
            }
        }
    }

    /// The next signal that `pick` takes; others are forgotten.
    pub fn wait<T>(&mut self, mut pick: impl FnMut(&Signal) -> Option<T>) -> Result<T> {
        while let Some(signal) = self.signals.pop_front() {
            if let Some(found) = pick(&signal) {
                return Ok(found);
            }
        }
        let deadline = Instant::now() + self.patience;
        loop {
            if let Received::Signal(signal) = self.receive(deadline)?
                && let Some(found) = pick(&signal)
            {
                return Ok(found);
            }
        }
    }

    fn call_bus(&mut self, method: &str, arguments: &[Value]) -> Result<Vec<Value>> {
        let path = "/org/freedesktop/DBus";
        self.call(&Call { destination: BUS, path, interface: BUS, method, arguments })
    }

    /// "Authentication Protocol" of the specification, in one go, as systemd's own clients do it.
    ///
    /// The first message must wait for the answer: in one piece with BEGIN, systemd would not look at it.
    fn introduce(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut answer = self.line(deadline)?;
        if answer == "DATA" {
            answer = self.line(deadline)?;
        }
        if answer.starts_with("OK") { Ok(()) } else { Err(Error::Refused(answer)) }
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received.drain(..=end).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.read(self.received.len() + 1, deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Received> {
        self.read(FIXED, deadline)?;
        let length = message::length(&self.received)?;
        self.read(length, deadline)?;
        let message = self.received.drain(..length).collect::<Vec<_>>();
        message::decode(&message)
    }

    /// Reads until `length` bytes are there.
    fn read(&mut self, length: usize, deadline: Instant) -> Result<()> {
        let mut piece = [0; 4096];
        while self.received.len() < length {
            match self.socket.read(&mut piece) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => self.received.extend(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(self.timeout()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io(reason(&error))),
            }
            if Instant::now() > deadline {
                return Err(self.timeout());
            }
        }
        Ok(())
    }

    fn timeout(&self) -> Error {
        Error::Timeout(self.patience)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => self.timeout(),
            ErrorKind::BrokenPipe => Error::Closed,
            _ => Error::Io(reason(&error)),
        })
    }
}

fn connect(address: &str) -> std::io::Result<UnixStream> {
    let place = address.split(';').find_map(place);
    let unknown = || std::io::Error::other(Error::Address(address.to_owned()));
    match place.ok_or_else(unknown)? {
        Place::Path(path) => UnixStream::connect(OsStr::from_bytes(&path)),
        Place::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

/// `unix:path=/run/user/1000/bus,guid=...` ("Server Addresses" of the specification).
fn place(address: &str) -> Option<Place> {
    let pairs = address.strip_prefix("unix:")?.split(',');
    pairs.filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| match key {
        "path" => Some(Place::Path(unescape(value)?)),
        "abstract" => Some(Place::Abstract(unescape(value)?)),
        _ => None,
    })
}

/// Undoes the escapes of addresses (`%20` is a space).
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

fn reason(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::strerror)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        let path = |text: &str| Some(Place::Path(text.as_bytes().to_vec()));
        assert_eq!(place("unix:path=/run/a%20b,guid=12"), path("/run/a b"));
        assert_eq!(place("unix:abstract=/tmp/x"), Some(Place::Abstract(b"/tmp/x".to_vec())));
        for other in ["tcp:host=a", "unix:tmpdir=/x", "unix:path=/a%2", "", "unix:path=%zz"] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_said() {
        let address = Address { text: "tcp:host=a".into(), is_bus: true };
        let error = Connection::open(&address, Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("not the address of a unix socket"), "{error}");
        let address = Address { text: "unix:path=/no/such".into(), is_bus: true };
        let error = Connection::open(&address, Duration::from_secs(1)).unwrap_err().to_string();
        assert_eq!(error, "connect to unix:path=/no/such: no such file or directory");
    }
}
