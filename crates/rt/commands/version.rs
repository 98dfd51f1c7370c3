//! `--version`, in the lines that docker and others read.

use crate::output;

/// Prints the version of `rt` and of what it implements.
pub(super) fn print() -> anyhow::Result<()> {
    let lines = [
        format!("rt version {}", env!("CARGO_PKG_VERSION")),
        format!("commit: {}", env!("RT_COMMIT")),
        format!("spec: {}", ::spec::OCI_VERSION),
        format!("criu schema: {}", container::CRIU_SCHEMA),
        format!("libseccomp: {}", container::libseccomp_version()),
        format!("rustc: {}", env!("RT_RUSTC")),
    ];
    output::line(&lines.join("\n"))
}
