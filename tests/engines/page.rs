//! docs/engines-table.md: every operation, and how it went in the run that wrote the page.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::engine::Engine;
use crate::row::{Result, Row, results};
use testkit::{Case, Cmd, Fallible, Outcome, Test, comparing};

const HEAD: &str = "# What was tried below the engines

This page is written by a test (`RT_BLESS=1 make test-engines`) from a run of `tests/engines`. Each operation is a few commands of the
engine and what they must print; it runs with runc first, then with rt. Where runc fails on the machine of the run, that says
nothing about rt, and the note tells what was said. What is noted as of the VM ran with Debian 13's podman 5.4 and runc 1.1 where systemd is
the first process and cgroup v2 alone is mounted: `make test-vm-engines` prints these lines.
";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/engines-table.md")
}

/// Every operation must stand in the page, in its order; how each went is the run's that wrote it.
pub(crate) fn case() -> Case {
    comparing("table_lists_every_operation", lists_every_operation)
}

fn lists_every_operation(_: &Test) -> Outcome {
    for (engine, rows) in crate::table() {
        let count = |word: fn(&Row) -> &str| rows.iter().map(word).collect::<BTreeSet<_>>().len();
        let counts = [count(|row| row.name), count(|row| row.what)];
        assert_eq!(counts, [rows.len(); 2], "two operations of {} have one name or one title", engine.name);
    }
    if std::env::var_os("RT_BLESS").is_some() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path())?;
    let there: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let there: Vec<_> = there.into_iter().filter(|name| !["operation", "---"].contains(name)).collect();
    let expected: Vec<_> =
        crate::table().into_iter().flat_map(|(_, rows)| rows).map(|row| row.what).collect();
    if there == expected {
        return Ok(());
    }
    Err("docs/engines-table.md does not have all operations: `RT_BLESS=1 make test-engines` writes it".into())
}

/// Writes the page when `RT_BLESS` is set. An operation that was not tried keeps the line that it has.
pub(crate) fn bless() -> Fallible<()> {
    if std::env::var_os("RT_BLESS").is_none() {
        return Ok(());
    }
    let (results, old) = (results(), std::fs::read_to_string(path()).unwrap_or_default());
    let mut page = HEAD.to_owned();
    let mut lines = Vec::new();
    for (engine, rows) in crate::table() {
        page += &format!(
            "\n## {}\n\n{}\n\n| operation | runc | rt | note |\n| --- | --- | --- | --- |\n",
            engine.name,
            versions(engine)?
        );
        for row in rows {
            let line = match results.get(&(engine.name, row.name)) {
                Some(result) => line(&row, result),
                None => line_of(&old, engine.name, row.what)
                    .ok_or_else(|| format!("{} {} has not been tried yet", engine.name, row.name))?,
            };
            page += &line;
            lines.push(line);
        }
    }
    let passed = lines.iter().filter(|line| line.split(" | ").nth(2) == Some("yes")).count();
    page += &format!("\n{} operations, of which rt passes {passed}.\n", lines.len());
    Ok(std::fs::write(path(), page)?)
}

/// The lines of the operations that need a machine of systemd's, when this is one: the run that writes the page has another.
pub(crate) fn lines_under_systemd() -> String {
    let results = results();
    let rows =
        crate::table().into_iter().flat_map(|(engine, rows)| rows.into_iter().map(move |row| (engine, row)));
    rows.filter(|(_, row)| row.under_systemd)
        .filter_map(|(engine, row)| Some(line(&row, results.get(&(engine.name, row.name))?)))
        .collect()
}

/// The line of an operation in the page as it is.
fn line_of(page: &str, engine: &str, what: &str) -> Option<String> {
    let (_, section) = page.split_once(&format!("\n## {engine}\n"))?;
    let section = section.split("\n## ").next()?;
    section.lines().find(|line| line.starts_with(&format!("| {what} | "))).map(|line| format!("{line}\n"))
}

fn line(row: &Row, result: &Result) -> String {
    let mark = |failure: &Option<String>| if failure.is_none() { "yes" } else { "no" };
    let note = match (&result.runc, &result.rt, result.note) {
        (_, None, Some(note)) => note.to_owned(),
        (Some(runc), _, _) => format!("with runc: {runc}"),
        (_, Some(rt), _) => rt.clone(),
        _ if row.under_systemd => "VM".to_owned(),
        _ => String::new(),
    };
    // Paths of the run tell nothing.
    let words = note.split(' ').map(|word| if word.contains("/rt-tests/") { "..." } else { word });
    let note: String = words.collect::<Vec<_>>().join(" ").replace('|', "/").chars().take(200).collect();
    format!("| {} | {} | {} | {} |\n", row.what, mark(&result.runc), mark(&result.rt), note.trim())
}

/// The versions of the engine's programs, of runc and of CRIU.
fn versions(engine: &Engine) -> Fallible<String> {
    let script = format!(
        "{}; runc --version | head -n 1; echo CRIU $(${{RT_CRIU:-/opt/rt-criu/bin/criu}} --version | head -n 1 | cut -d ' ' -f 2); echo Linux $(uname -r)",
        engine.versions
    );
    let output = Cmd::new("sh").args(["-c", &script]).succeeds()?;
    Ok(output.stdout.lines().map(|line| line.replace(" version", "")).collect::<Vec<_>>().join(", "))
}
