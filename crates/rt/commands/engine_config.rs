use crate::exit::Exit;
use crate::output;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Print what makes an engine use this runtime
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The runtime's path to write down [default: that of this program]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The engine
    #[arg(value_name = "ENGINE")]
    engine: Engine,
}

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Podman,
    Containerd,
    Docker,
    #[value(name = "cri-o")]
    CriO,
}

pub(crate) fn run(arguments: &Arguments, systemd_cgroup: bool) -> anyhow::Result<Exit> {
    let binary = match &arguments.binary {
        Some(binary) => std::path::absolute(binary).context("--binary")?,
        None => std::env::current_exe().context("find this program's path")?,
    };
    output::print(&arguments.engine.configuration(&binary, systemd_cgroup))?;
    Ok(Exit::Success)
}

impl Engine {
    /// The words of the engine's configuration. Podman, docker and CRI-O tell the runtime themselves who makes the cgroups;
    /// containerd has to be told.
    fn configuration(self, binary: &Path, systemd_cgroup: bool) -> String {
        // A JSON string is a basic string of TOML, too.
        let path = Value::from(binary.display().to_string());
        match self {
            Self::Podman => podman(&path),
            Self::Containerd => containerd(&path, systemd_cgroup),
            Self::Docker => docker(&path),
            Self::CriO => cri_o(&path),
        }
    }
}

/// Without `runtime_supports_json`, which replaces podman's own list, podman guesses at errors instead of reading them.
fn podman(path: &Value) -> String {
    format!(
        r#"# /etc/containers/containers.conf.d/rt.conf
[engine]
runtime = "rt"
runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "rt"]

[engine.runtimes]
rt = [{path}]
"#
    )
}

fn containerd(path: &Value, systemd_cgroup: bool) -> String {
    format!(
        r#"# /etc/containerd/config.toml, version 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rt]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rt.options]
    BinaryName = {path}
    SystemdCgroup = {systemd_cgroup}
"#
    )
}

/// /etc/docker/daemon.json, which can have no comment.
fn docker(path: &Value) -> String {
    let document = json!({"runtimes": {"rt": {"path": path}}});
    format!("{document:#}\n")
}

/// The state root is the one that `rt` looks at without an option.
fn cri_o(path: &Value) -> String {
    format!(
        r#"# /etc/crio/crio.conf.d/50-rt.conf
[crio.runtime.runtimes.rt]
runtime_path = {path}
runtime_type = "oci"
runtime_root = "/run/rt"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_gets_the_path() {
        for engine in Engine::value_variants() {
            let text = engine.configuration(Path::new("/opt/a \"b\"/rt"), false);
            assert!(text.contains(r#""/opt/a \"b\"/rt""#), "{text}");
        }
    }

    #[test]
    fn containerd_is_told_who_makes_the_cgroups() {
        let text = |systemd| Engine::Containerd.configuration(Path::new("/rt"), systemd);
        assert!(text(true).contains("SystemdCgroup = true") && text(false).contains("SystemdCgroup = false"));
    }

    #[test]
    fn docker_reads_json() {
        let text = Engine::Docker.configuration(Path::new("/usr/bin/rt"), false);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["runtimes"]["rt"]["path"], "/usr/bin/rt");
    }
}
