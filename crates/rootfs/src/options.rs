//! The fstab-style options of a mount (runtime-spec, `config.md`, "Linux mount options").

use sys::mount::{AttrChange, Depth, Propagation, attr};

/// A flag of the whole filesystem instead of one mount of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuperFlag {
    /// Its name for `fsconfig(2)`.
    pub name: &'static str,
    /// Its bit for `mount(2)`, 0 where the name switches a bit off.
    pub legacy: u64,
}

impl SuperFlag {
    /// Whether `mount(2)` takes it for any filesystem, and `fsconfig(2)` only for those that have it.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.name, "iversion" | "noiversion" | "acl" | "noacl")
    }
}

/// An option that the filesystem itself understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsOption {
    /// A bare word.
    Flag(String),
    /// `key=value`.
    Value(String, String),
}

/// The options of one mount, sorted by who has to obey them. Of two that contradict each other the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `bind` or `rbind` was given.
    pub bind: Option<Depth>,
    /// `remount` was given.
    pub remount: bool,
    /// Attributes of this mount.
    pub attrs: AttrChange,
    /// Of the attributes that [`attrs`](Self::attrs) takes off, those that no option names. Where they are locked, they stay.
    pub implied: u64,
    /// Attributes of this mount and all below it (`rro` and its like).
    pub tree_attrs: AttrChange,
    /// Propagation types, to be set one after the other.
    pub propagation: Vec<(Propagation, Depth)>,
    /// Flags of the filesystem.
    pub super_flags: Vec<SuperFlag>,
    /// What is left: the filesystem's own options.
    pub data: Vec<FsOption>,
    /// `tmpcopyup`: a tmpfs starts with a copy of what it covers.
    pub copy_up: bool,
    /// `idmap` or `ridmap` was given.
    pub idmap: Option<Depth>,
    /// An option about attributes of this mount was given, even one that comes to nothing.
    pub names_attributes: bool,
}

impl MountOptions {
    /// The options that are known by name, sorted, for who asks what is supported.
    pub fn known() -> Vec<&'static str> {
        let mut known: Vec<_> = KNOWN.split_whitespace().collect();
        known.sort_unstable();
        known
    }

    /// Sorts `options`. Nothing is an error here: an unknown word is left for the filesystem to refuse.
    pub fn parse<S: AsRef<str>>(options: impl IntoIterator<Item = S>) -> Self {
        let mut parsed = Self::default();
        let mut atime = None;
        for option in options {
            let option = option.as_ref();
            match access_time(option) {
                Some((value, true)) => atime = Some(value),
                Some((value, false)) => atime = atime.filter(|given| *given != value),
                None => parsed.add(option),
            }
            parsed.names_attributes |= access_time(option).is_some() || attribute(option).is_some();
        }
        if let Some(value) = atime {
            merge(&mut parsed.attrs, policy(value));
        }
        parsed
    }

    /// Sets attributes of the mount that it has to have, whatever the options say.
    pub(crate) fn insist(&mut self, attributes: u64) {
        merge(&mut self.attrs, AttrChange { set: attributes, clear: 0 });
    }

    /// For a bind mount: any attribute that it is given takes the place of all that its source has, so that `rw` on a host whose
    /// disks are mounted `noexec` means what it means elsewhere. So runc and crun do it, which remount (mount(2)); as there, when
    /// access times are kept is one decision, which an option must make to change it, and `remount` changes only what it names.
    pub(crate) fn replace_the_sources(&mut self) {
        const REPLACED: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        if self.remount || !self.names_attributes {
            return;
        }
        self.implied = REPLACED & !(self.attrs.set | self.attrs.clear);
        self.attrs.clear |= self.implied;
        if self.attrs.clear & attr::ATIME_MASK != 0 || self.attrs.set & attr::NODIRATIME != 0 {
            self.attrs.clear |= attr::ATIME_MASK | attr::NODIRATIME & !self.attrs.set;
        } else {
            self.attrs.clear &= !attr::NODIRATIME;
        }
    }

    fn add(&mut self, option: &str) {
        if let Some(change) = attribute(option) {
            merge(&mut self.attrs, change);
        } else if let Some(change) = option.strip_prefix('r').and_then(of_tree) {
            merge(&mut self.tree_attrs, change);
        } else if let Some(propagation) = propagation(option) {
            self.propagation.push(propagation);
        } else if let Some(flag) = super_flag(option) {
            self.super_flags.push(flag);
        } else {
            self.add_other(option);
        }
    }

    fn add_other(&mut self, option: &str) {
        match option {
            // silent and loud choose what the kernel logs, which has no counterpart in fsconfig(2).
            "" | "defaults" | "silent" | "loud" => {}
            "bind" => self.bind = Some(Depth::One),
            "rbind" => self.bind = Some(Depth::Tree),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(Depth::One),
            "ridmap" => self.idmap = Some(Depth::Tree),
            data => self.data.extend(fs_options(data)),
        }
    }

    /// Whether the filesystem has an option of this name among [`data`](Self::data).
    pub fn has_value(&self, key: &str) -> bool {
        self.data.iter().any(|option| matches!(option, FsOption::Value(name, _) if name == key))
    }
}

