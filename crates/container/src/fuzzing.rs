//! What is read back from files, read and written again, and what /proc tells, for `crates/fuzzing` alone.

use crate::checkpoint::{descriptors, manifest::Manifest};
use crate::error::{Error, Result, Step};
use crate::store::Record;
use serde::Serialize;

/// `state.json`.
pub fn record(bytes: &[u8]) -> Result<Vec<u8>> {
    let bad = |reason| Error::Record { path: "state.json".into(), reason };
    written(&Record::parse(bytes).map_err(bad)?)
}

/// `rt.json`.
pub fn manifest(bytes: &[u8]) -> Result<Vec<u8>> {
    written(&Manifest::parse(bytes)?)
}

/// `descriptors.json`.
pub fn descriptors(bytes: &[u8]) -> Result<Vec<u8>> {
    written(&descriptors::parse(bytes)?)
}

/// What a check finds where all that /proc tells is `text`: class and object of each.
pub fn check(text: &str) -> Vec<(&'static str, String)> {
    let findings = crate::checkpoint::check::judge_text(text).into_iter();
    findings.map(|finding| (finding.class.name(), finding.object)).collect()
}

fn written(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).step(|| "write".into())
}
