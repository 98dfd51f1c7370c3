//! What an engine tells of a container: `docker container inspect`, `podman container inspect`.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A container as its engine sees it. What is left out here is asked for by nobody; what an engine leaves out is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Inspect {
    /// Its whole id.
    pub id: String,
    /// Its name; docker writes a slash before it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    pub(super) state: State,
    #[serde(deserialize_with = "or_default")]
    pub(super) resolv_conf_path: PathBuf,
    #[serde(deserialize_with = "or_default")]
    pub(super) hosts_path: PathBuf,
    #[serde(deserialize_with = "or_default")]
    pub(super) hostname_path: PathBuf,
    /// Where its output is kept.
    #[serde(deserialize_with = "or_default")]
    pub(super) log_path: PathBuf,
    /// podman's directory of the container.
    #[serde(deserialize_with = "or_default")]
    pub(super) static_dir: PathBuf,
    #[serde(deserialize_with = "or_default")]
    pub(super) graph_driver: GraphDriver,
    #[serde(deserialize_with = "or_default")]
    mounts: Vec<Mount>,
    /// The mounts of docker before 1.8: their places in the container and on the host.
    #[serde(deserialize_with = "or_default")]
    volumes: BTreeMap<PathBuf, PathBuf>,
    #[serde(deserialize_with = "or_default")]
    pub(super) host_config: HostConfig,
    #[serde(deserialize_with = "or_default")]
    pub(super) config: Config,
    #[serde(deserialize_with = "or_default")]
    pub(super) network_settings: NetworkSettings,
}

/// What it does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) paused: bool,
    pub(super) pid: i32,
    /// It was ended by a checkpoint of podman's own, which can be restored.
    #[serde(deserialize_with = "or_default")]
    pub(super) checkpointed: bool,
}

/// Where its files are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GraphDriver {
    pub(super) name: String,
    /// Other words with each driver, and none with some (docker's vfs and btrfs).
    #[serde(deserialize_with = "or_default")]
    data: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    source: PathBuf,
    destination: PathBuf,
    #[serde(rename = "Type", deserialize_with = "or_default")]
    kind: String,
}

/// What its creator asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    #[serde(deserialize_with = "or_default")]
    pub(super) network_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) ipc_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) pid_mode: String,
    #[serde(rename = "UTSMode", deserialize_with = "or_default")]
    pub(super) uts_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) cgroup_parent: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) auto_remove: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) restart_policy: RestartPolicy,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RestartPolicy {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    #[serde(deserialize_with = "or_default")]
    pub(super) tty: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkSettings {
    #[serde(deserialize_with = "or_default")]
    pub(super) sandbox_key: String,
}

/// null is nothing: engines write it for lists and maps without content.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl GraphDriver {
    /// A word of the driver's own data, unless it is empty.
    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.data.get(name)?.as_deref().filter(|word| !word.is_empty())
    }
}

impl Inspect {
    /// The one container that `inspect` was asked about.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let mut list: Vec<Self> = serde_json::from_str(json).map_err(|e| e.to_string())?;
        match (list.len(), list.pop()) {
            (1, Some(one)) if is_id(&one.id) => Ok(one),
            (1, Some(one)) => Err(format!("{:?} is no id of a container", one.id)),
            (count, _) => Err(format!("{count} containers instead of one")),
        }
    }

    /// What of the host stands where in the container: its volumes and bind mounts, and the engine's own files.
    pub(super) fn sources(&self) -> BTreeMap<PathBuf, PathBuf> {
        let of_mounts = self
            .mounts
            .iter()
            .filter(|mount| mount.kind != "tmpfs")
            .map(|mount| (mount.destination.clone(), mount.source.clone()));
        let own = [
            ("/etc/resolv.conf", &self.resolv_conf_path),
            ("/etc/hosts", &self.hosts_path),
            ("/etc/hostname", &self.hostname_path),
        ];
        let own = own.into_iter().map(|(place, source)| (PathBuf::from(place), source.clone()));
        // A volume of the user's on /etc/hosts wins, as it does with the engines.
        let all = own.chain(self.volumes.clone()).chain(of_mounts);
        all.filter(|(place, source)| place.is_absolute() && source.is_absolute()).collect()
    }

    /// docker's directory of the container: the one that holds its files. Some of them are another container's whose network it shares.
    pub(super) fn docker_dir(&self) -> Option<&Path> {
        let files = [&self.hostname_path, &self.resolv_conf_path, &self.hosts_path, &self.log_path];
        files.into_iter().find_map(|file| file.parent().filter(|dir| dir.ends_with(&self.id)))
    }
}