/// Every name that [`MountOptions::add`] takes; a test holds the two together.
const KNOWN: &str = "ro rw nosuid suid nodev dev noexec exec nosymfollow symfollow nodiratime diratime noatime atime \
    strictatime nostrictatime relatime norelatime rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnosymfollow rsymfollow \
    rnodiratime rdiratime rnoatime ratime rstrictatime rnostrictatime rrelatime rnorelatime bind rbind remount shared \
    rshared slave rslave private rprivate unbindable runbindable sync async dirsync lazytime nolazytime mand nomand \
    iversion noiversion acl noacl tmpcopyup idmap ridmap defaults";

/// Lets a later change win over an earlier one.
fn merge(change: &mut AttrChange, later: AttrChange) {
    change.set = change.set & !later.clear | later.set;
    change.clear = change.clear & !later.set | later.clear;
}

/// What a word says of when access times are kept: a value of the field, and whether it is chosen or taken back. relatime is what
/// the kernel does unless told otherwise.
fn access_time(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "relatime" => (0, true),
        "norelatime" => (0, false),
        "noatime" => (attr::NOATIME, true),
        "atime" => (attr::NOATIME, false),
        "strictatime" => (attr::STRICTATIME, true),
        "nostrictatime" => (attr::STRICTATIME, false),
        _ => return None,
    })
}

/// When access times are kept is a field, not a bit: it is always cleared as a whole, also when one is set.
fn policy(value: u64) -> AttrChange {
    AttrChange { set: value, clear: attr::ATIME_MASK }
}

/// What a word after the `r` of "recursive" does to the attributes of a mount and all below. Here what is taken back is cleared.
fn of_tree(option: &str) -> Option<AttrChange> {
    let value = |(value, is_chosen)| policy(if is_chosen { value } else { 0 });
    access_time(option).map(value).or_else(|| attribute(option))
}

/// What a word without the `r` of "recursive" does to the attributes of a mount.
fn attribute(option: &str) -> Option<AttrChange> {
    let set = |bit| AttrChange { set: bit, clear: 0 };
    let clear = |bit| AttrChange { set: 0, clear: bit };
    Some(match option {
        "ro" => set(attr::RDONLY),
        "rw" => clear(attr::RDONLY),
        "nosuid" => set(attr::NOSUID),
        "suid" => clear(attr::NOSUID),
        "nodev" => set(attr::NODEV),
        "dev" => clear(attr::NODEV),
        "noexec" => set(attr::NOEXEC),
        "exec" => clear(attr::NOEXEC),
        "nosymfollow" => set(attr::NOSYMFOLLOW),
        "symfollow" => clear(attr::NOSYMFOLLOW),
        "nodiratime" => set(attr::NODIRATIME),
        "diratime" => clear(attr::NODIRATIME),
        _ => return None,
    })
}

/// A propagation type, also of `linux.rootfsPropagation`.
pub(crate) fn propagation(option: &str) -> Option<(Propagation, Depth)> {
    let (name, depth) = match option.strip_prefix('r') {
        Some(name) => (name, Depth::Tree),
        None => (option, Depth::One),
    };
    let propagation = match name {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    };
    Some((propagation, depth))
}

fn super_flag(option: &str) -> Option<SuperFlag> {
    const TABLE: [SuperFlag; 11] = [
        SuperFlag { name: "sync", legacy: 1 << 4 },
        SuperFlag { name: "async", legacy: 0 },
        SuperFlag { name: "dirsync", legacy: 1 << 7 },
        SuperFlag { name: "lazytime", legacy: 1 << 25 },
        SuperFlag { name: "nolazytime", legacy: 0 },
        SuperFlag { name: "mand", legacy: 1 << 6 },
        SuperFlag { name: "nomand", legacy: 0 },
        SuperFlag { name: "iversion", legacy: 1 << 23 },
        SuperFlag { name: "noiversion", legacy: 0 },
        SuperFlag { name: "acl", legacy: 1 << 16 },
        SuperFlag { name: "noacl", legacy: 0 },
    ];
    TABLE.into_iter().find(|flag| flag.name == option)
}

/// Splits one entry the way the kernel splits a comma-separated list: a backslash keeps a comma, and so do the quotes of
/// an SELinux label (`context="system_u:...:c1,c2"`), which are not part of it.
fn fs_options(entry: &str) -> Vec<FsOption> {
    let mut options = Vec::new();
    let (mut current, mut quoted, mut escaped) = (String::new(), false, false);
    for c in entry.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted && !escaped => options.push(std::mem::take(&mut current)),
            _ => current.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    options.push(current);
    options.iter().filter(|option| !option.is_empty()).map(|option| fs_option(option)).collect()
}

