//! `user`: the strings of the command line that name somebody or something: container ids, and `exec --user`, `--cap`, `--env`
//! and `--cgroup`.

use crate::{is_clean, one_line};
use cgroup::Cgroup;
use container::ops::ExecUser;
use spec::Id;
use std::path::Path;
use std::sync::LazyLock;

pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    id(&text);
    text.lines().for_each(|word| {
        id(word);
        user(word);
        capability(word);
        assert!(!spec::is_variable(word) || word.split_once('=').is_some_and(|(name, _)| !name.is_empty()));
    });
    sub_cgroup(&text.lines().map(str::to_owned).collect::<Vec<_>>());
    text.lines().for_each(|word| sub_cgroup(&[word.to_owned()]));
}

/// A process that is put below the container's cgroup stays below it.
fn sub_cgroup(arguments: &[String]) {
    static CONTAINER: LazyLock<Cgroup> = LazyLock::new(|| {
        let paths = r#"{"":"/sys/fs/cgroup/unified/id","cpu":"/sys/fs/cgroup/cpu/id"}"#;
        serde_json::from_str(paths).expect("a cgroup")
    });
    match CONTAINER.sub(arguments) {
        Ok(sub) => {
            for (controller, dir) in sub.paths() {
                let own = CONTAINER.path(controller).expect("a hierarchy of the container's");
                assert!(dir.starts_with(own) && is_clean(dir), "{arguments:?}: {dir:?}");
            }
        }
        Err(error) => drop(one_line(&error)),
    }
}

/// An id is a file's name, below the state root and below a cgroup.
fn id(text: &str) {
    match Id::new(text) {
        Ok(id) => {
            assert_eq!(id.as_str(), text);
            assert!(!text.contains(['/', '\0', '\n']) && text.len() <= Id::MAX, "{text:?}");
            assert_eq!(Path::new("/run/rt").join(&id).parent(), Some(Path::new("/run/rt")), "{text:?}");
            assert_eq!(Path::new("/run/rt").join(&id).file_name(), Some(text.as_ref()), "{text:?}");
        }
        Err(error) => drop(one_line(&error)),
    }
}

/// CVE-2026-30892: what is not understood as a user must not become one.
fn user(text: &str) {
    match ExecUser::parse(text) {
        Ok(ExecUser { uid, gid }) => {
            let meant = gid.map_or(uid.to_string(), |gid| format!("{uid}:{gid}"));
            let number = |part: &str| match part.trim_start_matches('0') {
                "" if !part.is_empty() => "0".to_owned(),
                rest => rest.to_owned(),
            };
            let said: Vec<_> = text.split(':').map(number).collect();
            assert_eq!(meant, said.join(":"), "{text:?}");
            assert!(uid != u32::MAX && gid != Some(u32::MAX), "{text:?}");
        }
        Err(error) => drop(one_line(&error)),
    }
}

fn capability(text: &str) {
    if let Some(bit) = spec::capability_bit(text) {
        let name = spec::capability_names().nth(bit as usize).expect("a known capability");
        // As oci-spec reads it, with any number of prefixes.
        let upper = text.to_uppercase();
        assert_eq!(format!("CAP_{}", upper.trim_start_matches("CAP_")), name, "{text:?}");
    }
}
