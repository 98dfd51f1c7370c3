//! `org.systemd.property.*`: annotations of a bundle that become properties of the container's unit.
//!
//! Who writes a bundle's annotations may be somebody whom the host does not trust, a pod's author say, and systemd obeys root: with
//! `SuccessAction=poweroff` a container that ends would take the machine along, with `Conflicts=` it would stop the host's services,
//! with `OnFailure=` start them (CVE-2024-3154). So only those properties are taken that touch nothing but the unit itself, and
//! anything else is an error rather than passed over: the container would not be what its author wrote.

use std::collections::BTreeMap;

use dbus::Value;

use crate::error::{Error, Result};
use crate::settings::Property;

const PREFIX: &str = "org.systemd.property.";

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    /// A signed number.
    I32,
    /// Microseconds, or any other unsigned number.
    U64,
    Text,
    Texts,
}

/// The properties that an annotation may set: how the unit is stopped, when it is forgotten, what happens to it when memory is
/// short, how it is shown, and after what of the host it is stopped (which orders, and starts nothing).
const ALLOWED: [(&str, Kind); 17] = [
    ("After", Kind::Texts),
    ("Before", Kind::Texts),
    ("CollectMode", Kind::Text),
    ("DefaultDependencies", Kind::Bool),
    ("Description", Kind::Text),
    ("Documentation", Kind::Texts),
    ("FinalKillSignal", Kind::I32),
    ("KillMode", Kind::Text),
    ("KillSignal", Kind::I32),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMPreference", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("OOMPolicy", Kind::Text),
    ("RuntimeMaxUSec", Kind::U64),
    ("SendSIGHUP", Kind::Bool),
    ("SendSIGKILL", Kind::Bool),
    ("TimeoutStopUSec", Kind::U64),
];

/// The properties that `annotations` set, by name.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let given = annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
    given.map(|(name, value)| property(name, value)).collect()
}

fn property(name: &str, value: &str) -> Result<Property> {
    let bad =
        |reason: String| Error::Annotation { name: sys::one_line(name), reason: sys::one_line(&reason) };
    // As in unit files, what ends in Sec is in seconds; over D-Bus systemd wants microseconds.
    let in_seconds = name.strip_suffix("Sec").filter(|rest| rest.ends_with(|c: char| c.is_ascii_lowercase()));
    let wanted = in_seconds.map_or_else(|| name.to_owned(), |rest| format!("{rest}USec"));
    let Some((name, kind)) = ALLOWED.iter().find(|(allowed, _)| *allowed == wanted) else {
        let allowed = ALLOWED.map(|(allowed, _)| allowed).join(", ");
        return Err(bad(format!("not a property that a bundle may set (these are: {allowed})")));
    };
    let parsed = match (kind, in_seconds) {
        (Kind::U64, Some(_)) => seconds(value).map(Value::U64),
        _ => parse(*kind, value),
    };
    let value = parsed.ok_or_else(|| bad(format!("{value:?} is not {}", kind.in_words())))?;
    Ok(Property::new(*name, value))
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::I32 => "a number (int32)",
            Self::U64 => "a number that is not negative (uint64)",
            Self::Text => "a text in quotes",
            Self::Texts => "a list of texts in quotes: ['a', 'b']",
        }
    }

    /// How GVariant's text names the type, in letters and in words.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Bool => &["@b", "boolean"],
            Self::I32 => &["@i", "int32"],
            Self::U64 => &["@t", "uint64"],
            Self::Text => &["@s", "string"],
            Self::Texts => &["@as"],
        }
    }
}

/// A value in GVariant's text format, of which the type may be left out: it is known.
fn parse(kind: Kind, text: &str) -> Option<Value> {
    let text = text.trim();
    let bare = kind.names().iter().find_map(|name| text.strip_prefix(name)?.strip_prefix(' '));
    let text = bare.unwrap_or(text).trim();
    match kind {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::I32 => i32::try_from(number(text)?).ok().map(Value::I32),
        Kind::U64 => u64::try_from(number(text)?).ok().map(Value::U64),
        Kind::Text => quoted(text).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| Value::Text(text)),
        Kind::Texts => list(text).map(Value::texts),
    }
}

