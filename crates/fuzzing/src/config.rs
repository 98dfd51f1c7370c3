//! `config`: config.json, and all that is made of it without asking the kernel. The same bytes are also tried as the process
//! of `exec --process`.

use crate::{names_a_place, one_line, plan};
use cgroup::devices::Policy;
use cgroup::settings::{Version, settings};
use cgroup::{Cgroup, Layout};
use spec::{Config, HookKind, Process, Seccomp, hooks};
use std::path::{Component, Path};

const FILE: &str = "config.json: ";

/// Compiling takes milliseconds, so only profiles up to this size are.
const MOST_NAMES: usize = 24;

pub(crate) fn check(input: &[u8]) {
    match Process::parse(input, "process.json") {
        Ok(process) => resolved(&process),
        Err(error) => names_a_place(&error, "process.json: "),
    }
    match Config::parse(input.to_vec(), "config.json") {
        Ok(config) => accepted(&config),
        Err(error) => names_a_place(&error, FILE),
    }
}

fn accepted(config: &Config) {
    round_trip(config);
    if config.oci.process().is_some() {
        match config.process() {
            Ok(process) => resolved(&process),
            Err(error) => panic!("accepted, but: {error}"),
        }
    }
    let namespaces = config.namespaces().expect("an accepted config has namespaces");
    assert!(namespaces.joined.iter().all(|(_, path)| path.is_absolute()));
    assert!(namespaces.new.iter().all(|kind| namespaces.path(*kind).is_none()));
    for kind in HookKind::ALL {
        assert!(hooks(&config.oci, kind).iter().all(|hook| hook.path().is_absolute()));
    }
    if let Some(profile) = config.seccomp().expect("an accepted config has a profile, or none") {
        compiled(&profile);
    }
    plan::check(&config.oci);
    cgroups(config);
}

/// What is written down of a config is what was read.
fn round_trip(config: &Config) {
    let bytes = serde_json::to_vec(&config.oci).expect("a config can be written");
    match Config::parse(bytes, "config.json") {
        Ok(again) => assert_eq!(again.oci, config.oci),
        Err(error) => panic!("it is no longer accepted once it was written down: {error}"),
    }
}

fn resolved(process: &Process) {
    assert!(process.args.first().is_some_and(|program| !program.is_empty()));
    assert!(process.args.iter().chain(&process.env).all(|text| !text.contains('\0')));
    assert!(process.cwd.is_absolute());
    let known = (1 << spec::capability_names().count()) - 1;
    let sets = process.capabilities.unwrap_or_default();
    let all = [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient];
    assert!(all.iter().all(|set| set & !known == 0), "{sets:?}");
    assert!(process.rlimits.iter().all(|limit| limit.soft <= limit.hard));
}

fn compiled(profile: &Seccomp<'_>) {
    let names: usize = profile.rules.iter().map(|rule| rule.names.len() * rule.alternatives.len()).sum();
    if names > MOST_NAMES || profile.architectures.len() > 3 {
        return;
    }
    match seccomp::compile(profile) {
        // The kernel takes no empty program, and none that is longer than BPF_MAXINSNS (linux/bpf_common.h).
        Ok(program) => assert!((1..=4096).contains(&program.len()), "{} instructions", program.len()),
        Err(error) => names_a_place(&error, FILE),
    }
}

/// A hybrid machine and one with cgroup2 alone; this process is in /own.
const MACHINES: [(&str, &str); 2] = [
    (
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "2:name=systemd:/own\n1:cpu,cpuacct:/own\n0::/own\n",
    ),
    ("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/own\n"),
];

fn cgroups(config: &Config) {
    let path = config.linux().and_then(|linux| linux.cgroups_path().as_deref());
    for (mounts, own) in MACHINES {
        let layout = Layout::parse(mounts, own).expect("a machine with cgroups");
        match Cgroup::locate(&layout, path, "id") {
            Ok(cgroup) => cgroup.paths().for_each(|(_, dir)| is_below(dir, &layout)),
            Err(error) => drop(one_line(&error)),
        }
    }
    let Some(resources) = config.linux().and_then(|linux| linux.resources().as_ref()) else { return };
    for version in [Version::V1, Version::V2] {
        match settings(resources, version) {
            Ok(list) => list.iter().flat_map(|setting| &setting.choices).for_each(is_file),
            Err(error) => names_a_place(&error, FILE),
        }
    }
    if let Err(error) = Policy::new(resources.devices().as_deref().unwrap_or_default()) {
        names_a_place(&error, FILE);
    }
}

/// A container's directory lies in its hierarchy, and is not the hierarchy's root.
fn is_below(dir: &Path, layout: &Layout) {
    let hierarchies = layout.hierarchies.iter().chain(&layout.unified);
    let stays = dir.components().all(|part| part != Component::ParentDir);
    let is_below = hierarchies.into_iter().any(|hierarchy| {
        dir.strip_prefix(&hierarchy.mountpoint).is_ok_and(|below| below.components().next().is_some())
    });
    assert!(stays && is_below, "{dir:?}");
}

fn is_file(write: &cgroup::settings::Write) {
    let name = &write.file;
    assert!(!name.contains(['/', '\0']) && !name.starts_with('.'), "{name:?} is no file of a cgroup");
}
