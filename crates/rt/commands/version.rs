//! `--version`, in the lines that docker and others read.

/// Prints the version of `rt` and of what it implements.
pub(super) fn print() {
    println!("rt version {}", env!("CARGO_PKG_VERSION"));
    println!("commit: {}", env!("RT_COMMIT"));
    println!("spec: {}", ::spec::OCI_VERSION);
    println!("criu schema: {}", container::CRIU_SCHEMA);
    println!("rustc: {}", env!("RT_RUSTC"));
}
