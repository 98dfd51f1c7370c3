//! What a caller sees of a command, without what no two runs have in common.

use testkit::Output;

/// The names that stand in command lines, and that outputs are freed of.
pub(crate) struct Names {
    /// The container's id (`$I`).
    pub(crate) id: String,
    /// The bundle's directory (`$B`).
    pub(crate) bundle: String,
    /// A directory for the case's files (`$D`).
    pub(crate) directory: String,
    /// The state root (`$R`).
    pub(crate) root: String,
}

impl Names {
    fn pairs(&self) -> [(&'static str, &str); 4] {
        [("$B", &self.bundle), ("$D", &self.directory), ("$R", &self.root), ("$I", &self.id)]
    }

    /// Names for their signs.
    pub(crate) fn put_in(&self, text: &str) -> String {
        self.pairs().iter().fold(text.to_owned(), |text, (sign, name)| text.replace(sign, name))
    }

    /// Signs for the names.
    fn take_out(&self, text: &str) -> String {
        self.pairs().iter().fold(text.to_owned(), |text, (sign, name)| text.replace(name, sign))
    }
}

/// How the lines of an output are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In the order in which they were printed.
    AsPrinted,
    /// Their order tells nothing.
    None,
    /// As printed, but numbers and the width of blanks tell nothing.
    WithoutNumbers,
    /// They are mountinfo's.
    OfMounts,
}

/// What a case shows on one runtime.
#[derive(Default)]
pub(crate) struct Transcript {
    /// Command lines, what they printed, how they ended.
    pub(crate) seen: String,
    /// What stood on stderr, for who reads of a failure; the words are not compared.
    pub(crate) said: String,
}

impl Transcript {
    /// Adds one step; without an order, what it printed is not compared.
    pub(crate) fn add(&mut self, line: &str, output: &Output, names: &Names, order: Option<Order>) {
        self.seen.push_str(&format!("$ {line}\n"));
        if let Some(order) = order {
            self.seen.push_str(&order.apply(&names.take_out(&output.stdout)));
        }
        self.seen.push_str(&format!("status {}\n", output.code));
        // A warning on stderr is no error.
        let is_warning = |line: &&str| line.starts_with("rt: warn: ") || line.contains("level=warning");
        let errors: String =
            output.stderr.lines().filter(|line| !is_warning(line)).map(|line| format!("{line}\n")).collect();
        if output.code != 0 && !errors.trim().is_empty() {
            self.seen.push_str(&format!("error {:?}\n", Class::of(&errors)));
        }
        self.said.extend(output.stderr.lines().take(3).map(|line| format!("    {line}\n")));
    }
}

impl Order {
    fn apply(self, stdout: &str) -> String {
        let of_line = match self {
            Self::OfMounts => mount,
            Self::WithoutNumbers => without_numbers,
            Self::AsPrinted | Self::None => normal,
        };
        let mut lines: Vec<_> = stdout.lines().map(of_line).collect();
        match self {
            Self::AsPrinted | Self::WithoutNumbers => {}
            Self::None => lines.sort_unstable(),
            // The kernel lists mounts as they were made, and rt makes some before it puts any in its place (open_tree(2)).
            Self::OfMounts => lines.sort_unstable_by(|a, b| a.split(' ').nth(1).cmp(&b.split(' ').nth(1))),
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

/// A line without pids and times.
fn normal(line: &str) -> String {
    let line = line.replace("1.0.2-dev", "1.0.2");
    for key in ["\"pid\": ", "\"created\": "] {
        if let Some((before, value)) = line.split_once(key) {
            let value = if value.starts_with('0') { value } else { "<SOME>," };
            return format!("{before}{key}{value}");
        }
    }
    line
}

/// A line with `#` for each number and one blank for several.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for character in line.trim().chars() {
        let sign = if character.is_ascii_digit() { '#' } else { character };
        if !(matches!(sign, '#' | ' ') && text.ends_with(sign)) {
            text.push(sign);
        }
    }
    text
}

/// Of a mountinfo line, what does not change from run to run: root within the file system, mount point, options, whether it
/// propagates, type, source and the file system's options.
fn mount(line: &str) -> String {
    let words = line.split(' ').skip(3);
    words.map(|word| word.split_once(':').map_or(word, |(kind, _)| kind)).collect::<Vec<_>>().join(" ")
}

/// What went wrong, as far as engines and people tell errors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The command line itself.
    Usage,
    /// No such container.
    NoContainer,
    /// There is one of that name.
    Exists,
    /// A name that is none.
    BadId,
    /// The container is not in the state for that.
    WrongState,
    /// The program is not there, or cannot be run.
    Program,
    /// A file or directory is not there.
    NoFile,
    /// It is something else than it should be.
    WrongKind,
    /// Not allowed.
    Permission,
    /// A hook failed.
    Hook,
    /// config.json asks for what makes no sense.
    Config,
    /// Anything else.
    Other,
}

