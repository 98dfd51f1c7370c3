//! The system calls: the only crate of the house with unsafe code.
//!
//! Only std's descriptor types and our own newtypes cross this border. No logging and no policy here: a function does one
//! thing, and its error says which call failed with which arguments.
#![allow(unsafe_code)]

pub mod bpf;
mod error;
pub mod kernel;
pub mod keyring;
pub mod mount;
pub mod net;
pub mod netdev;
pub mod path;
pub mod proc;
pub mod process;
pub mod procfs;
pub mod regex;
pub mod rusage;
pub mod sched;
pub mod sealed;
pub mod seccomp;
pub mod seqpacket;
pub mod signal;
pub mod spawn;
pub mod unix_sockets;
pub mod view;

pub use error::{Context, Error, Result, one_line, strerror};

/// Whether this process runs as root (of its user namespace).
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// This process' effective user and group id.
pub fn effective_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether this process is in another user namespace than the machine's first, whose map is all ids to themselves.
pub fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}
