//! A client for Kubernetes' Container Runtime Interface, which the tables use as a program: `cri call SOCKET METHOD MESSAGE` and
//! `cri stream URL` (and `cri registry BLOBS`, for an engine that wants one). Messages are JSON; proto/cri/runtime.proto says what there is.

mod grpc;
mod hpack;
mod registry;
mod websocket;

use std::process::ExitCode;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};

/// Does as the arguments say.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["call", socket, method, message] => call(socket, method, message).map(|answer| {
            println!("{answer}");
            0
        }),
        ["stream", url] => websocket::stream(url, None),
        ["stream", url, width, height] => websocket::stream(url, width.parse().ok().zip(height.parse().ok())),
        ["registry", directory] => registry::serve(directory),
        _ => {
            Err("cri call SOCKET METHOD MESSAGE, cri stream URL [WIDTH HEIGHT], or cri registry BLOBS"
                .to_owned())
        }
    };
    outcome.map(ExitCode::from).unwrap_or_else(|error| {
        eprintln!("cri: error: {error}");
        ExitCode::FAILURE
    })
}

fn call(socket: &str, name: &str, message: &str) -> Result<String, String> {
    let method = method(name)?;
    let mut reader = serde_json::Deserializer::from_str(message);
    let request = DynamicMessage::deserialize(method.input(), &mut reader)
        .map_err(|error| format!("{message}: {error}"))?;
    let path = format!("/{}/{name}", method.parent_service().full_name());
    let answer = grpc::call(socket, &path, &request.encode_to_vec())?;
    let answer = DynamicMessage::decode(method.output(), &*answer).map_err(|error| error.to_string())?;
    // Fields as they are called in the interface, with those that have their first value.
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut text = Vec::new();
    answer
        .serialize_with_options(
            &mut serde_json::Serializer::new(&mut text),
            &options.stringify_64_bit_integers(false),
        )
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn method(name: &str) -> Result<MethodDescriptor, String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/cri");
    let files = protox::compile(["runtime.proto"], [directory]).map_err(|error| error.to_string())?;
    let pool = DescriptorPool::from_file_descriptor_set(files).map_err(|error| error.to_string())?;
    let mut methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.find(|method| method.name() == name).ok_or_else(|| format!("{name}: not in {directory}"))
}