/// Seconds, whole or not, as microseconds; the type may stand before them.
fn seconds(text: &str) -> Option<u64> {
    let number = text.split_whitespace().last()?;
    let seconds: f64 = number.parse().ok()?;
    let micros = (seconds * 1e6).round();
    // Above that a double has no whole numbers left.
    (0.0..9e15).contains(&micros).then_some(micros as u64)
}

fn number(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i128::from(u64::from_str_radix(digits, 16).ok()?),
        None => i128::from(digits.parse::<u64>().ok()?),
    };
    Some(if negative { -value } else { value })
}

/// A text in single or double quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut plain = String::new();
    let mut characters = text[1..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((plain, text[at + 2..].trim_start())),
            '\\' => plain.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other @ ('\\' | '\'' | '"') => other,
                _ => return None,
            }),
            '\0' => return None,
            other => plain.push(other),
        }
    }
    None
}

fn list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut texts = Vec::new();
    while rest != "]" {
        let (text, after) = quoted(rest)?;
        texts.push(text);
        rest = after.strip_prefix(',').map_or(after, str::trim_start);
        if after == rest && rest != "]" {
            return None;
        }
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> std::result::Result<String, String> {
        let property = property(name, value).map_err(|error| error.to_string())?;
        Ok(format!("{} {:?}", property.name, property.value))
    }

    #[test]
    fn values_are_those_of_gvariant() {
        for (name, value, expected) in [
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec U64(123456789)"),
            ("TimeoutStopUSec", "@t 1", "TimeoutStopUSec U64(1)"),
            ("TimeoutStopUSec", "0x10", "TimeoutStopUSec U64(16)"),
            ("TimeoutStopSec", "uint64 5", "TimeoutStopUSec U64(5000000)"),
            ("RuntimeMaxSec", "1.5", "RuntimeMaxUSec U64(1500000)"),
            ("KillSignal", "int32 37", "KillSignal I32(37)"),
            ("CollectMode", "'inactive-or-failed'", "CollectMode Text(\"inactive-or-failed\")"),
            ("Description", r#""it's \"it\"""#, r#"Description Text("it's \"it\"")"#),
            ("DefaultDependencies", "true", "DefaultDependencies Bool(true)"),
            ("After", "['crio.service']", "After Array(\"s\", [Text(\"crio.service\")])"),
            (
                "Before",
                r#"["a.service" , 'b.service']"#,
                "Before Array(\"s\", [Text(\"a.service\"), Text(\"b.service\")])",
            ),
            ("After", "@as []", "After Array(\"s\", [])"),
        ] {
            assert_eq!(of(name, value).as_deref(), Ok(expected), "{name}: {value}");
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for (name, value) in [
            ("TimeoutStopUSec", "'text'"),
            ("TimeoutStopUSec", "-1"),
            ("TimeoutStopUSec", "int32 5"),
            ("TimeoutStopUSec", ""),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "NaN"),
            ("KillSignal", "99999999999"),
            ("CollectMode", "inactive"),
            ("CollectMode", "'a' 'b'"),
            ("CollectMode", "'a"),
            ("Description", "'a\0b'"),
            ("DefaultDependencies", "yes"),
            ("After", "['a' 'b']"),
            ("After", "['a', 5]"),
            ("After", "['a'"),
        ] {
            let error = of(name, value).unwrap_err();
            assert!(error.contains(" is not "), "{name}: {value}: {error}");
        }
    }

    #[test]
    fn what_reaches_beyond_the_unit_is_refused() {
        for name in [
            "SuccessAction",
            "FailureAction",
            "RebootArgument",
            "JobTimeoutAction",
            "OnFailure",
            "OnSuccess",
            "Requires",
            "Wants",
            "Conflicts",
            "BindsTo",
            "PropagatesStopTo",
            "Slice",
            "PIDs",
            "Delegate",
            "MemoryMax",
            "DeviceAllow",
            "DevicePolicy",
            "BPFProgram",
            "IPIngressFilterPath",
            "ExecStartPre",
            "User",
            "Sec",
            "",
            "after",
            "TimeoutStopUSecs",
        ] {
            let error = of(name, "'x'").unwrap_err();
            let start =
                format!("annotation org.systemd.property.{name}: not a property that a bundle may set");
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn other_annotations_are_none_of_our_business() {
        let annotations = [("org.example".to_owned(), "x".to_owned())].into();
        assert!(properties(&annotations).is_ok_and(|list| list.is_empty()));
    }
}
