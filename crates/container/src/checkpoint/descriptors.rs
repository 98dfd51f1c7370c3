//! `descriptors.json`: where a container's stdio led when it was dumped, in runc's format (an array of three link texts).

use crate::error::{Error, Result, Step};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

const NAME: &str = "descriptors.json";
/// More than three longest paths; the file comes from an image, which nobody vouches for.
const LIMIT: u64 = 16 * 1024;

/// Writes the file into an image directory.
pub(crate) fn write(images: BorrowedFd<'_>, stdio: &[String; 3]) -> Result<()> {
    let step = || format!("write {NAME}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(images, NAME, flags, Mode::from(0o600)).step(step)?;
    let json = serde_json::to_vec(stdio).step(step)?;
    File::from(file).write_all(&json).step(step)
}

/// Reads it; images without one (CRIU's own) have nothing that needs it.
pub(crate) fn read(images: BorrowedFd<'_>) -> Result<[String; 3]> {
    let step = || format!("read {NAME}");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(images, NAME, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(Default::default()),
        other => other.step(step)?,
    };
    let mut text = String::new();
    File::from(file).take(LIMIT + 1).read_to_string(&mut text).step(step)?;
    parse(&text)
}

fn parse(text: &str) -> Result<[String; 3]> {
    let bad = |reason: String| Error::Request(format!("{NAME}: {reason}"));
    if text.len() as u64 > LIMIT {
        return Err(bad(format!("longer than {LIMIT} bytes")));
    }
    // runc writes null for a container without any.
    let list: Option<Vec<String>> = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let list = list.unwrap_or_default();
    if list.len() > 3 {
        return Err(bad(format!("{} entries instead of three", list.len())));
    }
    let mut stdio: [String; 3] = Default::default();
    stdio.iter_mut().zip(list).for_each(|(to, from)| *to = from);
    Ok(stdio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn survives_a_round_trip_and_reads_runcs() {
        let dir = tempfile::tempdir().unwrap();
        let images = File::open(dir.path()).unwrap();
        assert_eq!(read(images.as_fd()).unwrap(), <[String; 3]>::default());
        let stdio = ["/dev/null".to_owned(), "pipe:[1]".to_owned(), "pipe:[2]".to_owned()];
        write(images.as_fd(), &stdio).unwrap();
        assert_eq!(read(images.as_fd()).unwrap(), stdio);
        assert_eq!(parse("null").unwrap(), <[String; 3]>::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "{}", "[1]", r#"["a","b","c","d"]"#, &format!("[\"{}\"]", "x".repeat(20000))] {
            assert!(parse(text).is_err(), "{text:.40}");
        }
    }
}
