//! Whether the images have room where they are to go.

use super::finding::Finding;
use criu::Class;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::path::Path;

/// What is known of a place for images.
#[derive(Debug)]
struct Place {
    /// The directory, or the nearest one above it that is there.
    path: String,
    is_directory: bool,
    is_read_only: bool,
    /// Bytes that root may still write.
    free: u64,
}

impl Place {
    fn of(images: &Path) -> Option<Self> {
        let images = std::path::absolute(images).ok()?;
        let there = images.ancestors().find(|path| std::fs::symlink_metadata(path).is_ok())?;
        let room = statvfs(there).ok()?;
        Some(Self {
            path: there.display().to_string(),
            is_directory: there.is_dir(),
            is_read_only: room.f_flag.contains(StatVfsMountFlags::RDONLY),
            free: room.f_bfree.saturating_mul(room.f_frsize),
        })
    }

    /// `memory` is what is to be written: all of it, or at the most as much, where a parent has some of it.
    fn judge(&self, memory: Option<u64>, has_parent: bool) -> Finding {
        if !self.is_directory {
            return Finding::fails(Class::ImageDirectory, format!("{} is not a directory", self.path));
        }
        if self.is_read_only {
            return Finding::fails(Class::ReadOnly, &self.path);
        }
        let Some(memory) = memory else { return Finding::ok(Class::ImageDirectory, &self.path) };
        let object = format!("{} free for {} of memory, {}", size(self.free), size(memory), self.path);
        match (self.free >= memory, has_parent) {
            (true, _) => Finding::ok(Class::NoSpace, object),
            (false, true) => Finding::warning(Class::NoSpace, object),
            (false, false) => Finding::fails(Class::NoSpace, object),
        }
    }
}

/// What a directory of images has room for, as far as the memory of `memory` bytes goes: it is by far the most of what a dump
/// writes. None where it goes elsewhere.
pub(super) fn judge(images: &Path, memory: Option<u64>, has_parent: bool) -> Option<Finding> {
    Some(Place::of(images)?.judge(memory, has_parent))
}

/// Whether there are images at `parent`, seen from the directory of those that build on them.
pub(super) fn judge_parent(images: &Path, parent: &Path) -> Finding {
    let images = std::path::absolute(images).unwrap_or_else(|_| images.to_owned());
    let directory = sys::path::clean(&images.join(parent));
    let is_there = parent.is_relative() && directory.join("inventory.img").is_file();
    Finding::unless(is_there, Class::ImagesIncomplete, format!("--parent-path {}", directory.display()))
}

/// `1.5 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn memory_must_fit() {
        let place = Place { path: "/img".into(), is_directory: true, is_read_only: false, free: 3 << 29 };
        let fits = place.judge(Some(1 << 30), false);
        assert_eq!(
            (fits.verdict, fits.object.as_str()),
            (Verdict::Ok, "1.5 GiB free for 1.0 GiB of memory, /img")
        );
        let full = place.judge(Some(2 << 30), false);
        assert_eq!((full.verdict, full.class), (Verdict::WouldFail, Class::NoSpace));
        assert_eq!(place.judge(Some(2 << 30), true).verdict, Verdict::Warning);
        assert_eq!(place.judge(None, false).class, Class::ImageDirectory);
        assert_eq!(Place { is_read_only: true, ..place }.judge(None, false).class, Class::ReadOnly);
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(&dir.path().join("a/b/c")).unwrap();
        assert!(place.is_directory && place.path == dir.path().display().to_string() && place.free > 0);
        std::fs::write(dir.path().join("file"), "").unwrap();
        let finding = judge(&dir.path().join("file"), None, false).unwrap();
        assert_eq!((finding.verdict, finding.class), (Verdict::WouldFail, Class::ImageDirectory));
        assert_eq!((size(7), size(1536)), ("7 B".into(), "1.5 KiB".into()));
    }

    #[test]
    fn a_parent_is_there_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("second");
        let verdict = || judge_parent(&images, Path::new("../first")).verdict;
        assert_eq!(verdict(), Verdict::WouldFail);
        std::fs::create_dir(dir.path().join("first")).unwrap();
        std::fs::write(dir.path().join("first/inventory.img"), "").unwrap();
        assert_eq!(verdict(), Verdict::Ok);
    }
}
