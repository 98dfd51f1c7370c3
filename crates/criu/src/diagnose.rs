//! What CRIU's errors mean, and what to do about them.

use crate::log::{Level, Line};
use crate::rules::RULES;

/// The meaning of an error line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is wrong, in a few words.
    pub problem: &'static str,
    /// What to do.
    pub advice: &'static str,
    /// The line it was found by, as CRIU printed it.
    pub line: String,
}

/// A line of the table: an error that has all of `parts` means this.
pub(crate) struct Rule {
    parts: &'static [&'static str],
    problem: &'static str,
    advice: &'static str,
}

pub(crate) const fn rule(
    parts: &'static [&'static str],
    problem: &'static str,
    advice: &'static str,
) -> Rule {
    Rule { parts, problem, advice }
}

/// Finds the first line that the table knows; errors come before warnings.
pub fn diagnose(lines: &[Line]) -> Option<Diagnosis> {
    let of = |level| lines.iter().filter(move |line: &&Line| line.level == level);
    of(Level::Error).chain(of(Level::Warning)).find_map(|line| {
        let rule = RULES.iter().find(|rule| rule.parts.iter().all(|part| line.text.contains(part)))?;
        Some(Diagnosis { problem: rule.problem, advice: rule.advice, line: line.to_string() })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Lines that CRIU 4.1.1 (the vDSO's: 3.17.1) really wrote, each with words of what we make of it.
    const REAL: [(&str, &str); 16] = [
        ("Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds", "too old for this kernel"),
        (
            "Error (criu/sockets.c:628): sockets: Can't get 1:16 opt: Operation not supported",
            "too old for this kernel",
        ),
        (
            "Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You can try --file-locks to dump them.",
            "--file-locks",
        ),
        (
            "Error (criu/files-reg.c:1031): Can't dump ghost file /tmp/ghost of 2097152 size, increase limit",
            "--ghost-limit",
        ),
        (
            "Error (criu/files-reg.c:1122): Can't create link remap for /tmp/a. Use link-remap option.",
            "--link-remap",
        ),
        ("pie: 10177: Error (criu/pie/parasite.c:588): send_fds failed (-22)", "io_uring"),
        (
            "Error (criu/sk-unix.c:874): unix: External socket is used. Consider using --ext-unix-sk option.",
            "--ext-unix-sk",
        ),
        (
            "Error (criu/tty.c:410): tty: Found slave peer index 0 without correspond master peer",
            "--shell-job",
        ),
        ("Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=0 path=/dev/null", "external"),
        (
            "(00.005)      7: Error (criu/files-reg.c:2227): File tmp/log has bad size 44 (expect 4)",
            "changed its size",
        ),
        ("Error (criu/cr-restore.c:1230): Can't fork for 11285: File exists", "id of the images is taken"),
        ("Error (criu/protobuf.c:72): Unexpected EOF on (empty-image)", "incomplete"),
        (
            "Warn  (compel/src/lib/infect.c:133): Unable to interrupt task: 11414 (Operation not permitted)",
            "traced",
        ),
        (
            "Error (criu/config.c:1128): Tracking memory is not available. Consider omitting --track-mem option.",
            "CONFIG_MEM_SOFT_DIRTY",
        ),
        (
            "Error (criu/util.c:641): execvp(\"iptables-restore\", ...) failed: No such file or directory",
            "install iptables",
        ),
        ("Error (criu/page-pipe.c:300): page-pipe: splice: -1: Bad file descriptor", "pipe-max-size"),
    ];

    #[test]
    fn real_lines_are_understood() {
        for (text, expected) in REAL {
            let line = Line::parse(text).expect(text);
            let found = diagnose(&[line]).expect(text);
            let said = format!("{} ({})", found.problem, found.advice);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn the_first_error_that_is_known_wins_over_warnings_and_consequences() {
        let lines: Vec<Line> = [
            "Warn  (compel/src/lib/infect.c:133): Unable to interrupt task: 7 (No such process)",
            "Error (criu/x.c:1): something unheard of",
            "Error (criu/sk-inet.c:192): inet: Connected TCP socket, consider using --tcp-established option.",
            "Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks!",
        ]
        .iter()
        .filter_map(|line| Line::parse(line))
        .collect();
        assert!(diagnose(&lines).unwrap().advice.contains("--tcp-established"));
        assert_eq!(diagnose(&lines[1..2]), None);
    }

    #[test]
    fn every_rule_is_one_line_of_plain_words() {
        for rule in &RULES {
            assert!(!rule.parts.is_empty() && rule.parts.iter().all(|part| part.len() > 2));
            assert!(!format!("{}{}", rule.problem, rule.advice).contains('\n'));
        }
    }
}
