//! On a plain directory tree: files are made where the kernel would make them.
#![allow(clippy::unwrap_used)]

use super::*;
use std::fs::{create_dir_all, read_to_string, write};

/// A tree as resctrl shows it, with the default class.
fn tree(features: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for feature in features {
        create_dir_all(dir.path().join("info").join(feature)).unwrap();
    }
    fill(dir.path(), "", "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n");
    dir
}

/// What the kernel puts into a new group.
fn fill(root: &Path, name: &str, schemata: &str) {
    let dir = root.join(name);
    create_dir_all(dir.join("mon_groups")).unwrap();
    write(dir.join(TASKS), "").unwrap();
    write(dir.join(SCHEMATA), schemata).unwrap();
}

fn rdt(json: &str) -> LinuxIntelRdt {
    serde_json::from_str(json).unwrap()
}

fn place(root: &Path, json: &str) -> Result<Group> {
    Group::at(root.to_owned(), &rdt(json), "c1")
}

/// The text of the error of the creation of a group.
fn refused(root: &Path, json: &str) -> String {
    let made = place(root, json).and_then(|group| group.create(&rdt(json)));
    made.unwrap_err().to_string().replace(&root.display().to_string(), "")
}

const ALL: [&str; 3] = ["L3", "MB", "L3_MON"];

#[test]
fn a_mount_is_found_wherever_it_is() {
    let other = "22 1 254:0 / / rw shared:1 - ext4 /dev/root rw\n";
    assert_eq!(mounted(other), None);
    let line = "40 22 0:31 / /mnt/my\\040rdt rw,relatime - resctrl resctrl rw,cdp\n";
    assert_eq!(mounted(&format!("{other}{line}")).unwrap(), Path::new("/mnt/my rdt"));
}

