//! The system calls: the only crate of the house with unsafe code.
//!
//! Only std's descriptor types and our own newtypes cross this border. No logging and no policy here: a function does one
//! thing, and its error says which call failed with which arguments.
#![allow(unsafe_code)]

pub mod bpf;
mod error;
pub mod mount;
pub mod net;
pub mod path;
pub mod proc;
pub mod process;
pub mod procfs;
pub mod rusage;
pub mod sched;
pub mod sealed;
pub mod seccomp;
pub mod seqpacket;
pub mod signal;
pub mod spawn;
pub mod view;

pub use error::{Context, Error, Result, strerror};

/// Whether this process runs as root (of its user namespace).
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// This process' effective user and group id.
pub fn effective_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}
