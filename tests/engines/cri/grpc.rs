//! One call of gRPC on a unix socket: HTTP/2 (RFC 9113) as far as one request and its answer need it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::hpack::{self, Fields};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No table of remembered header fields (see `hpack`), and as much of an answer at once as there is.
const SETTINGS: [(u16, u32); 2] = [(1, 0), (4, MOST)];
const MOST: u32 = i32::MAX as u32;
/// What a connection may hold before anything is said of it.
const WINDOW: u32 = 65535;
const LONGEST_FRAME: usize = 16384;

// Kinds of frames, and their flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// The answer to `message`, or what the server says is wrong.
pub(crate) fn call(socket: &str, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = UnixStream::connect(socket).map_err(|error| format!("{socket}: {error}"))?;
    request(&mut stream, method, message).map_err(|error| format!("{method}: {error}"))?;
    let (fields, body) = answer(&mut stream).map_err(|error| format!("{method}: {error}"))?;
    let field = |name| fields.iter().find(|(its, _)| its == name).map_or("", |(_, value)| value.as_str());
    match field("grpc-status") {
        "0" => {
            body.get(5..).map(<[u8]>::to_vec).ok_or_else(|| format!("{method}: an answer without message"))
        }
        status => Err(format!("{} (gRPC status {status})", unescaped(field("grpc-message")))),
    }
}

fn request(stream: &mut UnixStream, method: &str, message: &[u8]) -> std::io::Result<()> {
    let settings: Vec<u8> = SETTINGS
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let fields = hpack::encode(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    // Uncompressed, and its length.
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend(message);

    stream.write_all(PREFACE)?;
    send(stream, SETTINGS_FRAME, 0, 0, &settings)?;
    send(stream, WINDOW_UPDATE, 0, 0, &(MOST - WINDOW).to_be_bytes())?;
    send(stream, HEADERS, END_HEADERS, 1, &fields)?;
    for part in body.chunks(LONGEST_FRAME) {
        send(stream, DATA, 0, 1, part)?;
    }
    send(stream, DATA, END_STREAM, 1, &[])
}

fn send(stream: &mut UnixStream, kind: u8, flags: u8, number: u32, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &number.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat())
}

/// Header fields, those at the end included, and the body.
fn answer(stream: &mut UnixStream) -> Result<(Fields, Vec<u8>), String> {
    let (mut fields, mut body, mut block, mut is_last) = (Vec::new(), Vec::new(), Vec::new(), false);
    loop {
        let frame = receive(stream).map_err(|error| format!("the server hangs up: {error}"))?;
        match frame.kind {
            SETTINGS_FRAME | PING if frame.flags & ACK == 0 => {
                let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                send(stream, frame.kind, ACK, 0, &payload).map_err(|error| error.to_string())?;
            }
            DATA => {
                body.extend(frame.payload);
                is_last = frame.flags & END_STREAM != 0;
            }
            HEADERS | CONTINUATION => {
                // A continuation has no flag of an end; its headers had.
                is_last |= frame.kind == HEADERS && frame.flags & END_STREAM != 0;
                block.extend(frame.payload);
                if frame.flags & END_HEADERS != 0 {
                    fields.extend(hpack::decode(&block).ok_or("header fields that cannot be read")?);
                    block.clear();
                } else {
                    continue;
                }
            }
            RST_STREAM | GOAWAY => return Err(format!("the server breaks off: {:?}", frame.payload)),
            _ => {}
        }
        if is_last {
            return Ok((fields, body));
        }
    }
}

fn receive(stream: &mut UnixStream) -> std::io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok(Frame { kind: head[3], flags: head[4], payload })
}

/// A message of a status, in which `%0A` stands for an end of line, and so on.
fn unescaped(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let octet = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        octets.push(octet.unwrap_or(*first));
        rest = if octet.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&octets).into_owned()
}
