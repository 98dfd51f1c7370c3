//! The generated messages. They stay inside this crate: what it offers is typed by hand.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/criu.rs"));

/// Those of the images.
pub mod images {
    include!(concat!(env!("OUT_DIR"), "/images.rs"));
}
