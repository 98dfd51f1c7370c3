//! A process' stdio over a WebSocket (RFC 6455), as Kubernetes' streaming server has it: each message begins with an octet that says
//! which stream the rest is of.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

const PROTOCOL: &str = "v4.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// How it ended.
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;

// What a frame is.
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// Goes on until the process ends, which it tells the status of; where only somebody's attention ends, that is 0.
pub(crate) fn stream(url: &str, size: Option<(u16, u16)>) -> Result<u8, String> {
    let said = |error: std::io::Error| format!("{url}: {error}");
    let (mut writer, mut reader) = connect(url)?;
    if let Some((width, height)) = size {
        let text = format!("{{\"Width\":{width},\"Height\":{height}}}");
        send(&mut writer, RESIZE, text.as_bytes()).map_err(said)?;
    }
    std::thread::spawn(move || keyboard(&mut writer));
    let mut outcome = Vec::new();
    while let Some(message) = receive(&mut reader).map_err(said)? {
        let Some((channel, text)) = message.split_first() else { continue };
        match *channel {
            STDOUT => show(&mut std::io::stdout(), text).map_err(said)?,
            STDERR => show(&mut std::io::stderr(), text).map_err(said)?,
            OUTCOME => outcome.extend(text),
            _ => {}
        }
    }
    status(&outcome)
}

fn show(to: &mut impl Write, text: &[u8]) -> std::io::Result<()> {
    to.write_all(text)?;
    to.flush()
}

/// Hands on what is typed. That there is no more cannot be said in this protocol.
fn keyboard(writer: &mut TcpStream) {
    let mut text = [0; 4096];
    while let Ok(length @ 1..) = std::io::stdin().read(&mut text) {
        if send(writer, STDIN, &text[..length]).is_err() {
            break;
        }
    }
}

fn connect(url: &str) -> Result<(TcpStream, BufReader<TcpStream>), String> {
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or(format!("{url}: no address"))?;
    let said = |error: std::io::Error| format!("{url}: {error}");
    let mut stream = TcpStream::connect(host).map_err(said)?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    )
    .map_err(said)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(said)?);
    let mut first = String::new();
    reader.read_line(&mut first).map_err(said)?;
    if !first.contains(" 101 ") {
        let mut text = String::new();
        let _ = reader.read_to_string(&mut text);
        return Err(format!("{} {}", first.trim(), text.lines().last().unwrap_or_default()));
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).map_err(said)?;
    }
    Ok((stream, reader))
}

/// A client's frames are masked; with zeros, what they say stays as it is.
fn send(writer: &mut TcpStream, channel: u8, text: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(text.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
    let head = [0x80 | BINARY, 0x80 | 126, length[0], length[1], 0, 0, 0, 0, channel];
    writer.write_all(&[&head, text].concat())
}

/// A message; none when the server has no more to say.
fn receive(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 2];
        match reader.read_exact(&mut head) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        let mut length = [0; 8];
        let width = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        reader.read_exact(&mut length[8 - width..])?;
        let length = if width == 0 { u64::from(head[1]) } else { u64::from_be_bytes(length) };
        reader.by_ref().take(length).read_to_end(&mut message)?;
        match head[0] & 0xf {
            CLOSE => return Ok(None),
            // One with a higher number is the connection's affair.
            0..CLOSE if head[0] & 0x80 != 0 => return Ok(Some(message)),
            0..CLOSE => {}
            _ => message.clear(),
        }
    }
}

/// The exit status in what was said of the end.
fn status(outcome: &[u8]) -> Result<u8, String> {
    if outcome.is_empty() {
        return Ok(0);
    }
    let text = String::from_utf8_lossy(outcome).into_owned();
    let value: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
    if value["status"] == "Success" {
        return Ok(0);
    }
    let causes = value["details"]["causes"].as_array().into_iter().flatten();
    let code =
        causes.filter(|cause| cause["reason"] == "ExitCode").find_map(|cause| cause["message"].as_str());
    code.and_then(|code| code.parse().ok()).ok_or(text)
}