fn fs_option(option: &str) -> FsOption {
    match option.split_once('=') {
        Some((key, value)) => FsOption::Value(key.to_owned(), value.to_owned()),
        None => FsOption::Flag(option.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str, value: &str) -> FsOption {
        FsOption::Value(key.into(), value.into())
    }

    #[test]
    fn attributes_of_a_bind_mount_take_the_place_of_the_sources() {
        let cleared = |words: &[&str]| {
            let mut options = MountOptions::parse(words);
            options.replace_the_sources();
            options.attrs.clear & !attr::ATIME_MASK
        };
        let all = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        assert_eq!(cleared(&["rbind", "rprivate", "rro"]), 0);
        assert_eq!(cleared(&["bind", "ro"]), all & !attr::RDONLY);
        assert_eq!(cleared(&["bind", "rw"]), all);
        assert_eq!(cleared(&["bind", "remount", "ro"]), 0);
    }

    #[test]
    fn what_is_named_is_not_implied() {
        let implied = |words: &[&str]| {
            let mut options = MountOptions::parse(words);
            options.replace_the_sources();
            options.implied
        };
        let others = attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        assert_eq!(implied(&["bind", "ro"]), others | attr::NOSUID);
        assert_eq!(implied(&["bind", "rw", "suid"]), others);
        assert_eq!(implied(&["bind", "atime"]), others | attr::NOSUID | attr::RDONLY);
        assert_eq!(implied(&["bind", "rprivate"]), 0);
    }

    #[test]
    fn when_access_times_are_kept_is_one_decision() {
        let times = |words: &[&str]| {
            let mut options = MountOptions::parse(words);
            options.replace_the_sources();
            let bits = attr::ATIME_MASK | attr::NODIRATIME;
            (options.attrs.set & bits, options.attrs.clear & bits)
        };
        let all = attr::ATIME_MASK | attr::NODIRATIME;
        for kept in ["atime", "norelatime", "nostrictatime", "diratime", "ro"] {
            assert_eq!(times(&["bind", kept]), (0, 0), "{kept}");
        }
        assert_eq!(times(&["bind", "noatime", "atime"]), (0, 0));
        assert_eq!(times(&["bind", "relatime"]), (0, all));
        assert_eq!(times(&["bind", "noatime"]), (attr::NOATIME, all));
        assert_eq!(times(&["bind", "strictatime", "diratime"]), (attr::STRICTATIME, all));
        assert_eq!(times(&["bind", "nodiratime"]), (attr::NODIRATIME, attr::ATIME_MASK));
    }

    #[test]
    fn what_is_known_is_not_left_to_the_file_system() {
        for option in MountOptions::known() {
            assert_eq!(MountOptions::parse([option]).data, [], "{option}");
        }
    }

    #[test]
    fn sorts_by_who_obeys() {
        let options = MountOptions::parse(["rbind", "ro", "nosuid", "rslave", "private", "sync", "size=1m"]);
        assert_eq!(options.bind, Some(Depth::Tree));
        assert_eq!(options.attrs, AttrChange { set: attr::RDONLY | attr::NOSUID, clear: 0 });
        let propagation = [(Propagation::Slave, Depth::Tree), (Propagation::Private, Depth::One)];
        assert_eq!(options.propagation, propagation);
        assert_eq!(options.super_flags[0].name, "sync");
        assert_eq!(options.data, [value("size", "1m")]);
    }

    #[test]
    fn the_later_option_counts() {
        let options = MountOptions::parse(["ro", "rw", "noexec", "strictatime", "noatime"]);
        assert_eq!(options.attrs.set, attr::NOEXEC | attr::NOATIME);
        assert_eq!(options.attrs.clear, attr::RDONLY | attr::ATIME_MASK);
    }

    #[test]
    fn recursive_words_are_not_confused_with_others() {
        for (word, bit) in
            [("rro", attr::RDONLY), ("rnosymfollow", attr::NOSYMFOLLOW), ("rnodev", attr::NODEV)]
        {
            assert_eq!(MountOptions::parse([word]).tree_attrs.set, bit, "{word}");
        }
        assert_eq!(MountOptions::parse(["rrw"]).tree_attrs.clear, attr::RDONLY);
        assert_eq!(MountOptions::parse(["rrelatime"]).tree_attrs.clear, attr::ATIME_MASK);
        assert_eq!(MountOptions::parse(["relatime"]).tree_attrs, AttrChange::default());
        assert!(MountOptions::parse(["remount"]).remount);
    }

    #[test]
    fn the_rest_is_for_the_filesystem() {
        let options = MountOptions::parse(["newinstance", "gid=5,mode=0620", r"lowerdir=/a\,b"]);
        let expected = [
            FsOption::Flag("newinstance".into()),
            value("gid", "5"),
            value("mode", "0620"),
            value("lowerdir", r"/a\,b"),
        ];
        assert_eq!(options.data, expected);
        let label = MountOptions::parse([r#"context="system_u:object_r:x_t:s0:c1,c2""#]);
        assert_eq!(label.data, [value("context", "system_u:object_r:x_t:s0:c1,c2")]);
        assert!(label.has_value("context"));
    }
}
