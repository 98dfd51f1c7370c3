//! The rules of the spec, boiled down to one default and its exceptions.

use std::collections::BTreeMap;
use std::fmt;

use spec::oci::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, Result};

/// What every container may do, whatever its spec says: runc's list.
///
/// Making any node is harmless, since opening it is what counts. /dev/console is not here: it is a pty (136:*).
const ALWAYS_ALLOWED: [(Kind, Option<u32>, Option<u32>, Access); 11] = [
    (Kind::Char, None, None, Access::MKNOD),
    (Kind::Block, None, None, Access::MKNOD),
    (Kind::Char, Some(1), Some(3), Access::ALL),    // null
    (Kind::Char, Some(1), Some(5), Access::ALL),    // zero
    (Kind::Char, Some(1), Some(7), Access::ALL),    // full
    (Kind::Char, Some(1), Some(8), Access::ALL),    // random
    (Kind::Char, Some(1), Some(9), Access::ALL),    // urandom
    (Kind::Char, Some(5), Some(0), Access::ALL),    // tty
    (Kind::Char, Some(5), Some(2), Access::ALL),    // ptmx
    (Kind::Char, Some(10), Some(200), Access::ALL), // net/tun
    (Kind::Char, Some(136), None, Access::ALL),     // pts/*
];

/// The kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Block device.
    Block,
    /// Character device.
    Char,
}

/// A set of the accesses `r`, `w` and `m`; the bits are the kernel's (BPF_DEVCG_ACC_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Make the node.
    pub const MKNOD: Self = Self(1);
    /// Open it for reading.
    pub const READ: Self = Self(2);
    /// Open it for writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The bits as the kernel has them.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Those of `self` that are not in `other`.
    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut access = 0;
        for letter in text.chars() {
            access |= match letter {
                'r' => Self::READ.0,
                'w' => Self::WRITE.0,
                'm' => Self::MKNOD.0,
                _ => return None,
            };
        }
        (access != 0).then_some(Self(access))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (access, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.meets(access) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// A device or many: `None` stands for every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) kind: Kind,
}

impl Pattern {
    /// Whether each device of `self` is one of `other` as well.
    fn is_within(&self, other: &Self) -> bool {
        let covers = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
        self.kind == other.kind && covers(other.major, self.major) && covers(other.minor, self.minor)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// A default and its exceptions.
///
/// This is all that v1's devices controller can hold, and v2 gets the same, so that a spec means one thing on both. A
/// rule of type `a` sets the default and forgets the exceptions; every other rule adds an exception or takes one back.
/// Taking back a part of a wider exception (`allow c 1:*`, then `deny c 1:3`) would be ignored by v1's kernel without
/// a word, and the device would stay open: it is an error here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    default_allow: bool,
    exceptions: BTreeMap<Pattern, Access>,
}

impl Policy {
    /// The policy of `linux.resources.devices`, in the order given, followed by what every container may do.
    pub fn new(rules: &[LinuxDeviceCgroup]) -> Result<Self> {
        let mut policy = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            policy.add(rule).map_err(|reason| Error::resource(format!("devices[{index}]"), reason))?;
        }
        // Where all is allowed but a few, those few were denied on purpose.
        let defaults = if policy.default_allow { &[] } else { ALWAYS_ALLOWED.as_slice() };
        for &(kind, major, minor, access) in defaults {
            policy
                .apply(true, Pattern { major, minor, kind }, access)
                .map_err(|reason| Error::resource("devices", reason))?;
        }
        Ok(policy)
    }

    /// Whether everything is allowed.
    pub fn allows_all(&self) -> bool {
        self.default_allow && self.exceptions.is_empty()
    }

    /// What happens to a device without an exception.
    pub(super) fn default_allow(&self) -> bool {
        self.default_allow
    }

