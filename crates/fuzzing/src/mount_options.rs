//! `mount_options`: one option in each line, as those of every kind of mount.

use crate::plan;
use rootfs::{FsOption, MountOptions};
use spec::oci;

const TYPES: [&str; 6] = ["bind", "tmpfs", "proc", "mqueue", "cgroup", "ext4"];

pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let words: Vec<&str> = text.lines().collect();
    let once = MountOptions::parse(&words);
    plan::attributes(once.attrs);
    plan::attributes(once.tree_attrs);
    repeated(&words, &once);
    left_over(&once);
    let mounts = TYPES.iter().map(|kind| mount(kind, &words)).collect();
    let mut spec = oci::Spec::default();
    spec.set_mounts(Some(mounts));
    plan::check(&spec);
}

/// The later option counts, so that saying all of them again changes nothing, and lists what is a list twice.
fn repeated(words: &[&str], once: &MountOptions) {
    let twice = MountOptions::parse(words.iter().chain(words));
    assert_eq!((twice.attrs, twice.tree_attrs), (once.attrs, once.tree_attrs));
    assert_eq!((twice.bind, twice.idmap), (once.bind, once.idmap));
    assert_eq!((twice.remount, twice.copy_up), (once.remount, once.copy_up));
    assert_eq!(twice.propagation, once.propagation.repeat(2));
    assert_eq!(twice.super_flags, once.super_flags.repeat(2));
    assert_eq!(twice.data, [once.data.as_slice(), &once.data].concat());
}

/// What is left for the filesystem is not empty, and is understood the same way when it is given once more by itself.
fn left_over(options: &MountOptions) {
    for option in &options.data {
        let word = match option {
            FsOption::Flag(name) => name.clone(),
            FsOption::Value(key, value) => format!("{key}={value}"),
        };
        assert!(!word.is_empty());
        let again = MountOptions::parse([&word]);
        // Quotes are gone, so what they kept together is not known any more; and from a list of the filesystem's own
        // options nothing is taken out that would be ours if it stood alone.
        let is_plain = !word.contains(['"', ',', '\\']) && !again.data.is_empty();
        assert!(!is_plain || again.data == [option.clone()], "{option:?} becomes {:?}", again.data);
    }
}

fn mount(kind: &str, words: &[&str]) -> oci::Mount {
    let mut mount = oci::Mount::default();
    mount.set_destination("/a/../b".into()).set_typ(Some(kind.to_owned())).set_source(Some("source".into()));
    mount.set_options(Some(words.iter().map(|word| (*word).to_owned()).collect()));
    mount
}
