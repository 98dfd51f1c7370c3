//! Intel RDT (`linux.intelRdt`).
//!
//! Few machines have such processors. A directory stands in for resctrl, and rt finds it by a line of mountinfo: what rt writes, where
//! and when, is seen here, what the kernel makes of it is not.

use std::fs::{create_dir_all, read_to_string, write};
use std::path::Path;

use testkit::{Case, Container, Outcome, Test, Value, json, rt_only};

use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        rt_only("is_refused_without_resctrl", "runc 1.1 runs without what was asked for", refused)
            .needs(no_resctrl),
        rt_only("class_of_a_container", "runc 1.1 asks the processor as well", class).needs(no_resctrl),
        rt_only("class_with_other_schemata", "runc 1.1 asks the processor as well", other_schemata)
            .needs(no_resctrl),
        rt_only("own_counters", "runc 1.1 does not know them", own_counters).needs(no_resctrl),
    ]
}

fn no_resctrl() -> Result<(), String> {
    let is_there = Path::new("/sys/fs/resctrl/schemata").exists();
    if is_there { Err("a machine without a resctrl of its own".to_owned()) } else { Ok(()) }
}

fn refused(test: &Test) -> Outcome {
    for rdt in [json!({}), json!({"closID": "gold"}), json!({"memBwSchema": "MB:0=20"})] {
        let container = test.container(&test.bundle()?.set("/linux/intelRdt", rdt).script(SLEEPER).build()?);
        let output = container.cmd("create", &["--bundle", container.bundle.directory()]).fails()?;
        one_line(test, &output, &["linux.intelRdt: Intel RDT is not available"])?;
    }
    test.leaves_nothing()
}

/// A directory in the place of resctrl, with caches to divide and a class `gold`; and what makes rt see it.
fn stand_in(test: &Test) -> Result<(String, String), std::io::Error> {
    let root = test.new_path("resctrl");
    for dir in ["info/L3", "gold/mon_groups"] {
        create_dir_all(format!("{root}/{dir}"))?;
    }
    write(format!("{root}/schemata"), "L3:0=ff\n")?;
    write(format!("{root}/gold/schemata"), "L3:0=0f\n")?;
    write(format!("{root}/gold/tasks"), "")?;
    let line = format!("999 1 0:999 / {root} rw,relatime - resctrl resctrl rw");
    let setup = format!(
        "{{ cat /proc/self/mountinfo; echo '{line}'; }} >{root}.$$ && mount --bind {root}.$$ /proc/$$/mountinfo"
    );
    Ok((root, setup))
}

fn of(test: &Test, rdt: Value) -> testkit::Fallible<Container<'_>> {
    Ok(test.container(&test.bundle()?.set("/linux/intelRdt", rdt).script(SLEEPER).build()?))
}

/// The first process joins before its program runs, another by `exec`; the class outlives them.
fn class(test: &Test) -> Outcome {
    let (root, setup) = stand_in(test)?;
    let container = of(test, json!({"closID": "gold", "l3CacheSchema": "L3:0=f"}))?;
    let tasks = format!("{root}/gold/tasks");
    container
        .cmd("run", &["-d", "--bundle", container.bundle.directory()])
        .in_private_mounts(&setup)
        .succeeds()?;
    // "0" is who writes it.
    assert_eq!(read_to_string(&tasks)?, "0");
    write(&tasks, "")?;
    container.exec(&[], &["true"]).succeeds()?;
    assert_eq!(read_to_string(&tasks)?, "0");
    let stats = container.cmd("events", &["--stats"]).succeeds()?.stdout;
    assert!(stats.contains(r#""l3_cache_schema_root":"L3:0=ff","l3_cache_schema":"L3:0=0f""#), "{stats}");
    container.cmd("update", &["--l3-cache-schema", "L3:0=03"]).in_private_mounts(&setup).succeeds()?;
    assert_eq!(read_to_string(format!("{root}/gold/schemata"))?, "L3:0=03\n");
    container.delete()?;
    assert!(Path::new(&tasks).exists());
    test.leaves_nothing()
}

fn other_schemata(test: &Test) -> Outcome {
    let (root, setup) = stand_in(test)?;
    let container = of(test, json!({"closID": "gold", "schemata": ["L3:0=1f"]}))?;
    let create = container.cmd("create", &["--bundle", container.bundle.directory()]);
    let output = create.in_private_mounts(&setup).fails()?;
    one_line(
        test,
        &output,
        &["exists with other schemata: \"L3:0=1f\" was asked for, \"L3:0=0f\" is there"],
    )?;
    assert_eq!(read_to_string(format!("{root}/gold/schemata"))?, "L3:0=0f\n");
    test.leaves_nothing()
}

/// In a plain directory there is no file to join by: the start fails, and what was made for it is gone.
fn own_counters(test: &Test) -> Outcome {
    let (root, setup) = stand_in(test)?;
    let container = of(test, json!({"closID": "gold", "enableMonitoring": true}))?;
    let create = container.cmd("create", &["--bundle", container.bundle.directory()]);
    let output = create.in_private_mounts(&setup).fails()?;
    one_line(test, &output, &["resctrl: open", "/gold/mon_groups/", "/tasks"])?;
    assert_eq!(std::fs::read_dir(format!("{root}/gold/mon_groups"))?.count(), 0);
    test.leaves_nothing()
}