    /// The exceptions by major, minor and kind.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = (&Pattern, Access)> {
        self.exceptions.iter().map(|(pattern, access)| (pattern, *access))
    }

    /// The file of v1 that gets the line `a`, and the file and the lines for the exceptions.
    pub(crate) fn v1_lines(&self) -> (&'static str, &'static str, Vec<String>) {
        let lines = self.exceptions().map(|(pattern, access)| format!("{pattern} {access}")).collect();
        match self.default_allow {
            true => ("devices.allow", "devices.deny", lines),
            false => ("devices.deny", "devices.allow", lines),
        }
    }

    /// What v1's `devices.allow` and then `devices.deny` must be told so that this policy stands where `list`
    /// (`devices.list`) does; `None` if that takes another default, or the list does not show all (it leaves out what is denied).
    pub(crate) fn v1_changes(&self, list: &str) -> Option<(Vec<String>, Vec<String>)> {
        let now = list.lines().map(parse_line).collect::<Option<BTreeMap<_, _>>>()?;
        if self.default_allow {
            return None;
        }
        let more = |new: &BTreeMap<Pattern, Access>, old: &BTreeMap<Pattern, Access>| {
            let without = |(pattern, access): (&Pattern, &Access)| {
                let rest = access.without(old.get(pattern).copied().unwrap_or(Access(0)));
                (rest.0 != 0).then(|| format!("{pattern} {rest}"))
            };
            new.iter().filter_map(without).collect()
        };
        Some((more(&self.exceptions, &now), more(&now, &self.exceptions)))
    }

    /// The policy as systemd's `DevicePolicy=` and `DeviceAllow=` have it, as far as they can.
    ///
    /// A few denied devices cannot be said, nor can one minor number of every major; the file or program that is written
    /// afterwards says them.
    pub(crate) fn unit_entries(&self) -> (&'static str, Vec<(String, String)>) {
        if self.default_allow {
            return ("auto", Vec::new());
        }
        let device = |pattern: &Pattern| {
            let kind = if pattern.kind == Kind::Block { "block" } else { "char" };
            match (pattern.major, pattern.minor) {
                (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
                (Some(major), None) => Some(format!("{kind}-{major}")),
                (None, None) => Some(format!("{kind}-*")),
                (None, Some(_)) => None,
            }
        };
        let entries =
            self.exceptions().filter_map(|(pattern, access)| Some((device(pattern)?, access.to_string())));
        ("strict", entries.collect())
    }

    fn add(&mut self, rule: &LinuxDeviceCgroup) -> std::result::Result<(), String> {
        let text = rule.access().as_deref().unwrap_or_default();
        if text.is_empty() {
            return Err("device access field cannot be empty".to_owned());
        }
        let access = Access::parse(text).ok_or_else(|| format!("access {text:?} is not of r, w and m"))?;
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => {
                *self = Self { default_allow: rule.allow(), exceptions: BTreeMap::new() };
                return Ok(());
            }
            Some(LinuxDeviceType::B) => Kind::Block,
            Some(LinuxDeviceType::C) => Kind::Char,
            Some(other) => return Err(format!("invalid cgroup device type {:?}", other.as_str())),
        };
        self.apply(
            rule.allow(),
            Pattern { major: number(rule.major())?, minor: number(rule.minor())?, kind },
            access,
        )
    }

    fn apply(&mut self, allow: bool, pattern: Pattern, access: Access) -> std::result::Result<(), String> {
        if allow != self.default_allow {
            let entry = self.exceptions.entry(pattern).or_insert(Access(0));
            *entry = Access(entry.0 | access.0);
            return Ok(());
        }
        let is_wider = |other: &Pattern| *other != pattern && pattern.is_within(other);
        if let Some((wide, has)) = self.exceptions().find(|(other, has)| is_wider(other) && has.meets(access))
        {
            return Err(format!(
                "cannot punch hole {pattern} {access} in existing wildcard rule {wide} {has}"
            ));
        }
        // Denying `c 1:*` takes an allowed `c 1:3` back too; allowing takes back only what was denied by name.
        let is_meant = |other: &Pattern| if allow { *other == pattern } else { other.is_within(&pattern) };
        self.exceptions.retain(|other, has| {
            if is_meant(other) {
                *has = has.without(access);
            }
            has.0 != 0
        });
        Ok(())
    }

    /// What the kernel of v1 would answer; the filter of v2 is tested against it.
    #[cfg(test)]
    pub(super) fn allows(&self, kind: Kind, major: u32, minor: u32, access: Access) -> bool {
        let device = Pattern { major: Some(major), minor: Some(minor), kind };
        let mut matching = self.exceptions().filter(|(pattern, _)| device.is_within(pattern));
        match self.default_allow {
            true => !matching.any(|(_, denied)| denied.meets(access)),
            false => matching.any(|(_, allowed)| access.without(allowed).0 == 0),
        }
    }
}

