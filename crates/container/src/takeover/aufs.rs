//! The branches of an AUFS mount. They stand in no mount option but `si=`, which names a directory of /sys/fs/aufs with a file for each.
//!
//! CRIU reads these files at a dump, since /proc/PID/map_files shows paths in branches where it should show paths in the container's
//! root, and writes them to its log: `(00.014075) /sys/fs/aufs/si_f598876b0855b883/br0 : /var/lib/docker/aufs/diff/ID`.

use std::collections::BTreeMap;
use std::path::Path;

/// The branches in their order, which is that of their numbers: br10 comes after br9.
type Branches = BTreeMap<u32, String>;

/// As sysfs has them for the mount with this `si=`. A branch is followed by how it may be used (`=rw`, `=ro+wh`), which is kept.
pub(super) fn branches_in_sysfs(sysfs: &Path, si: &str) -> Branches {
    let files = std::fs::read_dir(sysfs.join(format!("fs/aufs/si_{si}"))).into_iter().flatten().flatten();
    let branch = |file: std::fs::DirEntry| {
        let number = number(file.file_name().to_str()?)?;
        let path = std::fs::read_to_string(file.path()).ok()?;
        Some((number, path.trim_end().to_owned()))
    };
    files.filter_map(branch).collect()
}

/// As CRIU's log has them; it tells them once for each process.
pub(super) fn branches_in_log(log: &str) -> Branches {
    let branch = |line: &str| {
        let (_, entry) = line.split_once("/sys/fs/aufs/si_")?;
        let (file, path) = entry.split_once(" : ")?;
        let (_, name) = file.split_once('/')?;
        Some((number(name)?, path.trim_end().to_owned()))
    };
    log.lines().filter_map(branch).filter(|(_, path)| path.starts_with('/')).collect()
}

/// The mount option for them; None without any.
pub(super) fn options(branches: &Branches) -> Option<String> {
    let list: Vec<&str> = branches.values().map(String::as_str).collect();
    (!list.is_empty()).then(|| format!("br={}", list.join(":")))
}

/// `br7` is 7; other files there (`brid0`, `xi_path`) are no branches.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("br")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_branches_come_in_the_order_of_their_numbers() {
        let line = |number: u32, path: &str| {
            format!(
                "(00.014075) /sys/fs/aufs/si_f598876b0855b883/br{number} : /var/lib/docker/aufs/diff/{path}\n"
            )
        };
        let all: String =
            [10, 0, 2, 9, 0, 1].iter().map(|number| line(*number, &format!("b{number}"))).collect();
        let log = format!("(00.001) Something else : /sys\n{all}");
        let paths: Vec<_> = branches_in_log(&log).into_values().collect();
        let expected =
            ["b0", "b1", "b2", "b9", "b10"].map(|name| format!("/var/lib/docker/aufs/diff/{name}"));
        assert_eq!(paths, expected);
        // The seed's own line.
        let seed = "(00.014075) /sys/fs/aufs/si_f598876b0855b883/br0 : /var/lib/docker/aufs/diff/\n";
        assert_eq!(options(&branches_in_log(seed)).unwrap(), "br=/var/lib/docker/aufs/diff/");
    }

    #[test]
    fn sysfs_tells_the_branches_of_one_mount() {
        let sysfs = tempfile::tempdir().unwrap();
        let dir = sysfs.path().join("fs/aufs/si_4476a910a24617e6");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in [
            ("br0", "/d/id=rw\n"),
            ("br1", "/d/id-init=ro+wh\n"),
            ("br10", "/d/z=ro\n"),
            ("br2", "/d/a=ro\n"),
        ] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        std::fs::write(dir.join("brid0"), "64\n").unwrap();
        let branches = branches_in_sysfs(sysfs.path(), "4476a910a24617e6");
        assert_eq!(options(&branches).unwrap(), "br=/d/id=rw:/d/id-init=ro+wh:/d/a=ro:/d/z=ro");
        assert_eq!(options(&branches_in_sysfs(sysfs.path(), "0")), None);
    }
}
