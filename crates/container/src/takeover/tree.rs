//! A container's root file system, as words from which it can be mounted again.
//!
//! An engine unmounts the root of a container that has ended, and so of one that was dumped. What it was mounted from is told by
//! the engine (GraphDriver), by the container's own mount, which a dump notes down, and by CRIU's log of the dump.

use super::aufs;
use super::inspect::GraphDriver;
use crate::mountinfo::Mount;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tree {
    /// A directory of the host (vfs, btrfs), or one that is mounted already.
    Directory(PathBuf),
    /// What is yet to be mounted.
    FileSystem {
        /// Its type, as mount(8) takes it.
        fstype: String,
        /// Its source.
        source: String,
        /// Its options.
        options: String,
    },
}

/// Options of an overlay besides its layers, which say how the files in the upper one are to be read.
const OVERLAY_OPTIONS: [&str; 6] = ["redirect_dir", "index", "nfs_export", "xino", "metacopy", "userxattr"];

impl Tree {
    fn file_system(fstype: &str, source: &str, options: String) -> Self {
        Self::FileSystem { fstype: fstype.to_owned(), source: source.to_owned(), options }
    }

    /// What the engine's driver tells; nothing with those that have no data (vfs, btrfs, aufs). `noted` is the root's mount at the
    /// dump, if it is known: of an overlay it has the options besides the layers, and whether FUSE made it.
    pub(super) fn of_driver(driver: &GraphDriver, noted: Option<&Self>) -> Option<Self> {
        if let (Some(dataset), "zfs") = (driver.word("Dataset"), driver.name.as_str()) {
            return Some(Self::file_system("zfs", dataset, String::new()));
        }
        let (lower, upper, work) =
            (driver.word("LowerDir")?, driver.word("UpperDir")?, driver.word("WorkDir")?);
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let (fstype, further) = match noted {
            Some(Self::FileSystem { fstype, options, .. }) => (fstype.as_str(), overlay_options(options)),
            _ => ("", String::new()),
        };
        let is_fuse = fstype.starts_with("fuse") || driver.name == "fuse-overlayfs";
        let fstype = if is_fuse { "fuse.fuse-overlayfs" } else { "overlay" };
        Some(Self::file_system(fstype, "overlay", layers + &further))
    }

    /// What a mount of the kernel's tells. `sysfs` is where /sys is.
    pub(super) fn of_mount(mount: &Mount, sysfs: &Path) -> Option<Self> {
        let options = match mount.fstype.as_str() {
            "overlay" | "overlayfs" => layers(&mount.options)?,
            "aufs" => aufs::options(&aufs::branches_in_sysfs(sysfs, mount.option("si")?))?,
            "unionfs" => format!("dirs={}", mount.option("dirs")?),
            "zfs" => String::new(),
            // Its layers are in no mount's options: the engine knows them.
            fuse if fuse.starts_with("fuse.") => String::new(),
            _ => return None,
        };
        Some(Self::file_system(&mount.fstype, &mount.source, options))
    }

    /// What CRIU's log of the dump tells.
    pub(super) fn of_log(log: &str) -> Option<Self> {
        if let Some(branches) = aufs::options(&aufs::branches_in_log(log)) {
            return Some(Self::file_system("aufs", "none", branches));
        }
        let mounts = log.lines().filter_map(logged_mount);
        let (mut root, mut any) = (None, None);
        for (mount, is_root) in mounts {
            let tree = match mount.fstype.as_str() {
                "unionfs" | "unsupported" | "fuse" => mount
                    .option("dirs")
                    .map(|dirs| Self::file_system("unionfs", "none", format!("dirs={dirs}"))),
                _ => layers(&mount.options).map(|options| Self::file_system("overlay", "overlay", options)),
            };
            // Mounts of the host are logged too, before the container's.
            root = tree.clone().filter(|_| is_root).or(root);
            any = tree.or(any);
        }
        root.or(any)
    }
}

/// `,index=off...`: those options of an overlay that are not its layers.
fn overlay_options(options: &str) -> String {
    let is_kept = |option: &&str| OVERLAY_OPTIONS.contains(&option.split('=').next().unwrap_or_default());
    options.split(',').filter(is_kept).flat_map(|option| [",", option]).collect()
}

/// An overlay's options for another mount of it. Newer kernels may tell each lower layer in an option of its own (`lowerdir+=`).
fn layers(options: &str) -> Option<String> {
    let one = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let appended: Vec<&str> =
        options.split(',').filter_map(|option| option.strip_prefix("lowerdir+=")).collect();
    let lower = one("lowerdir=").map_or_else(|| appended.join(":"), str::to_owned);
    if lower.is_empty() {
        return None;
    }
    let (upper, work) = (one("upperdir=")?, one("workdir=")?);
    Some(format!("lowerdir={lower},upperdir={upper},workdir={work}{}", overlay_options(options)))
}

