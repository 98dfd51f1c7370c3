//! A registry of images. containerd 2.1 asks one for the image of a container that it restores, even when it has all of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What names without a registry of their own do not lead to: `localhost:5000/NAME` does.
const ADDRESS: &str = "127.0.0.1:5000";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Answers from a directory of blobs, whose names are their digests, until it is killed.
pub(crate) fn serve(directory: &str) -> Result<u8, String> {
    let listener = TcpListener::bind(ADDRESS).map_err(|error| format!("{ADDRESS}: {error}"))?;
    for stream in listener.incoming().flatten() {
        if let Err(error) = answer(stream, directory) {
            eprintln!("{error}");
        }
    }
    Ok(0)
}

fn answer(mut stream: TcpStream, directory: &str) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let is_head = words.next() == Some("HEAD");
    let digest = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let Some(body) =
        digest.strip_prefix("sha256:").and_then(|name| fs::read(format!("{directory}/{name}")).ok())
    else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {INDEX}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(if is_head { &[] } else { &body })
}
