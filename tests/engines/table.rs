//! Reading the tables. An operation is written as what a user sees at a terminal:
//!
//! ```text
//! exec_stdin: exec -i
//!     needs controllers
//!     $ sleeping
//!     $ seq 20000 | podman exec -i $C wc -l
//!     20000
//! ```
//!
//! The first line has its name and its title. Then come, indented: `needs NEED`, `own daemon`, `under systemd` and `not runc: REASON`; the commands,
//! after `$`, with further lines of the same one after `>`; and what they print. An empty line ends it.

use crate::row::Row;
use testkit::needs::{self, Need};

const INDENT: &str = "    ";

/// What a table may ask of the machine.
const NEEDS: [(&str, Need); 9] = [
    ("controllers", needs::controllers),
    ("memory_controller", needs::memory_controller),
    ("cgroup_v1", needs::cgroup_v1),
    ("criu", needs::criu),
    ("criu_for_tcp", needs::criu_for_tcp),
    ("iptables", needs::iptables),
    ("memory_tracking", needs::memory_tracking),
    ("newuidmap", needs::newuidmap),
    ("no_memory_tracking", needs::no_memory_tracking),
];

/// The operations of a table.
///
/// # Panics
/// When the table is not written as it should be: it is a part of the program.
pub(crate) fn read(text: &'static str) -> Vec<Row> {
    text.split("\n\n").map(str::trim_end).filter(|part| !part.is_empty()).map(operation).collect()
}

fn operation(text: &'static str) -> Row {
    let mut lines = text.trim_start_matches('\n').lines();
    let (name, what) =
        lines.next().and_then(|line| line.split_once(": ")).unwrap_or_else(|| panic!("no title: {text}"));
    let (script, prints) = (String::new(), String::new());
    let mut row = Row {
        name,
        what,
        script,
        prints,
        own_daemon: false,
        under_systemd: false,
        not_runc: None,
        needs: Vec::new(),
    };
    for line in lines {
        let line = line.strip_prefix(INDENT).unwrap_or_else(|| panic!("{name}: not indented: {line}"));
        match line.split_once(' ') {
            Some(("$" | ">", command)) => row.script += &format!("{command}\n"),
            Some(("needs", need)) => row.needs.push(need_of(name, need)),
            Some(("not", reason)) if reason.starts_with("runc: ") => {
                row.not_runc = reason.strip_prefix("runc: ");
            }
            _ if line == "own daemon" => row.own_daemon = true,
            _ if line == "under systemd" => {
                row.under_systemd = true;
                row.needs.push(needs::booted_by_systemd);
            }
            _ => row.prints += &format!("{line}\n"),
        }
    }
    assert!(!row.script.is_empty(), "{name}: does nothing");
    row
}

fn need_of(name: &str, need: &str) -> Need {
    NEEDS.iter().find(|(word, _)| *word == need).unwrap_or_else(|| panic!("{name}: needs {need}?")).1
}
