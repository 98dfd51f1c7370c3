//! What is made of bytes that CRIU wrote, for `crates/fuzzing` alone.

use prost::Message;
use std::collections::BTreeMap;

use crate::features::{Features, Version};
use crate::log::Report;
use crate::session::{Failed, failure};
use crate::stats::{self, DumpStats, RestoreStats};
use crate::{Error, Operation, images, wire};

/// What a file of statistics says; None when it is not one.
pub fn statistics(bytes: &[u8]) -> Option<(Option<DumpStats>, Option<RestoreStats>)> {
    let entry = stats::parse(bytes)?;
    Some((entry.dump.as_ref().map(stats::dump), entry.restore.as_ref().map(stats::restore)))
}

/// What a directory of these files holds. Each may be said to be longer than its contents, which is of use for those of pages.
pub fn images(files: BTreeMap<String, (Vec<u8>, u64)>) -> images::Result<images::Images> {
    images::in_memory(files)
}

/// The errors that these bytes would be, were they the answer to a request, with this log beside them.
pub fn answer(bytes: &[u8], log: &Report) -> Vec<Error> {
    let Ok(answer) = wire::CriuResp::decode(bytes) else { return Vec::new() };
    if let Some(version) = answer.version.clone() {
        Version::from_wire(version).number();
    }
    if let Some(features) = answer.features {
        Features::from_wire(features).to_wire();
    }
    let stage = answer.notify.as_ref().and_then(|notify| notify.script.clone());
    let operations = [Operation::Dump, Operation::Restore, Operation::FeatureCheck];
    let failed = operations.map(|operation| {
        let answer = Box::new(answer.clone());
        failure(Failed { operation, stage: stage.clone(), refusal: None, answer }, log.clone())
    });
    failed.into()
}