/// Engines' ids are numbers in hexadecimal; they become part of paths here.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"[{"Id":"0123abcd","Name":"/web","State":{"Status":"running","Running":true,"Paused":false,"Pid":4711},
        "ResolvConfPath":"/var/lib/docker/containers/0123abcd/resolv.conf",
        "HostnamePath":"/var/lib/docker/containers/0123abcd/hostname",
        "HostsPath":"/var/lib/docker/containers/0123abcd/hosts",
        "GraphDriver":{"Data":null,"Name":"vfs"},
        "Mounts":[{"Type":"volume","Name":"v","Source":"/var/lib/docker/volumes/v/_data","Destination":"/data"},
                  {"Type":"tmpfs","Source":"","Destination":"/run"},
                  {"Type":"bind","Source":"/srv/hosts","Destination":"/etc/hosts"}],
        "HostConfig":{"NetworkMode":"none","AutoRemove":false,"RestartPolicy":{"Name":"no"},"CgroupParent":""},
        "Config":{"Tty":false,"Volumes":null},"NetworkSettings":{"SandboxKey":"/var/run/docker/netns/abc"}}]"#;

    #[test]
    fn dockers_answer_is_understood() {
        let inspect = Inspect::parse(DOCKER).unwrap();
        assert_eq!((inspect.id.as_str(), inspect.name.as_str()), ("0123abcd", "/web"));
        assert!(inspect.state.running && inspect.state.pid == 4711 && !inspect.config.tty);
        assert_eq!(inspect.graph_driver.word("MergedDir"), None);
        let sources = inspect.sources();
        let of = |place: &str| sources.get(Path::new(place)).map(|source| source.to_str().unwrap());
        assert_eq!(of("/data"), Some("/var/lib/docker/volumes/v/_data"));
        assert_eq!(of("/etc/hosts"), Some("/srv/hosts"), "the user's own wins");
        assert_eq!(of("/etc/hostname"), Some("/var/lib/docker/containers/0123abcd/hostname"));
        assert_eq!(of("/run"), None);
        assert_eq!(inspect.docker_dir(), Some(Path::new("/var/lib/docker/containers/0123abcd")));
    }

    #[test]
    fn dockers_directory_is_found_where_the_network_is_anothers() {
        let shared =
            DOCKER.replace("/0123abcd/hostname", "/4567/hostname").replace("/0123abcd/hosts", "/4567/hosts");
        let shared = shared.replace("/0123abcd/resolv.conf", "/4567/resolv.conf");
        assert_eq!(Inspect::parse(&shared).unwrap().docker_dir(), None);
        let log = "\"LogPath\":\"/var/lib/docker/containers/0123abcd/0123abcd-json.log\",\"ResolvConfPath\"";
        let inspect = Inspect::parse(&shared.replace("\"ResolvConfPath\"", log)).unwrap();
        assert_eq!(inspect.docker_dir(), Some(Path::new("/var/lib/docker/containers/0123abcd")));
    }

    #[test]
    fn an_old_engine_that_says_little_is_understood_too() {
        let old = r#"[{"Id":"ab","State":{"Running":true,"Pid":7,"Paused":false},"Volumes":{"/v":"/host/v"},
            "ResolvConfPath":"/r","HostsPath":"/h","HostnamePath":""}]"#;
        let sources = Inspect::parse(old).unwrap().sources();
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[Path::new("/v")], Path::new("/host/v"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (text, word) in [
            ("[]", "0 containers"),
            ("{}", "expected a sequence"),
            (r#"[{"Id":"../x","State":{}}]"#, "no id"),
            (r#"[{"Id":""}]"#, "no id"),
        ] {
            let error = Inspect::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