/// Words, in the order in which they decide.
const WORDS: &[(Class, &[&str])] = &[
    (
        Class::Usage,
        &[
            "flag provided but not defined",
            "flag needs an argument",
            "bad flag syntax",
            "cannot use two forms of the same flag",
            "requires exactly",
            "requires a minimum",
            "requires a maximum",
            "missing argument",
            "unexpected argument",
            "no help topic",
            "unknown command",
            "unrecognized subcommand",
            "invalid value '",
            "invalid value \"",
            "invalid boolean value",
            "invalid format",
            "invalid number",
            "invalid log-format",
            "unknown signal",
            "bad signal",
            "exec needs a program",
            "process args cannot be empty",
            "must be uid[:gid]",
            "parsing \"root\" as int",
            "parsing \"x\" as int",
        ],
    ),
    (Class::BadId, &["invalid container id", "invalid id format", "container id cannot be empty"]),
    (Class::Exists, &["already exists", "given id", "exists. remove it first"]),
    (
        Class::Config,
        &[
            "config.json: ",
            ".json: process.",
            "rt: linux.",
            "rt: mounts[",
            "rt: process.",
            "must be name=value",
        ],
    ),
    (Class::Hook, &["running hook", " hook #", "hook #"]),
    (Class::NoContainer, &["container does not exist", " does not exist"]),
    (Class::Program, &["executable file not found", "exec: \"", "exec /", "exec \"/", "exec format error"]),
    (
        Class::WrongState,
        &[
            "not running",
            "stopped",
            "paused",
            "cannot start",
            "cannot exec",
            "already finished",
            "is not created",
        ],
    ),
    (Class::NoFile, &["no such file or directory"]),
    (Class::WrongKind, &["not a directory"]),
    (Class::Permission, &["permission denied", "operation not permitted", "read-only file system"]),
];

/// Words by which runc says that config.json is wrong.
const CONFIG_OF_RUNC: &[&str] = &[
    "json: cannot unmarshal",
    "invalid character",
    "invalid device type",
    "run failed: eof",
    "unexpected eof",
    "wrong rlimit value",
    "is not a valid action",
    "namespace {",
    "malformed spec",
    "must be specified",
    "is not in a separate kernel namespace",
    "is not allowed in the hosts network namespace",
    "without a private",
    "isn't enabled in the config",
    "not an absolute path",
    "must not be empty",
    "is not supported",
    "invalid cgroup device",
    "specification of process",
    "invalid mount",
    "cannot specify",
    "runc run failed: cwd",
];

impl Class {
    fn of(stderr: &str) -> Self {
        let lines = || stderr.lines().filter(|line| line.contains("level=error"));
        let text: String = if lines().next().is_some() { lines().collect() } else { stderr.to_owned() };
        let text = text.to_lowercase().replace('\\', "");
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if !text.contains("\nusage: ") && has(CONFIG_OF_RUNC) {
            return Self::Config;
        }
        WORDS.iter().find(|(_, words)| has(words)).map_or(Self::Other, |(class, _)| *class)
    }
}

/// What differs between two transcripts, each line after the sign of its side.
pub(crate) fn difference(ours: &str, its: &str) -> String {
    let (left, right): (Vec<_>, Vec<_>) = (ours.lines().collect(), its.lines().collect());
    let mut text = String::from("rt (-) and runc (+) differ:\n");
    let mut position = 0;
    for line in &left {
        match right[position..].iter().position(|other| other == line) {
            Some(skipped) => {
                text.extend(right[position..position + skipped].iter().map(|line| format!("  + {line}\n")));
                position += skipped + 1;
                if line.starts_with("$ ") {
                    text.push_str(&format!("    {line}\n"));
                }
            }
            None => text.push_str(&format!("  - {line}\n")),
        }
    }
    text.extend(right[position..].iter().map(|line| format!("  + {line}\n")));
    text
}
