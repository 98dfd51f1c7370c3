//! What the Go runtimes read and the types of oci-spec do not take.
//!
//! A document is only looked at here when its text could not be parsed, so a usual one costs nothing.

use crate::capability_bit;
use serde_json::{Value, json};

const SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// Scheduler flags that oci-spec knows by other names than the spec.
const FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Changes a config.json, or the `process` object of one, so that it can be parsed: null is no value, and the user of a process may be
/// left out. (Of a key that is there twice the last counts, which needs no more than reading it as a [`Value`].)
///
/// Takes out the capabilities that this runtime does not know (runtime-spec, config.md: a runtime may ignore them with a
/// warning, and runc does); returns their names for the warning, sorted, each once.
pub(crate) fn relax(document: &mut Value) -> Vec<String> {
    drop_nulls(document);
    let process = match document.get("process") {
        Some(_) => &mut document["process"],
        None => document,
    };
    if let Some(process) = process.as_object_mut().filter(|process| process.contains_key("cwd")) {
        process.entry("user").or_insert_with(|| json!({}));
    }
    rename_flags(process);
    trim_lists(process);
    take_out_capabilities(process)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn take_out_capabilities(process: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for set in SETS {
        let names = process.pointer_mut(&format!("/capabilities/{set}")).and_then(Value::as_array_mut);
        let Some(names) = names else { continue };
        names.retain(|name| match name.as_str() {
            Some(name) if capability_bit(name).is_none() => {
                unknown.push(name.to_owned());
                false
            }
            _ => true,
        });
    }
    unknown.sort();
    unknown.dedup();
    unknown
}

fn rename_flags(process: &mut Value) {
    for flag in process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some((_, ours)) = FLAGS.iter().find(|(name, _)| flag.as_str() == Some(name)) {
            *flag = (*ours).into();
        }
    }
}

/// Lists of processors without blanks and empty elements, which runc does not mind.
fn trim_lists(process: &mut Value) {
    for list in ["initial", "final"] {
        let Some(value) = process.pointer_mut(&format!("/execCPUAffinity/{list}")) else { continue };
        let Some(text) = value.as_str() else { continue };
        let text: String = text.split_whitespace().collect();
        let trimmed = text.split(',').filter(|element| !element.is_empty()).collect::<Vec<_>>().join(",");
        *value = if trimmed.is_empty() { Value::Null } else { trimmed.into() };
    }
}

#[cfg(test)]
mod tests {
    use crate::Process;

    #[test]
    fn unknown_capabilities_are_left_out_and_named() {
        let json = r#"{"args":["x"],"cwd":"/","user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_NEW","CAP_KILL"],"permitted":["CAP_ALSO","CAP_NEW"]}}"#;
        let process = Process::parse(json.as_bytes(), "p").unwrap();
        assert_eq!(process.unknown_capabilities, ["CAP_ALSO", "CAP_NEW"]);
        assert_eq!(process.capabilities.unwrap().bounding, 1 << 5);
    }

    #[test]
    fn scheduler_flags_have_the_names_of_the_spec() {
        let json = r#"{"args":["x"],"cwd":"/","user":{"uid":0,"gid":0},"scheduler":{"policy":"SCHED_OTHER",
            "flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]}}"#;
        assert_eq!(Process::parse(json.as_bytes(), "p").unwrap().scheduler.unwrap().flags, 5);
    }

    #[test]
    fn lists_of_processors_may_have_blanks() {
        let json = r#"{"args":["x"],"cwd":"/","user":{"uid":0,"gid":0},"execCPUAffinity":{"initial":" 0, 2","final":","}}"#;
        let affinity = Process::parse(json.as_bytes(), "p").unwrap().exec_cpu_affinity;
        assert_eq!((affinity.initial.unwrap().words, affinity.finally), (vec![5], None));
    }

    #[test]
    fn another_mistake_is_reported_as_such() {
        let json =
            r#"{"args":["x"],"cwd":"/","user":{"uid":"a","gid":0},"capabilities":{"bounding":["CAP_NEW"]}}"#;
        let error = Process::parse(json.as_bytes(), "p").unwrap_err().to_string();
        assert!(error.starts_with("p: user.uid: invalid type"), "{error}");
    }
}
