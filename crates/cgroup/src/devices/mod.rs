//! Which devices a container may open and make: one policy, written as lines on v1 and run as a program on v2.

mod filter;
mod policy;

pub use policy::{Access, Kind, Policy};
