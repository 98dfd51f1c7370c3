//! `descriptors.json`: where a container's stdio led when it was dumped, in runc's format (an array of three link texts).

use super::small_file;
use crate::error::{Error, Result};
use std::os::fd::BorrowedFd;

/// Its name.
pub(crate) const NAME: &str = "descriptors.json";

/// Writes the file into an image directory.
pub(crate) fn write(images: BorrowedFd<'_>, stdio: &[String; 3]) -> Result<()> {
    small_file::write(images, NAME, stdio)
}

/// Reads it; images without one (CRIU's own) have nothing that needs it.
pub(crate) fn read(images: BorrowedFd<'_>) -> Result<[String; 3]> {
    Ok(find(images)?.unwrap_or_default())
}

/// Reads it; None where there is none.
pub(super) fn find(images: BorrowedFd<'_>) -> Result<Option<[String; 3]>> {
    small_file::read(images, NAME)?.map(|bytes| parse(&bytes)).transpose()
}

/// What such a file says.
pub(crate) fn parse(bytes: &[u8]) -> Result<[String; 3]> {
    // runc writes null for a container without any.
    let list: Option<Vec<String>> = small_file::parse(bytes, NAME)?;
    let list = list.unwrap_or_default();
    if list.len() > 3 {
        return Err(Error::Request(format!("{NAME}: {} entries instead of three", list.len())));
    }
    let mut stdio: [String; 3] = Default::default();
    stdio.iter_mut().zip(list).for_each(|(to, from)| *to = from);
    Ok(stdio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn survives_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let images = File::open(dir.path()).unwrap();
        assert_eq!(read(images.as_fd()).unwrap(), <[String; 3]>::default());
        let stdio = ["/dev/null".to_owned(), "pipe:[1]".to_owned(), "pipe:[2]".to_owned()];
        write(images.as_fd(), &stdio).unwrap();
        assert_eq!(read(images.as_fd()).unwrap(), stdio);
    }

    #[test]
    fn runcs_null_is_read_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let images = File::open(dir.path()).unwrap();
        let put = |text: &str| std::fs::write(dir.path().join(NAME), text).unwrap();
        put("null");
        assert_eq!(read(images.as_fd()).unwrap(), <[String; 3]>::default());
        let long = format!(r#"["{}","b","c"]"#, "x".repeat(small_file::LIMIT as usize));
        for text in ["", "{}", "[1]", r#"["a","b","c","d"]"#, &long] {
            put(text);
            assert!(read(images.as_fd()).is_err(), "{text:.40}");
        }
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join(NAME)).unwrap();
        assert!(read(images.as_fd()).is_err(), "a link is not followed");
    }
}
