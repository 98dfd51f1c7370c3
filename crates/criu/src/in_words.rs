//! A request as people read it, who want to see it before it is made.

use std::path::Path;

use serde_json::{Value, json};

use crate::wire::{CriuCgMode, CriuNetworkLockMethod, CriuOpts, CriuReqType};

/// The request as JSON: only what is said in it, under the names of CRIU's schema.
pub(crate) fn request(kind: CriuReqType, opts: &CriuOpts, images: &Path) -> Value {
    let mut said = serde_json::to_value(opts).unwrap_or_default();
    if let Some(fields) = said.as_object_mut() {
        // A number of ours that means nothing to anybody else; its path is field 68 of the schema.
        fields.remove("images_dir_fd");
        fields.insert("images_dir".into(), json!(images));
        let name = |fields: &mut serde_json::Map<String, Value>, field: &str, name: Option<&'static str>| {
            if let Some(name) = name {
                fields.insert(field.into(), json!(name));
            }
        };
        let mode = opts.manage_cgroups_mode.and_then(|mode| CriuCgMode::try_from(mode).ok());
        name(fields, "manage_cgroups_mode", mode.as_ref().map(CriuCgMode::as_str_name));
        let lock = opts.network_lock.and_then(|lock| CriuNetworkLockMethod::try_from(lock).ok());
        name(fields, "network_lock", lock.as_ref().map(CriuNetworkLockMethod::as_str_name));
    }
    leave_out_the_unsaid(&mut said);
    json!({"type": kind.as_str_name(), "opts": said})
}

fn leave_out_the_unsaid(value: &mut Value) {
    let is_unsaid = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(leave_out_the_unsaid);
            fields.retain(|_, value| !is_unsaid(value));
        }
        Value::Array(list) => list.iter_mut().for_each(leave_out_the_unsaid),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_told_with_names_for_numbers() {
        let opts = CriuOpts {
            images_dir_fd: 7,
            pid: Some(4711),
            evasive_devices: Some(true),
            manage_cgroups_mode: Some(CriuCgMode::Soft.into()),
            external: vec!["mnt[/data]:/data".into()],
            ..Default::default()
        };
        assert_eq!(
            request(CriuReqType::Dump, &opts, Path::new("/images")),
            json!({"type": "DUMP", "opts": {
                "images_dir": "/images",
                "pid": 4711,
                "evasive_devices": true,
                "manage_cgroups_mode": "SOFT",
                "external": ["mnt[/data]:/data"],
            }})
        );
    }
}
