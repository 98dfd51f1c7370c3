//! What a check found.

use criu::Class;
use serde::{Serialize, Serializer};
use std::fmt;

/// What a finding means for a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does not stand in the way.
    Ok,
    /// It may, or something will be other than expected.
    Warning,
    /// A dump would fail.
    WouldFail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::WouldFail => "would fail",
        })
    }
}

/// One thing that a check looked at, in the words of the error that a dump would end with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// The kind of failure that it is, would be, or is not.
    #[serde(serialize_with = "by_name")]
    pub class: Class,
    /// What it is about.
    pub object: String,
    /// The process, as the host counts, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What to do; empty where nothing need be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cure: String,
}

fn by_name<S: Serializer>(class: &Class, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(class.name())
}

impl Finding {
    /// It does not stand in the way.
    pub(super) fn ok(class: Class, object: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, class, object: object.into(), pid: None, cure: String::new() }
    }

    /// It may stand in the way.
    pub(super) fn warning(class: Class, object: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, cure: class.cure().to_owned(), ..Self::ok(class, object) }
    }

    /// A dump would fail.
    pub(super) fn fails(class: Class, object: impl Into<String>) -> Self {
        Self { verdict: Verdict::WouldFail, ..Self::warning(class, object) }
    }

    /// A dump would fail, unless the caller allows it.
    pub(super) fn unless(allowed: bool, class: Class, object: impl Into<String>) -> Self {
        if allowed { Self::ok(class, object) } else { Self::fails(class, object) }
    }

    /// With the process that it is about.
    pub(super) fn of(self, pid: i32) -> Self {
        Self { pid: Some(pid), ..self }
    }

    /// With a cure that says more than the class'.
    pub(super) fn cured_by(self, cure: impl Into<String>) -> Self {
        if self.verdict == Verdict::Ok { self } else { Self { cure: cure.into(), ..self } }
    }
}
