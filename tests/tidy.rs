//! The rules of the house that no compiler checks: who may use whom, where `unsafe` and printing may stand, how
//! long a file may be, and that the map in docs/ARCHITECTURE.md is one of the real tree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken tree is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of the house a crate may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("rt", &["container", "spec", "sys"]),
    ("container", &["cgroup", "criu", "rootfs", "seccomp", "spec", "sys"]),
    ("criu", &["sys"]),
    ("cgroup", &["dbus", "spec", "sys"]),
    ("dbus", &["sys"]),
    ("rootfs", &["spec", "sys"]),
    ("seccomp", &["spec", "sys"]),
    ("spec", &[]),
    ("sys", &[]),
    ("testkit", &[]),
    ("fuzzing", &["cgroup", "container", "criu", "rootfs", "seccomp", "spec", "sys"]),
];

/// Crates of others that belong to one crate of the house alone.
const SOLE_USERS: &[(&str, &str)] = &[
    ("anyhow", "rt"),
    ("clap", "rt"),
    ("oci-spec", "spec"),
    ("libc", "sys"),
    ("libseccomp", "seccomp"),
    ("prost", "criu"),
    ("prost-build", "criu"),
];

const LONGEST_FILE: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `.rs` files below a directory of the tree.
fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![root().join(directory)];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The lines of a file with their numbers, without comments and what stands in string literals.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().enumerate().map(|(index, line)| (index + 1, without_literals(line))).collect()
}

/// Good enough for single lines: a literal over several lines is not recognised.
fn without_literals(line: &str) -> String {
    let mut kept = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => drop(characters.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if !quoted => kept.push(character),
            _ => {}
        }
    }
    kept
}

/// Whether `word` stands in `line`, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && (word.ends_with('!') || !after.is_some_and(part_of_name))
    })
}

/// Fails with all findings at once.
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

/// Lines outside `except` that have one of the words.
fn lines_with(words: &[&str], directories: &[&str], except: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for path in directories.iter().flat_map(|directory| sources(directory)) {
        let name = relative(&path);
        if except.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in code(&path) {
            findings.extend(
                words
                    .iter()
                    .filter(|word| has_word(&line, word))
                    .map(|word| format!("{name}:{number}: {word}")),
            );
        }
    }
    findings
}

/// Each package of the workspace with its dependencies as (name, is it for tests or builds only).
fn packages() -> BTreeMap<String, Vec<(String, bool)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let dependencies = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().map(|dependency| (name(dependency), dependency["kind"] == "dev")).collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (name(package), dependencies(package)))
        .collect()
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let packages = packages();
    let mut findings = Vec::new();
    for (package, dependencies) in &packages {
        let Some(allowed) = arrows.get(package.as_str()) else {
            findings.push(format!("{package} is not in ARROWS of tests/tidy.rs"));
            continue;
        };
        let forbidden = dependencies.iter().filter(|(name, for_tests)| {
            let helper = *for_tests && name == "testkit";
            arrows.contains_key(name.as_str()) && !allowed.contains(&name.as_str()) && !helper
        });
        findings.extend(forbidden.map(|(name, _)| format!("{package} uses {name}")));
    }
    none("these uses go against the direction", &findings);
}

#[test]
fn dependencies_with_one_user_have_one() {
    let mut findings = Vec::new();
    for (package, dependencies) in packages() {
        // What a test does with it is the test's own business.
        for (dependency, _) in dependencies.into_iter().filter(|(_, for_tests)| !for_tests) {
            if SOLE_USERS.iter().any(|(name, user)| *name == dependency && *user != package) {
                findings.push(format!("{package} uses {dependency}"));
            }
        }
    }
    none("these belong to another crate", &findings);
}

#[test]
fn unsafe_stands_only_in_sys() {
    let directories = ["crates", "tests", "benches", "fuzz/fuzz_targets"];
    none(
        "unsafe outside crates/sys",
        &lines_with(&["unsafe", "unsafe_code"], &directories, &["crates/sys/"]),
    );
}

#[test]
fn printing_stands_only_in_rt() {
    let words = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let mut findings = lines_with(&words, &["crates"], &["crates/rt/"]);
    // Build scripts speak to cargo so, examples are programs, and tests may say why they skip.
    let excused = ["/build.rs:", "/examples/", "/tests/"];
    findings
        .retain(|finding| !excused.iter().any(|part| finding.contains(part)) && !is_in_test_module(finding));
    none("printing outside crates/rt", &findings);
}

