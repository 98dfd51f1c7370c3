//! Compiles CRIU's message definitions without needing protoc on the builder's machine.

use std::error::Error;

const SCHEMAS: [&str; 3] =
    ["../../proto/criu/rpc.proto", "../../proto/criu/stats.proto", "../../proto/criu/images.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for schema in SCHEMAS {
        println!("cargo::rerun-if-changed={schema}");
    }
    let descriptors = protox::compile(SCHEMAS, ["../../proto/criu"])?;
    prost_build::Config::new()
        .default_package_filename("criu")
        // For `in_words`.
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .compile_fds(descriptors)?;
    Ok(())
}
