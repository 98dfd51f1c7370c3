//! The documents that `spec` and `features` write, field by field.

use std::collections::{BTreeMap, BTreeSet};
use testkit::{Case, Fallible, Outcome, Runtime, Test, Value, comparing};

/// A difference between two documents.
pub(crate) struct Difference {
    /// What a reader sees.
    pub(crate) what: &'static str,
    /// Why it is so.
    pub(crate) reason: &'static str,
    /// The case that compares the document.
    pub(crate) case: &'static str,
    /// The start of the JSON pointers of what differs.
    pointers: &'static [&'static str],
}

/// All that may differ.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "`spec` names the host `rt`, and the version 1.0.2 of the specification",
        reason: "the name is the program's; Debian's runc writes `1.0.2-dev`",
        case: "spec",
        pointers: &["/hostname", "/ociVersion"],
    },
    Difference {
        what: "`spec` gives no ambient capabilities",
        reason: "as runc 1.2 does not: a program of another user would get them without having asked",
        case: "spec",
        pointers: &["/process/capabilities/ambient"],
    },
    Difference {
        what: "`features` reports spec 1.0.0 to 1.3.0",
        reason: "runc 1.1.5 knows 1.0.2",
        case: "features",
        pointers: &["/ociVersionMax", "/ociVersionMin"],
    },
    Difference {
        what: "`features` names the parts that came after runc 1.1",
        reason: "the specification of the document has grown; runc 1.5 has them, too",
        case: "features",
        pointers: &[
            "/linux/intelRdt",
            "/linux/mountExtensions",
            "/linux/memoryPolicy",
            "/linux/netDevices",
            "/potentiallyUnsafeConfigAnnotations",
            "/linux/cgroup/rdma",
            "/linux/capabilities",
            "/linux/namespaces",
        ],
    },
    Difference {
        what: "`features` lists rt's own mount options",
        reason: "recursive ones and those of newer kernels are among them; such as only print something are not",
        case: "features",
        pointers: &["/mountOptions"],
    },
    Difference {
        what: "`features` has rt's annotations",
        reason: "they name version and commit of the program",
        case: "features",
        pointers: &["/annotations"],
    },
    Difference {
        what: "`features` tells only what is there",
        reason: "seccomp and the LSMs are told as they are built",
        case: "features",
        pointers: &["/linux/seccomp", "/linux/apparmor", "/linux/selinux"],
    },
];

pub(crate) fn cases() -> Vec<Case> {
    vec![comparing("spec", spec), comparing("spec_rootless", spec_rootless), comparing("features", features)]
}

fn spec(test: &Test) -> Outcome {
    same(test, "spec", |test| written(test, &["spec"]))
}

fn spec_rootless(test: &Test) -> Outcome {
    same(test, "spec", |test| written(test, &["spec", "--rootless"]))
}

fn features(test: &Test) -> Outcome {
    same(test, "features", |test| Ok(serde_json::from_str(&test.bare(&["features"]).succeeds()?.stdout)?))
}

/// What a command writes to config.json.
fn written(test: &Test, command: &[&str]) -> Fallible<Value> {
    let directory = test.new_path("written");
    std::fs::create_dir(&directory)?;
    test.bare(command).current_dir(&directory).succeeds()?;
    Ok(serde_json::from_str(&std::fs::read_to_string(format!("{directory}/config.json"))?)?)
}

/// Both documents must have the same leaves, but for what is listed for the case.
fn same(test: &Test, case: &str, document: impl Fn(&Test) -> Fallible<Value>) -> Outcome {
    let ours = leaves(&document(test)?);
    let its = leaves(&test.with_runtime(Runtime::runc(), |runc| document(runc))?);
    let listed = |pointer: &str| {
        let all = DIFFERENCES.iter().filter(|one| one.case == case);
        all.flat_map(|one| one.pointers).any(|start| pointer.starts_with(start))
    };
    let all: BTreeSet<_> = ours.keys().chain(its.keys()).collect();
    let differing: Vec<_> = all
        .into_iter()
        .filter(|key| ours.get(*key) != its.get(*key) && !listed(key))
        .map(|key| format!("  {key}: rt {:?}, runc {:?}", ours.get(key), its.get(key)))
        .collect();
    if differing.is_empty() { Ok(()) } else { Err(format!("differs:\n{}", differing.join("\n")).into()) }
}

/// Every value that is no object, by its JSON pointer.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut queue = vec![(String::new(), value)];
    while let Some((pointer, value)) = queue.pop() {
        match value {
            Value::Object(map) => {
                queue.extend(map.iter().map(|(key, value)| (format!("{pointer}/{key}"), value)));
            }
            other => drop(found.insert(pointer, other.clone())),
        }
    }
    found
}