/// A mount that CRIU tells of at its highest log level, and whether it is a root:
/// `(00.004) \ttype overlay source overlay mnt_id 600 s_dev 0x3c / @ ./ flags 0x200000 options lowerdir=...`.
fn logged_mount(line: &str) -> Option<(Mount, bool)> {
    let (_, rest) = line.split_once("type ")?;
    let (fstype, rest) = rest.split_once(" source ")?;
    let (source, rest) = rest.split_once(' ')?;
    let (place, options) = rest.split_once(" options ")?;
    let place = place.split_once(" @ ").map_or("", |(_, place)| place);
    let place = place.split(' ').next().unwrap_or_default();
    let mount = Mount {
        place: place.into(),
        fstype: fstype.to_owned(),
        source: source.to_owned(),
        options: options.trim_end().to_owned(),
        ..Mount::default()
    };
    Some((mount, ["/", "./"].contains(&place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo;

    fn options(tree: Option<Tree>) -> String {
        match tree {
            Some(Tree::FileSystem { fstype, options, .. }) => format!("{fstype} {options}"),
            other => format!("{other:?}"),
        }
    }

    fn driver(json: &str) -> GraphDriver {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_overlays_layers_are_the_engines_and_its_other_options_the_mounts() {
        let overlay2 = r#"{"Name":"overlay2","Data":{"LowerDir":"/o/a:/o/b","UpperDir":"/o/c/diff","WorkDir":"/o/c/work","MergedDir":"/o/c/merged"}}"#;
        let told = Tree::of_driver(&driver(overlay2), None);
        assert_eq!(options(told), "overlay lowerdir=/o/a:/o/b,upperdir=/o/c/diff,workdir=/o/c/work");
        let line = "9 8 0:60 / / rw - overlay overlay rw,lowerdir=l/A:l/B,upperdir=c/diff,workdir=c/work,metacopy=on,uuid=on";
        let noted = Tree::of_mount(&mountinfo::parse(line)[0], Path::new("/none"));
        assert_eq!(
            options(noted.clone()),
            "overlay lowerdir=l/A:l/B,upperdir=c/diff,workdir=c/work,metacopy=on"
        );
        let both = options(Tree::of_driver(&driver(overlay2), noted.as_ref()));
        assert!(both.ends_with("/o/c/work,metacopy=on"), "{both}");
        let appended = "9 8 0:60 / / rw - overlay x rw,lowerdir+=/a,lowerdir+=/b,upperdir=/u,workdir=/w";
        let noted = Tree::of_mount(&mountinfo::parse(appended)[0], Path::new("/none"));
        assert_eq!(options(noted), "overlay lowerdir=/a:/b,upperdir=/u,workdir=/w");
    }

    #[test]
    fn drivers_without_data_leave_it_to_the_mount() {
        for name in ["vfs", "btrfs", "aufs"] {
            assert_eq!(Tree::of_driver(&driver(&format!(r#"{{"Name":"{name}","Data":null}}"#)), None), None);
        }
        let zfs = driver(r#"{"Name":"zfs","Data":{"Dataset":"pool/x","Mountpoint":"/z"}}"#);
        assert_eq!(Tree::of_driver(&zfs, None), Some(Tree::file_system("zfs", "pool/x", String::new())));
        let fuse = r#"{"Name":"overlay","Data":{"LowerDir":"/l","UpperDir":"/u","WorkDir":"/w"}}"#;
        let line = "9 8 0:60 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0";
        let noted = Tree::of_mount(&mountinfo::parse(line)[0], Path::new("/none"));
        let told = options(Tree::of_driver(&driver(fuse), noted.as_ref()));
        assert_eq!(told, "fuse.fuse-overlayfs lowerdir=/l,upperdir=/u,workdir=/w");
    }

    #[test]
    fn the_logs_root_is_the_containers_and_not_the_hosts() {
        let log = "\
(00.003) \ttype overlay source overlay mnt_id 40 s_dev 0x2a / @ ./ flags 0x0 options lowerdir=/h,upperdir=/hu,workdir=/hw\n\
(00.003) \ttype overlay source overlay mnt_id 41 s_dev 0x2b / @ ./var/x/merged flags 0x0 options lowerdir=/x,upperdir=/xu,workdir=/xw\n\
(00.004) \ttype overlay source overlay mnt_id 600 s_dev 0x3c / @ ./ flags 0x200000 options lowerdir=/a:/b,upperdir=/u,workdir=/w,xino=off\n\
(00.004) \ttype proc source proc mnt_id 601 s_dev 0x3d / @ ./proc flags 0x20000e options \n";
        assert_eq!(options(Tree::of_log(log)), "overlay lowerdir=/a:/b,upperdir=/u,workdir=/w,xino=off");
        // As CRIU 1.3 wrote it.
        let old =
            "\ttype overlayfs source none 25 / @ / flags 280000 options lowerdir=/l,upperdir=/u,workdir=/w\n";
        assert_eq!(options(Tree::of_log(old)), "overlay lowerdir=/l,upperdir=/u,workdir=/w");
        assert_eq!(Tree::of_log("(00.1) nothing of the kind\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_log_and_any_mounts_are_read_without_panic(text in "([ -~]|type | source | @ | options |lowerdir=|/sys/fs/aufs/si_a/br| : | - |\\n){0,60}") {
            let _ = Tree::of_log(&text);
            for mount in mountinfo::parse(&text) {
                let _ = Tree::of_mount(&mount, Path::new("/none"));
            }
        }
    }

    #[test]
    fn unionfs_tells_its_directories() {
        let log = "(00.010) \ttype unsupported source none 21 / @ ./ flags 200000 options dirs=/a=rw:/b=ro\n";
        assert_eq!(options(Tree::of_log(log)), "unionfs dirs=/a=rw:/b=ro");
        let line = "9 8 0:60 / / rw - unionfs none rw,dirs=/a=rw:/b=ro";
        let noted = Tree::of_mount(&mountinfo::parse(line)[0], Path::new("/none"));
        assert_eq!(options(noted), "unionfs dirs=/a=rw:/b=ro");
    }
}