/// Whether a `file:line: ...` finding stands below the `#[cfg(test)]` of its file, or in a file of tests.
fn is_in_test_module(finding: &str) -> bool {
    let mut parts = finding.splitn(3, ':');
    let (file, number) = (parts.next().unwrap(), parts.next().unwrap().parse::<usize>().unwrap());
    let text = fs::read_to_string(root().join(file)).unwrap();
    let tests_start = text.lines().position(|line| line.trim() == "#[cfg(test)]");
    file.ends_with("tests.rs") || tests_start.is_some_and(|start| start < number)
}

#[test]
fn files_are_short() {
    let length = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let long = sources("crates")
        .into_iter()
        .map(|path| (length(&path), path))
        .filter(|(length, _)| *length > LONGEST_FILE);
    let findings: Vec<_> =
        long.map(|(length, path)| format!("{} has {length} lines", relative(&path))).collect();
    none(&format!("files of more than {LONGEST_FILE} lines"), &findings);
}

#[test]
fn every_exception_from_a_lint_has_a_reason() {
    let mut findings = Vec::new();
    for path in sources("crates") {
        let name = relative(&path);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_exception = ["#[allow(", "#![allow(", "#[expect(", "#![expect("]
                .iter()
                .any(|start| line.trim().starts_with(start));
            let attribute = lines[index..].iter().take(8).copied().collect::<Vec<_>>().join(" ");
            let attribute = attribute.split_once(")]").map_or("", |(attribute, _)| attribute);
            let explained = attribute.contains("reason")
                || line.contains("//")
                || index > 0 && lines[index - 1].contains("//");
            let finding = format!("{name}:{}: {}", index + 1, line.trim());
            let excused =
                name.contains("/tests/") || name.contains("/examples/") || is_in_test_module(&finding);
            if is_exception && !explained && !excused {
                findings.push(finding);
            }
        }
    }
    none("exceptions without a reason", &findings);
}

#[test]
fn architecture_is_a_map_of_the_tree() {
    let map = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let mut findings = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !has_word(&map, &name) {
            findings.push(format!("crates/{name}"));
        }
        // rt's sources stand in the crate's directory itself.
        let sources_of = if name == "rt" { "crates/rt".to_owned() } else { format!("crates/{name}/src") };
        for path in sources(&sources_of) {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let directory = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            let module = if stem == "mod" { directory } else { stem };
            let is_root = ["lib", "main", "tests"].contains(&module.as_str());
            if !is_root && !has_word(&map, &module) {
                findings.push(relative(&path));
            }
        }
    }
    none("docs/ARCHITECTURE.md does not name", &findings);
}

#[test]
fn architecture_names_nothing_that_is_not_there() {
    let map = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let paths = map
        .split(|c: char| c.is_whitespace() || "`(),;".contains(c))
        .filter(|word| word.starts_with("crates/"));
    let missing =
        paths.map(|path| path.trim_end_matches(['.', ':'])).filter(|path| !root().join(path).exists());
    none("docs/ARCHITECTURE.md names what is not there", &missing.map(str::to_owned).collect::<Vec<_>>());
}

/// The words in backticks of docs/security.md.
fn security_words() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/security.md")).expect("docs/security.md");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn security_names_tests_and_files_that_exist() {
    let tests: Vec<String> = ["crates", "tests"]
        .iter()
        .flat_map(|dir| sources(dir))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let is_name =
        |word: &str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || "_:".contains(c));
    let exists = |word: &str| match word.split_once("::") {
        Some((module, case)) => {
            let file = [format!("tests/cases/{module}.rs"), format!("tests/cases/{module}/mod.rs")];
            file.iter().any(|file| root().join(file).exists())
                && tests.iter().any(|text| text.contains(&format!("\"{case}\"")))
        }
        None => tests.iter().any(|text| text.contains(&format!("fn {word}()"))),
    };
    let words = security_words();
    let (files, names): (Vec<_>, Vec<_>) =
        words.iter().partition(|word| word.contains(".rs") || word.contains(".md"));
    let mut missing: Vec<String> =
        names.into_iter().filter(|word| is_name(word) && !exists(word)).cloned().collect();
    missing.extend(files.into_iter().filter(|file| !root().join(file).exists()).cloned());
    missing.retain(|word| !["config.json", "oom_score_adj"].contains(&word.as_str()));
    none("docs/security.md names what is not there", &missing);
}
