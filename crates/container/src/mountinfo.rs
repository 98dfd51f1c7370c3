//! Mounts, as /proc/PID/mountinfo tells of them (proc_pid_mountinfo(5)).

use crate::error::{Result, Step};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number, which files that were opened through it name.
    pub(crate) id: u64,
    /// The mount that it stands on.
    pub(crate) parent: u64,
    /// The file system's device number, `major:minor`.
    pub(crate) device: String,
    /// The directory or file of that file system that is mounted.
    pub(crate) root: PathBuf,
    /// Where, as seen from the process' root.
    pub(crate) place: PathBuf,
    pub(crate) fstype: String,
    pub(crate) source: String,
    /// The file system's own options.
    pub(crate) options: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        // The number of optional fields varies; a lone dash ends them.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ');
        let (id, parent) = (before.next()?.parse().ok()?, before.next()?.parse().ok()?);
        let device = before.next()?.to_owned();
        let (root, place) = (path(before.next()?), path(before.next()?));
        let mut after = after.split(' ');
        let fstype = after.next()?.to_owned();
        let source = text(after.next()?);
        let options = text(after.next().unwrap_or_default());
        Some(Self { id, parent, device, root, place, fstype, source, options })
    }

    /// The option `name`'s value.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

/// All mounts of the text, in its order; parents stand before what is mounted on them.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(Mount::parse).collect()
}

/// The mounts that a process sees. `process` is a pid or `self`.
pub(crate) fn of_process(process: &str) -> Result<Vec<Mount>> {
    let path = format!("/proc/{process}/mountinfo");
    let text = std::fs::read(&path).step(|| format!("read {path}"))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Where what is mounted by `mount` is to be found among the mounts of the `host`. There may be several such places, and one may be
/// hidden by another mount: only a look tells.
pub(crate) fn places(mount: &Mount, host: &[Mount]) -> Vec<PathBuf> {
    let below = |other: &Mount| {
        let rest = mount.root.strip_prefix(&other.root).ok()?;
        Some(if rest.as_os_str().is_empty() { other.place.clone() } else { other.place.join(rest) })
    };
    host.iter().filter(|other| other.device == mount.device).filter_map(below).collect()
}

/// Blank, tab, line feed and backslash are written as three octal digits.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let code =
            digits.map(|digits| digits.iter().fold(0_u32, |code, digit| code * 8 + u32::from(digit - b'0')));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn path(text: &str) -> PathBuf {
    OsString::from_vec(unescaped(text)).into()
}

fn text(text: &str) -> String {
    String::from_utf8_lossy(&unescaped(text)).into_owned()
}

/// Whether something is mounted at a place.
pub(crate) fn is_mounted(place: &Path, mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| mount.place == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_own_line_is_read() {
        let mounts = parse("90 61 0:33 / / rw,relatime - aufs none rw,si=4476a910a24617e6\n");
        assert_eq!(mounts.len(), 1);
        assert_eq!((mounts[0].fstype.as_str(), mounts[0].option("si")), ("aufs", Some("4476a910a24617e6")));
        assert_eq!((mounts[0].device.as_str(), mounts[0].place.as_path()), ("0:33", Path::new("/")));
        assert_eq!((mounts[0].id, mounts[0].parent), (90, 61));
        assert!(is_mounted(Path::new("/"), &mounts) && !is_mounted(Path::new("/x"), &mounts));
    }

    #[test]
    fn names_with_blanks_and_optional_fields_are_read() {
        let mounts = parse(
            "1 2 8:1 /a\\040b /c\\134d rw shared:1 master:2 - ext4 /dev/sda\\0401 rw,data=x\nnonsense\n",
        );
        assert_eq!(mounts[0].root, Path::new("/a b"));
        assert_eq!(mounts[0].place, Path::new("/c\\d"));
        assert_eq!(mounts[0].source, "/dev/sda 1");
        assert_eq!(mounts.len(), 1);
        assert_eq!(unescaped("\\9\\04\\777\\"), b"\\9\\04\\777\\");
    }

    #[test]
    fn the_hosts_side_is_found_by_file_system_and_directory() {
        let host = parse(
            "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:2 /sub /srv rw - ext4 /dev/sdb rw\n3 1 8:2 / /mnt rw - ext4 /dev/sdb rw\n",
        );
        let of = |device: &str, root: &str| {
            let mount = Mount { device: device.into(), root: root.into(), ..host[0].clone() };
            places(&mount, &host)
        };
        assert_eq!(of("8:1", "/var/x"), [Path::new("/var/x")]);
        assert_eq!(of("8:2", "/sub/y"), [Path::new("/srv/y"), Path::new("/mnt/sub/y")]);
        assert_eq!(of("8:2", "/sub"), [Path::new("/srv"), Path::new("/mnt/sub")]);
        assert!(of("8:3", "/").is_empty());
    }
}
