//! A change of `linux.resources`, as `update` takes it.

use crate::bundle::from_json;
use crate::{Error, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

/// Some fields of `linux.resources` with new values; what is not there stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceChange {
    fields: Map<String, Value>,
}

impl ResourceChange {
    /// Parses the document that `update --resources FILE` reads. `file` names it in errors.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let (resources, _) = from_json::<LinuxResources>(bytes, file)?;
        let mut fields = fields_of(&resources);
        // What the Go types do not tell from what is not there, and what runc takes for that.
        drop_if(&mut fields, "pids", "limit", |value| *value == 0);
        drop_if(&mut fields, "cpu", "cpus", |value| *value == "");
        drop_if(&mut fields, "cpu", "mems", |value| *value == "");
        fields.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
        fields.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
        unlimit_swap(&mut fields);
        Ok(Self { fields })
    }

    /// The change of a few fields, given as the document would be.
    pub fn of(fields: &Value) -> Result<Self> {
        Self::parse(fields.to_string().as_bytes(), "resources")
    }

    /// `recorded`, changed.
    ///
    /// Of lists whose elements have a name of their own (devices of `blockIO`, page sizes) those that are named change.
    pub fn applied_to(&self, recorded: &LinuxResources) -> Result<LinuxResources> {
        let mut merged = Value::Object(fields_of(recorded));
        merge(&mut merged, &Value::Object(self.fields.clone()), true);
        typed(merged)
    }

    /// What must be written of `merged`, which this change has made of `recorded`.
    ///
    /// That is all of `cpu`, `memory` and so on if anything of it changes, since the values of one controller depend on one another
    /// (memory with swap is counted from memory). Processors, memory nodes and files by name stand for themselves; device
    /// rules that are what they were are left alone, with whatever somebody (say, a plugin for graphics cards) has allowed besides.
    pub fn to_write(&self, merged: &LinuxResources, recorded: &LinuxResources) -> Result<LinuxResources> {
        let mut fields = fields_of(merged);
        fields.retain(|name, _| self.fields.contains_key(name));
        if merged.devices() == recorded.devices() {
            fields.remove("devices");
        }
        for name in ["cpus", "mems"] {
            if self.fields.get("cpu").is_some_and(|cpu| cpu.get(name).is_none()) {
                drop_if(&mut fields, "cpu", name, |_| true);
            }
        }
        if let Some(unified) = self.fields.get("unified") {
            fields.insert("unified".to_owned(), unified.clone());
        }
        typed(Value::Object(fields))
    }
}

/// Memory without limit means swap without limit as well, if nothing is said of it (runc's rule).
fn unlimit_swap(fields: &mut Map<String, Value>) {
    if let Some(memory) = fields.get_mut("memory").and_then(Value::as_object_mut)
        && memory.get("limit").is_some_and(|limit| *limit == -1)
    {
        memory.entry("swap").or_insert((-1).into());
    }
}

fn fields_of(resources: &LinuxResources) -> Map<String, Value> {
    match serde_json::to_value(resources) {
        Ok(Value::Object(fields)) => fields,
        // A struct of plain values is an object.
        _ => Map::new(),
    }
}

fn typed(fields: Value) -> Result<LinuxResources> {
    serde_json::from_value(fields).map_err(|e| Error::field("linux.resources", e.to_string()))
}

fn drop_if(fields: &mut Map<String, Value>, object: &str, name: &str, is_nothing: impl Fn(&Value) -> bool) {
    let object = fields.get_mut(object).and_then(Value::as_object_mut);
    if let Some(object) = object
        && object.get(name).is_some_and(is_nothing)
    {
        object.remove(name);
    }
}

/// Puts what `change` has into `value`; lists outside of any object (the device rules, whose order counts) as a whole.
fn merge(value: &mut Value, change: &Value, is_top: bool) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                let whole = is_top && name == "devices";
                match value.get_mut(name).filter(|_| !whole) {
                    Some(value) => merge(value, change, false),
                    None => drop(value.insert(name.clone(), change.clone())),
                }
            }
        }
        (Value::Array(list), Value::Array(change)) => {
            list.retain(|old| !change.iter().any(|new| name_of(new) == name_of(old)));
            list.extend(change.iter().cloned());
        }
        (value, change) => *value = change.clone(),
    }
}

/// What tells an element of a list from the others.
fn name_of(element: &Value) -> [Option<&Value>; 4] {
    ["pageSize", "major", "minor", "name"].map(|name| element.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    fn check(recorded: &str, change: &str, merged: &str, written: &str) {
        let change = ResourceChange::parse(change.as_bytes(), "-").unwrap();
        let recorded = resources(recorded);
        let result = change.applied_to(&recorded).unwrap();
        assert_eq!(result, resources(merged));
        assert_eq!(change.to_write(&result, &recorded).unwrap(), resources(written));
    }

    #[test]
    fn what_is_not_named_stays() {
        check(
            r#"{"memory":{"limit":64,"reservation":32},"pids":{"limit":7},"cpu":{"shares":5,"cpus":"0"}}"#,
            r#"{"memory":{"swap":128},"pids":{},"cpu":{"quota":9,"cpus":""},"blockIO":{}}"#,
            r#"{"memory":{"limit":64,"reservation":32,"swap":128},"pids":{"limit":7},"cpu":{"shares":5,"quota":9,"cpus":"0"}}"#,
            r#"{"memory":{"limit":64,"reservation":32,"swap":128},"cpu":{"shares":5,"quota":9}}"#,
        );
        check(r#"{"memory":{"limit":64}}"#, "{}", r#"{"memory":{"limit":64}}"#, "{}");
    }

    #[test]
    fn memory_without_limit_has_swap_without_limit() {
        let unlimited = r#"{"memory":{"limit":-1,"swap":-1}}"#;
        check(r#"{"memory":{"limit":64,"swap":64}}"#, r#"{"memory":{"limit":-1}}"#, unlimited, unlimited);
        let other = r#"{"memory":{"limit":-1,"swap":5}}"#;
        check("{}", other, other, other);
    }

    #[test]
    fn named_elements_change_and_device_rules_are_one_list() {
        check(
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":2}],
                "devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"1GB","limit":3}],
                "devices":[{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":3}],
                "devices":[{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":3}],
                "devices":[{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#,
        );
        let same = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#;
        check(same, same, same, "{}");
        check(same, r#"{"devices":[]}"#, same, "{}");
    }

    #[test]
    fn files_by_name_stand_for_themselves() {
        check(
            r#"{"unified":{"memory.high":"5"}}"#,
            r#"{"unified":{"memory.low":"6"}}"#,
            r#"{"unified":{"memory.high":"5","memory.low":"6"}}"#,
            r#"{"unified":{"memory.low":"6"}}"#,
        );
    }

    #[test]
    fn a_wrong_type_is_named() {
        let error = |json: &str| ResourceChange::parse(json.as_bytes(), "-").unwrap_err().to_string();
        assert!(error(r#"{"memory":{"limit":"x"}}"#).starts_with("-: memory.limit: invalid type"));
        assert!(error("nonsense").starts_with("-: not valid JSON"));
        assert!(ResourceChange::parse(br#"{"memory":{"limit":null},"pids":{"limit":null}}"#, "-").is_ok());
    }
}
