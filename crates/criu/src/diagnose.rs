//! What CRIU's errors mean, what they are about, and what to do.

use std::fmt;

use sys::one_line;

use crate::Class;
use crate::log::{Level, Line};
use crate::pattern::{self, Pattern};
use crate::rules::{RULES, Rule};

/// The meaning of an error line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is wrong.
    pub class: Class,
    /// What it is about (a path, a socket, a process), as far as the log tells.
    pub object: Option<String>,
    /// What to do.
    pub cure: String,
    /// The process, if the log names one: for a dump as the host counts, for a restore as the container does.
    pub pid: Option<i32>,
    /// The line it was found by, as CRIU printed it.
    pub line: String,
}

impl fmt::Display for Diagnosis {
    /// `<what is wrong>: <what it is about> (<what to do>) [<class>]`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.problem())?;
        if let Some(object) = &self.object {
            write!(f, ": {}", one_line(object))?;
        }
        write!(f, " ({}) [{}]", one_line(&self.cure), self.class)
    }
}

/// What CRIU goes on after as long as nothing worse comes: only these two kinds of warning say why it failed.
const BY_WARNING: [Class; 2] = [Class::Traced, Class::ProcessGone];

/// Finds the first line that the table knows; errors come before warnings.
pub fn diagnose(lines: &[Line]) -> Option<Diagnosis> {
    let of = |level| lines.iter().enumerate().filter(move |(_, line): &(usize, &Line)| line.level == level);
    let by_error = of(Level::Error).find_map(|(index, line)| find(line, index, lines, |_| true));
    by_error.or_else(|| {
        of(Level::Warning)
            .find_map(|(index, line)| find(line, index, lines, |rule| BY_WARNING.contains(&rule.class)))
    })
}

fn find(line: &Line, index: usize, lines: &[Line], is_for: impl Fn(&Rule) -> bool) -> Option<Diagnosis> {
    let known = |rule: &'static Rule| Some((rule, rule.pattern.find(&line.text)?));
    let (rule, words) = RULES.iter().filter(|rule| is_for(rule)).find_map(known)?;
    let pid = line.pid.filter(|_| !is_about_dump(lines)).or_else(|| blamed(&lines[index..]));
    let object = match (rule.object, pid) {
        ("", None) => None,
        ("", Some(pid)) => Some(format!("process {pid}")),
        (template, None) => Some(pattern::fill(template, &words)),
        (template, Some(_)) if template.contains("process ") => Some(pattern::fill(template, &words)),
        (template, Some(pid)) => Some(format!("{}, process {pid}", pattern::fill(template, &words))),
    };
    let cure = if rule.cure.is_empty() { rule.class.cure() } else { rule.cure };
    Some(Diagnosis {
        class: rule.class,
        object,
        cure: pattern::fill(cure, &words),
        pid,
        line: line.to_string(),
    })
}

/// The words by which CRIU tells, after what went wrong, with which process it did.
const BLAMES: [Pattern; 3] = [
    Pattern("(pid: {pid}) failed with"),
    Pattern("Can't dump misc (pid: {pid})"),
    Pattern("Can't infect (pid: {pid})"),
];

/// The process that the first consequence of an error names.
fn blamed(lines: &[Line]) -> Option<i32> {
    let pid = |line: &Line| BLAMES.iter().find_map(|blame| blame.find(&line.text)?.first()?.1.parse().ok());
    lines.iter().filter(|line| line.level == Level::Error).find_map(pid)
}

/// In a dump a prefix is that of CRIU's code inside the process, which counts as the container does.
fn is_about_dump(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.text.contains("umping FAILED."))
}