/// A device number of the spec: absent and -1 are every number.
/// A line of `devices.list`, such as `c 1:3 rwm`; `None` for the one that stands for all, `a *:* rwm`.
fn parse_line(line: &str) -> Option<(Pattern, Access)> {
    let [kind, numbers, access] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let kind = match kind {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    let (major, minor) = numbers.split_once(':')?;
    Some((Pattern { major: number(major)?, minor: number(minor)?, kind }, Access::parse(access)?))
}

fn number(value: Option<i64>) -> std::result::Result<Option<u32>, String> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value).map(Some).map_err(|_| format!("{value} is no device number")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(json: &str) -> std::result::Result<Policy, String> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        Policy::new(&rules).map_err(|error| error.to_string())
    }

    fn lines(json: &str) -> String {
        let (first, file, lines) = policy(json).unwrap().v1_lines();
        format!("{first} a; {file} {}", lines.join(", "))
    }

    const DEFAULT: &str = "devices.deny a; devices.allow b *:* m, c *:* m, c 1:3 rwm, c 1:5 rwm, c 1:7 rwm, c 1:8 rwm, \
                           c 1:9 rwm, c 5:0 rwm, c 5:2 rwm, c 10:200 rwm, c 136:* rwm";

    #[test]
    fn without_rules_and_with_the_usual_rule_it_is_runcs_list() {
        assert_eq!(lines("[]"), DEFAULT);
        assert_eq!(lines(r#"[{"allow":false,"access":"rwm"}]"#), DEFAULT);
    }

    #[test]
    fn rules_count_in_their_order() {
        let json = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
            {"allow":true,"type":"b","major":8,"access":"r"},{"allow":false,"type":"c","major":10,"minor":229,"access":"w"}]"#;
        let text = lines(json);
        assert!(text.contains("b 8:* r") && text.contains("c 10:229 r,"), "{text}");
        let json = r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
            {"allow":false,"type":"c","major":10,"access":"rwm"}]"#;
        assert_eq!(lines(json), DEFAULT);
    }

    #[test]
    fn privileged_allows_all_and_can_deny_one() {
        assert!(policy(r#"[{"allow":true,"access":"rwm"}]"#).unwrap().allows_all());
        let json = r#"[{"allow":true,"type":"a","access":"rwm"},{"allow":false,"type":"c","major":10,"minor":237,"access":"rw"}]"#;
        assert_eq!(lines(json), "devices.allow a; devices.deny c 10:237 rw");
    }

    #[test]
    fn a_list_of_v1_is_changed_by_what_differs() {
        let json = r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"rw"}]"#;
        let new = policy(json).unwrap();
        let (_, _, lines) = Policy::new(&[]).unwrap().v1_lines();
        let changes = |list: &str| new.v1_changes(list);
        let strings = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(changes(&lines.join("\n")), Some((strings(&["c 1:11 rw"]), strings(&[]))));
        let other = format!("{}\nb 8:* rwm\nc 1:11 wm", lines.join("\n"));
        assert_eq!(changes(&other), Some((strings(&["c 1:11 r"]), strings(&["c 1:11 m", "b 8:* rwm"]))));
        assert_eq!(changes("a *:* rwm"), None);
        let all = policy(r#"[{"allow":true,"access":"rwm"}]"#).unwrap();
        assert_eq!(all.v1_changes(&lines.join("\n")), None);
    }

    #[test]
    fn what_cannot_hold_is_refused() {
        for (json, expected) in [
            (
                r#"[{"allow":true,"type":"c"}]"#,
                "linux.resources.devices[0]: device access field cannot be empty",
            ),
            (
                r#"[{"allow":true,"type":"c","access":"rx"}]"#,
                "linux.resources.devices[0]: access \"rx\" is not of r, w and m",
            ),
            (
                r#"[{"allow":true,"type":"p","access":"r"}]"#,
                "linux.resources.devices[0]: invalid cgroup device type \"p\"",
            ),
            (
                r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#,
                "linux.resources.devices[0]: -2 is no device number",
            ),
            (
                r#"[{"allow":true,"type":"c","major":1,"access":"r"},{"allow":false,"type":"c","major":1,"minor":3,"access":"r"}]"#,
                "linux.resources.devices[1]: cannot punch hole c 1:3 r in existing wildcard rule c 1:* r",
            ),
        ] {
            assert_eq!(policy(json).unwrap_err(), expected);
        }
    }
}
