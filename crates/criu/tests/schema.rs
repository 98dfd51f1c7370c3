//! Our schemas against those that CRIU installs.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use protox::prost::Message;
use protox::prost_reflect::prost_types::field_descriptor_proto::Type;
use protox::prost_reflect::prost_types::{FieldDescriptorProto, FileDescriptorProto};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn compile(file: &Path) -> Vec<FileDescriptorProto> {
    protox::compile([file], [file.parent().unwrap()]).unwrap().file
}

/// Every message's fields (label, number, type, type's name, default) and every enum's values, by name.
fn describe(file: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in &compile(file) {
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

/// The descriptors in the modules of pycriu, by field: CRIU installs no other form of the images' schema.
fn pycriu() -> Option<BTreeMap<String, FieldDescriptorProto>> {
    let known = ["/usr/lib/python3/dist-packages/pycriu/images", "/opt/rt-criu/share/criu/images"];
    let named = std::env::var_os("RT_CRIU_IMAGES_PROTO").map(PathBuf::from);
    let directory = named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.is_dir())?;
    let mut found = BTreeMap::new();
    for module in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(module.unwrap().path()).unwrap_or_default();
        let Some((_, literal)) = text.split_once("AddSerializedFile(b'") else { continue };
        fields(&FileDescriptorProto::decode(&bytes(literal)[..]).unwrap(), &mut found);
    }
    Some(found)
}

/// The value of a Python literal, up to its closing quote.
fn bytes(literal: &str) -> Vec<u8> {
    let mut rest = literal.bytes();
    let mut value = Vec::new();
    while let Some(byte) = rest.next().filter(|byte| *byte != b'\'') {
        let escaped = if byte == b'\\' { rest.next().unwrap() } else { 0 };
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        value.push(match (byte, escaped) {
            (b'\\', b'n') => b'\n',
            (b'\\', b'r') => b'\r',
            (b'\\', b't') => b'\t',
            (b'\\', b'x') => digit() * 16 + digit(),
            (b'\\', other) => other,
            (byte, _) => byte,
        });
    }
    value
}

fn fields(file: &FileDescriptorProto, found: &mut BTreeMap<String, FieldDescriptorProto>) {
    for message in &file.message_type {
        for field in &message.field {
            found.insert(format!("{}.{}", message.name(), field.name()), field.clone());
        }
    }
}

#[test]
fn what_we_read_of_images_is_there_under_the_same_number() {
    let Some(theirs) = pycriu() else {
        eprintln!(
            "SKIP no pycriu: install python3-pycriu, or set RT_CRIU_IMAGES_PROTO to its directory images"
        );
        return;
    };
    let mut ours = BTreeMap::new();
    for file in compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/criu/images.proto")) {
        fields(&file, &mut ours);
    }
    assert!(ours.len() > 100 && theirs.len() > 500, "a schema was not understood");
    // Until 4.2 there was one number of pages only, where the narrow one is now.
    let is_newer = |name: &str| {
        name.starts_with("pagemap_entry.")
            && name.ends_with("nr_pages")
            && !theirs.contains_key("pagemap_entry.compat_nr_pages")
    };
    // Bytes need not be UTF-8, and a number may be of an enum that we do not know.
    let same_type = |ours: &FieldDescriptorProto, theirs: &FieldDescriptorProto| {
        let pair = (ours.r#type(), theirs.r#type());
        pair.0 == pair.1 || matches!(pair, (Type::Bytes, Type::String) | (Type::Uint32, Type::Enum))
    };
    let differing: Vec<_> = ours
        .iter()
        .filter(|(name, field)| {
            !is_newer(name)
                && theirs.get(*name).is_none_or(|other| {
                    let is_list = |field: &FieldDescriptorProto| field.label() as i32 == 3;
                    other.number != field.number
                        || !same_type(field, other)
                        || is_list(other) != is_list(field)
                })
        })
        .map(|(name, _)| name)
        .collect();
    assert!(differing.is_empty(), "CRIU's lacks or differs in {differing:?}");
}
