//! Our schema against the one that CRIU installs.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every message's fields (label, number, type, type's name, default) and every enum's values, by name.
fn describe(file: &Path) -> BTreeMap<String, String> {
    let set = protox::compile([file], [file.parent().unwrap()]).unwrap();
    let mut found = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            for field in &message.field {
                let kind = field.type_name().rsplit('.').next().unwrap_or_default();
                let what = (field.number(), field.label(), field.r#type(), kind, field.default_value());
                found.insert(format!("{}.{}", message.name(), field.name()), format!("{what:?}"));
            }
        }
        for list in &file.enum_type {
            for value in &list.value {
                found.insert(format!("{}.{}", list.name(), value.name()), value.number().to_string());
            }
        }
    }
    found
}

fn installed() -> Option<PathBuf> {
    let named = std::env::var_os("RT_CRIU_PROTO").map(PathBuf::from);
    let known =
        ["/usr/include/criu/rpc.proto", "/usr/share/criu/rpc.proto", "/opt/rt-criu/share/criu/rpc.proto"];
    named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.is_file())
}

#[test]
fn ours_holds_everything_that_the_installed_schema_has() {
    let Some(theirs) = installed() else {
        eprintln!(
            "SKIP no rpc.proto of CRIU: install libcriu-dev, run scripts/get-criu, or set RT_CRIU_PROTO"
        );
        return;
    };
    let ours = describe(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/criu/rpc.proto"));
    let theirs = describe(&theirs);
    assert!(theirs.len() > 100, "the installed schema was not understood");
    let differing: Vec<_> = theirs.iter().filter(|(name, what)| ours.get(*name) != Some(what)).collect();
    assert!(differing.is_empty(), "ours lacks or differs in {differing:#?}");
}

#[test]
fn numbers_are_used_once() {
    let ours = describe(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/criu/rpc.proto"));
    let mut numbers: Vec<_> = ours
        .iter()
        .filter_map(|(name, what)| {
            Some((name.split_once('.')?.0, what.trim_start_matches('(').split(',').next()?))
        })
        .collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all);
}