#[test]
fn each_field_decides_where_the_container_is() {
    let tree = tree(&ALL);
    let root = tree.path();
    let dirs = |json| {
        let group = place(root, json).unwrap();
        group.dirs().map(|dir| dir.strip_prefix(root).unwrap().display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(dirs("{}"), ["c1"]);
    assert_eq!(dirs(r#"{"closID":""}"#), ["c1"]);
    assert_eq!(dirs(r#"{"closID":"gold"}"#), ["gold"]);
    assert_eq!(dirs(r#"{"closID":"/","enableMonitoring":true}"#), ["", "mon_groups/c1"]);
    assert_eq!(dirs(r#"{"closID":"gold","enableMonitoring":true}"#), ["gold", "gold/mon_groups/c1"]);
    assert_eq!(dirs(r#"{"enableMonitoring":false,"enableCMT":true,"enableMBM":true}"#), ["c1"]);
}

#[test]
fn what_the_machine_cannot_divide_is_said() {
    let tree = tree(&["L3CODE"]);
    assert!(place(tree.path(), r#"{"l3CacheSchema":"L3CODE:0=f"}"#).is_ok());
    assert_eq!(
        refused(tree.path(), r#"{"memBwSchema":"MB:0=20"}"#),
        "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled"
    );
    let bare = self::tree(&["MB"]);
    assert_eq!(
        refused(bare.path(), r#"{"l3CacheSchema":"L3:0=f"}"#),
        "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled"
    );
}

#[test]
fn a_container_without_a_class_has_its_own_which_goes_with_it() {
    let tree = tree(&ALL);
    let class = tree.path().join("c1");
    let group = place(tree.path(), "{}").unwrap();
    group.create(&rdt("{}")).unwrap();
    assert!(class.is_dir());
    group.remove().unwrap();
    assert!(!class.exists());
    group.remove().unwrap();
}

#[test]
fn schemata_are_written_and_tasks_join() {
    let tree = tree(&ALL);
    // As left by somebody, and empty.
    fill(tree.path(), "c1", "");
    let json = r#"{"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20"}"#;
    let group = place(tree.path(), json).unwrap();
    group.create(&rdt(json)).unwrap();
    let class = tree.path().join("c1");
    assert_eq!(read_to_string(class.join(SCHEMATA)).unwrap(), "L3:0=f\nMB:0=20\n");
    group.entry().unwrap().enter().unwrap();
    assert_eq!(read_to_string(class.join(TASKS)).unwrap(), "0");
    group.add(4711).unwrap();
    assert_eq!(read_to_string(class.join(TASKS)).unwrap(), "4711");
    assert_eq!(refused(tree.path(), "{}"), "resctrl: the container's group is not empty: \"/c1\"");
}

#[test]
fn a_class_with_a_name_keeps_its_schemata_and_stays() {
    let tree = tree(&ALL);
    let named = r#"{"closID":"gold"}"#;
    assert!(
        refused(tree.path(), named)
            .starts_with("linux.intelRdt.closID: \"/gold\": no such file or directory")
    );
    fill(tree.path(), "gold", "L3:0=00f;1=7ff\n");
    let same = r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#;
    for json in [named, same] {
        let group = place(tree.path(), json).unwrap();
        group.create(&rdt(json)).unwrap();
        group.remove().unwrap();
        group.undo().unwrap();
        assert_eq!(read_to_string(tree.path().join("gold/schemata")).unwrap(), "L3:0=00f;1=7ff\n");
    }
    assert_eq!(
        refused(tree.path(), r#"{"closID":"gold","schemata":["L3:0=f","L3:1=1"]}"#),
        "linux.intelRdt.closID: \"/gold/schemata\" exists with other schemata: \"L3:1=1\" was asked for, \
         \"L3:0=00f;1=7ff\" is there"
    );
}

#[test]
fn a_failure_leaves_nothing_and_says_what_the_kernel_says() {
    let tree = tree(&ALL);
    write(tree.path().join("info/last_cmd_status"), "ok\n").unwrap();
    // In a plain directory there are no files: the write fails as one that the kernel refuses.
    let text = refused(tree.path(), r#"{"schemata":["L3:0=f"]}"#);
    assert_eq!(text, "resctrl: write \"L3:0=f\\n\" to \"/c1/schemata\": no such file or directory");
    assert!(!tree.path().join("c1").exists());
    write(tree.path().join("info/last_cmd_status"), "Mask out of range\n").unwrap();
    let text = refused(tree.path(), r#"{"closID":"new","schemata":["L3:0=f"]}"#);
    assert!(text.ends_with("no such file or directory (Mask out of range)"), "{text}");
    assert!(!tree.path().join("new").exists());
}

#[test]
fn an_undone_creation_takes_a_new_class_along_unless_somebody_is_in_it() {
    let tree = tree(&ALL);
    let json = r#"{"closID":"new","l3CacheSchema":"L3:0=f"}"#;
    for (tasks, remains) in [("", false), ("4711\n", true)] {
        let _ = std::fs::remove_dir_all(tree.path().join("new"));
        let group = place(tree.path(), json).unwrap();
        fill(tree.path(), "new", "L3:0=f\n");
        write(tree.path().join("new/tasks"), tasks).unwrap();
        // rmdir of a group takes the files along, which a plain one does not.
        let undone = group.undo();
        assert_eq!(undone.is_ok(), remains, "{undone:?}");
    }
}

#[test]
fn counters_of_its_own() {
    let tree = tree(&ALL);
    let json = r#"{"closID":"/","enableMonitoring":true}"#;
    let group = place(tree.path(), json).unwrap();
    group.create(&rdt(json)).unwrap();
    let own = tree.path().join("mon_groups/c1");
    assert!(own.is_dir());
    group.remove().unwrap();
    assert!(!own.exists());
    assert!(tree.path().join(TASKS).exists());
}

#[test]
fn running_processes_are_moved_with_all_threads() {
    let tree = tree(&ALL);
    fill(tree.path(), "c1", "");
    let group = place(tree.path(), "{}").unwrap();
    group.add_all(&[i32::MAX]).unwrap();
    assert_eq!(read_to_string(tree.path().join("c1/tasks")).unwrap(), "");
    group.add_all(&[std::process::id().cast_signed()]).unwrap();
    let last: i32 = read_to_string(tree.path().join("c1/tasks")).unwrap().parse().unwrap();
    assert!(Path::new(&format!("/proc/self/task/{last}")).exists());
}

#[test]
fn a_change_tells_what_stood_there() {
    let tree = tree(&ALL);
    fill(tree.path(), "c1", "L3:0=7ff\nMB:0=100\n");
    let group = place(tree.path(), "{}").unwrap();
    let before = group.change(Some("L3:0=f"), None).unwrap();
    assert_eq!(before, "L3:0=7ff\nMB:0=100\n");
    group.write(&before).unwrap();
    assert_eq!(read_to_string(tree.path().join("c1/schemata")).unwrap(), before);
}

#[test]
fn statistics_are_runcs() {
    let tree = tree(&ALL);
    let root = tree.path();
    for (file, value) in [
        ("info/L3/cbm_mask", "7ff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
    ] {
        write(root.join(file), value).unwrap();
    }
    fill(root, "c1", "    L3:0=f;1=7ff\n    MB:0=20;1=100\n");
    for (domain, bytes) in [("mon_L3_00", "4096"), ("mon_L3_01", "Unavailable")] {
        let dir = root.join("c1/mon_data").join(domain);
        create_dir_all(&dir).unwrap();
        for file in ["llc_occupancy", "mbm_total_bytes", "mbm_local_bytes"] {
            write(dir.join(file), format!("{bytes}\n")).unwrap();
        }
    }
    let stats = place(root, "{}").unwrap().stats().unwrap();
    let expected = serde_json::json!({
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f;1=7ff",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 0, "min_bandwidth": 10, "num_closids": 0},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=20;1=100",
        "mbm_stats": [
            {"mbm_total_bytes": 4096, "mbm_local_bytes": 4096},
            {"mbm_total_bytes": 0, "mbm_local_bytes": 0}
        ],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 0}]
    });
    assert_eq!(serde_json::to_value(stats).unwrap(), expected);
}
