//! What a dump would be allowed: by the request, and by the configuration files that CRIU reads besides.

use super::super::request::{Checkpoint, Kind};
use super::proc::text;
use crate::store::Record;
use criu::Tcp;

/// What may be found without a dump failing.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    pub(super) tcp: Tcp,
    pub(super) ext_unix_sk: bool,
    pub(super) shell_job: bool,
    pub(super) file_locks: bool,
    pub(super) link_remap: bool,
    pub(super) ghost_limit: Option<u32>,
    /// Resources of the outside, in CRIU's words.
    pub(super) external: Vec<String>,
    pub(super) file_systems: FileSystems,
    /// Processes that came in by exec are not lost, since the container stays.
    pub(super) leave_running: bool,
    /// Where stdio, and what it was passed, led when the container was made.
    pub(super) handed: Vec<String>,
}

/// The types of file systems that the administrator has CRIU mount though it does not know them (`enable-fs`).
#[derive(Clone, Debug, Default)]
pub(super) struct FileSystems(Vec<String>);

impl FileSystems {
    pub(super) fn accept(&self, kind: &str) -> bool {
        self.0.iter().any(|accepted| accepted == kind || accepted == "all")
    }
}

impl Allowed {
    /// What a request allows.
    pub(super) fn by(request: &Checkpoint, record: &Record) -> Self {
        let allow = &request.allow;
        Self {
            tcp: allow.tcp,
            ext_unix_sk: allow.ext_unix_sk,
            shell_job: allow.shell_job,
            file_locks: allow.file_locks,
            link_remap: request.link_remap,
            ghost_limit: request.ghost_limit,
            external: allow.external.clone(),
            file_systems: FileSystems::default(),
            leave_running: match request.kind {
                Kind::Dump(after) => after.stays(),
                Kind::PreDump(_) => true,
            },
            handed: record.stdio.iter().chain(&record.passed).cloned().collect(),
        }
    }

    /// With what CRIU's configuration files add: the machine's, and the one that is read last.
    pub(super) fn with_files(mut self, last: Option<&str>) -> Self {
        let files = ["/etc/criu/default.conf"].into_iter().chain(last);
        for file in files.filter_map(text) {
            self = self.with_text(&file);
        }
        self
    }

    /// With what such a file says.
    pub(super) fn with_text(mut self, file: &str) -> Self {
        file.lines().for_each(|line| self.read(line));
        self
    }

    /// A line of such a file: an option without its dashes, and its value after a blank or `=`; `#` begins a comment.
    fn read(&mut self, line: &str) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (option, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        let value = value.trim().trim_matches('"');
        match option {
            "tcp-established" => self.tcp.established = true,
            "tcp-close" => self.tcp.close = true,
            "skip-in-flight" => self.tcp.skip_in_flight = true,
            "ext-unix-sk" => self.ext_unix_sk = true,
            "shell-job" => self.shell_job = true,
            "file-locks" => self.file_locks = true,
            "link-remap" => self.link_remap = true,
            "ghost-limit" => self.ghost_limit = size(value).or(self.ghost_limit),
            "external" => self.external.push(value.to_owned()),
            "enable-fs" => self.file_systems.0.extend(value.split(',').map(str::to_owned)),
            _ => {}
        }
    }

    /// Whether something is declared external whose name begins so.
    pub(super) fn is_external(&self, name: &str) -> bool {
        self.external.iter().any(|external| external.starts_with(name))
    }
}

/// A number with K, M or G behind it.
fn size(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u32>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_allow_as_flags_do() {
        let file = "# all\ntcp-established # for the database\nghost-limit 300M\nexternal unix[7]\nenable-fs=xfs,ext4\n\nfile-locks\n";
        let allowed = Allowed::default().with_text(file);
        assert!(allowed.tcp.established && allowed.file_locks && !allowed.shell_job);
        assert_eq!(allowed.ghost_limit, Some(300 << 20));
        assert!(allowed.is_external("unix[7]") && !allowed.is_external("unix[8]"));
        assert!(allowed.file_systems.accept("xfs") && !allowed.file_systems.accept("zfs"));
        assert_eq!((size("2k"), size("9G"), size("x"), size("7")), (Some(2048), None, None, Some(7)));
    }
}
