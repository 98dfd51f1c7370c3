use std::os::unix::fs::symlink;
use std::{fs, process};

use super::*;

/// A fresh tree `<dir>/root` with a secret beside it, removed on drop.
struct Tree {
    dir: PathBuf,
}

impl Tree {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sys-path-{}-{name}", process::id()));
        fs::create_dir_all(dir.join("root")).unwrap();
        fs::create_dir_all(dir.join("outside")).unwrap();
        Self { dir }
    }

    fn root(&self) -> Root {
        Root::at(&self.dir.join("root")).unwrap()
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.join("root").join(inside)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn cleans_by_text() {
    assert_eq!(clean(Path::new("a//b/./../c")), Path::new("/a/c"));
    assert_eq!(clean(Path::new("/../../etc")), Path::new("/etc"));
}

#[test]
fn links_and_dots_stay_inside() {
    let tree = Tree::new("inside");
    let outside = tree.dir.join("outside");
    symlink(&outside, tree.path("abs")).unwrap();
    symlink("../outside", tree.path("rel")).unwrap();
    for path in ["abs", "rel", "../outside", "/../outside"] {
        let error = tree.root().open(Path::new(path)).unwrap_err();
        assert!(error.is(libc::ENOENT), "{path}: {error}");
    }
    tree.root().mkdir_all(Path::new("abs/new")).unwrap();
    tree.root().mkdir_all(Path::new("rel/new")).unwrap();
    tree.root().make_file(Path::new("/../../rel/sub/file")).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing may appear outside");
    assert!(tree.path("outside/new").is_dir());
    assert!(tree.path("outside/sub/file").is_file());
}

#[test]
fn a_link_to_nothing_is_followed_when_creating() {
    let tree = Tree::new("dangling");
    fs::create_dir(tree.path("etc")).unwrap();
    symlink("../run/resolve/stub.conf", tree.path("etc/resolv.conf")).unwrap();
    tree.root().make_file(Path::new("/etc/resolv.conf")).unwrap();
    assert!(tree.path("run/resolve/stub.conf").is_file());
    assert!(fs::symlink_metadata(tree.path("etc/resolv.conf")).unwrap().is_symlink());
    tree.root().mkdir_all(Path::new("/etc/a/../b/c")).unwrap();
    assert!(tree.path("etc/b/c").is_dir());
}

#[test]
fn resolves_to_the_name_that_mountinfo_shows() {
    let tree = Tree::new("resolve");
    fs::create_dir_all(tree.path("run/lock")).unwrap();
    fs::create_dir(tree.path("var")).unwrap();
    symlink("/run", tree.path("var/run")).unwrap();
    let (_, name) = tree.root().resolve(Path::new("/var/run/lock")).unwrap();
    assert_eq!(name, Path::new("/run/lock"));
    let (_, name) = tree.root().resolve(Path::new("/var/run/../run/./lock")).unwrap();
    assert_eq!(name, Path::new("/run/lock"));
}

#[test]
fn a_circle_of_links_and_a_file_in_the_middle_are_errors() {
    let tree = Tree::new("circle");
    symlink("b", tree.path("a")).unwrap();
    symlink("a", tree.path("b")).unwrap();
    assert!(tree.root().mkdir_all(Path::new("a/c")).unwrap_err().is(libc::ELOOP));
    assert!(tree.root().resolve(Path::new("a")).unwrap_err().is(libc::ELOOP));
    fs::write(tree.path("file"), "").unwrap();
    assert!(tree.root().mkdir_all(Path::new("file/c")).unwrap_err().is(libc::ENOTDIR));
}

#[test]
fn devices_are_known_by_number() {
    let root = Root::at(Path::new("/dev")).unwrap();
    let null = root.open(Path::new("null")).unwrap();
    assert!(is_char_device(&null, 1, 3).unwrap());
    assert!(!is_char_device(&null, 1, 5).unwrap());
    assert!(!is_char_device(&root, 1, 3).unwrap());
}
