//! `machine`: what the kernel tells of processes, their files and mounts, cgroups and itself. The input is two texts with a NUL between them.

use crate::one_line;
use cgroup::{Cgroup, Layout, View};

pub(crate) fn check(input: &[u8]) {
    process(input);
    let text = String::from_utf8_lossy(input);
    for (class, object) in container::fuzzing::check(&text) {
        assert!(!object.is_empty(), "{class} without an object");
    }
    let (mounts, own) = text.split_once('\0').unwrap_or((&text, "0::/\n"));
    match Layout::parse(mounts, own) {
        Ok(layout) => placed(&layout),
        Err(error) => drop(one_line(&error)),
    }
}

fn process(line: &[u8]) {
    if let Some(stat) = sys::proc::Stat::parse(line) {
        // A command's name is whatever the process says; it must not be taken for anything else.
        let close = line.iter().rposition(|byte| *byte == b')').unwrap_or_default();
        let renamed = [b"1 (a) b) R 7 (".as_slice(), &line[close..]].concat();
        assert_eq!(sys::proc::Stat::parse(&renamed), Some(stat));
    }
}

fn placed(layout: &Layout) {
    assert!(layout.unified.is_some() || !layout.hierarchies.is_empty());
    for (index, hierarchy) in layout.hierarchies.iter().enumerate() {
        let is_other = |other: &cgroup::Hierarchy| other.controllers != hierarchy.controllers;
        assert!(!hierarchy.controllers.is_empty());
        assert!(layout.hierarchies[..index].iter().all(is_other), "{layout:?}");
    }
    let Ok(cgroup) = Cgroup::locate(layout, None, "id") else { return };
    for has_namespace in [false, true] {
        if let View::V1 { mounts, .. } = cgroup.view(layout, has_namespace) {
            assert!(mounts.iter().all(|mount| !mount.name.contains('/') && mount.name != ".."));
        }
    }
}
