//! docs/compat-runc.md, written from the list of cases.

use crate::engine::Comparison;
use std::collections::BTreeMap;
use std::path::Path;
use testkit::{Case, Outcome, Test, comparing};

const HEAD: &str = "# Where rt differs from runc

This page is written by a test (`make docs`) from the list in `tests/compat`. Each case there is a small bundle or a few command
lines, which run on both; exit code, output, what the container sees and the class of the error must be the same. A difference
that is meant stands here with its reason. A test fails when there is one more, or one less.

The runc compared with is Debian's 1.1.5; rt follows 1.5 where the two differ.

";

/// The page as it should be must be the page that is there; `RT_BLESS` writes it.
pub(crate) fn case() -> Case {
    comparing("page_is_up_to_date", is_up_to_date)
}

fn is_up_to_date(_: &Test) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compat-runc.md");
    let page = page(&crate::cases());
    if std::env::var_os("RT_BLESS").is_some() {
        return Ok(std::fs::write(path, page)?);
    }
    if std::fs::read_to_string(path).unwrap_or_default() == page {
        return Ok(());
    }
    Err("docs/compat-runc.md is not what the cases say: `make docs` writes it".into())
}

fn page(modules: &[(&str, Vec<Comparison>)]) -> String {
    let mut differences: BTreeMap<&str, (&str, Vec<String>)> = BTreeMap::new();
    for (module, cases) in modules {
        for case in cases {
            for one in case.differences() {
                let (_, seen) = differences.entry(one.what).or_insert((one.reason, Vec::new()));
                seen.push(format!("`{module}::{}`", case.name()));
            }
        }
    }
    for one in crate::documents::DIFFERENCES {
        differences.insert(one.what, (one.reason, vec![format!("`documents::{}`", one.case)]));
    }
    let total: usize = modules.iter().map(|(_, cases)| cases.len()).sum();
    let mut page = format!("{HEAD}{total} cases, {} differences.\n", differences.len());
    for (what, (reason, seen)) in differences {
        let reason = sentence(reason);
        page.push_str(&format!("\n## {what}\n\n{reason}.\n\nSeen in: {}\n", some_of(&seen)));
    }
    page
}

/// The first few names, and how many more there are.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The reason with a capital letter, unless it begins with a name.
fn sentence(reason: &str) -> String {
    if ["runc ", "rt "].iter().any(|name| reason.starts_with(name)) {
        return reason.to_owned();
    }
    let mut letters = reason.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
