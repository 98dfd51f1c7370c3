//! The seeds of `fuzz/`, all past findings among them, through the functions that libFuzzer calls.

#![allow(clippy::unwrap_used, reason = "a missing seed is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

fn fuzz(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(name)
}

#[test]
fn every_seed_passes() {
    for (target, _) in fuzzing::TARGETS {
        let seeds: Vec<_> = fs::read_dir(fuzz("seeds").join(target)).unwrap().collect();
        assert!(seeds.len() > 2, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let path = seed.unwrap().path();
            println!("{target}: {}", path.display()); // shown when it fails
            fuzzing::check(target, &fs::read(path).unwrap());
        }
    }
}

/// What is not a seed of `state`, `config` or `images` because all of them are refused would test nothing.
#[test]
fn the_seeds_that_are_meant_to_be_accepted_are() {
    for name in ["rt-spec", "rt-spec-rootless", "podman", "docker", "containerd-userns", "least"] {
        let path = fuzz(&format!("seeds/config/{name}.json"));
        spec::Config::load(&path).unwrap();
    }
    let seed = |name: &str| fs::read(fuzz("seeds/state").join(name)).unwrap();
    container::fuzzing::record(&seed("record")).unwrap();
    container::fuzzing::record(&seed("record-creating")).unwrap();
    container::fuzzing::manifest(&seed("manifest")).unwrap();
    container::fuzzing::descriptors(&seed("descriptors")).unwrap();
    let seed = |name: &str| fs::read(fuzz("seeds/criu").join(name)).unwrap();
    assert!(criu::fuzzing::statistics(&seed("statistics")).is_some());
    for answer in ["failed", "notification", "version", "features"] {
        let errors = criu::fuzzing::answer(&seed(&format!("answer-{answer}")), &criu::log::Report::default());
        assert!(!errors.is_empty(), "{answer}");
    }
}

#[test]
fn the_image_directories_are_what_they_are_called() {
    let read = |name: &str| {
        let seed = fs::read(fuzz("seeds/images").join(name)).unwrap();
        criu::fuzzing::images(fuzzing::image_directory(&seed)).unwrap()
    };
    let kinds = ["dump", "lazy", "received", "pre-dump", "pre-dump-old"].map(|name| read(name).kind.name());
    assert_eq!(kinds, ["dump", "lazy-dump", "received-memory", "pre-dump", "pre-dump"]);
    let pages = read("pre-dump").pages();
    assert_eq!((pages.dumped, pages.in_parent), (2, 3));
    assert_eq!(read("pre-dump-old").pages(), pages);
    assert!(read("sockets-and-memfds").files().filter(|file| file.socket.is_some()).count() > 5);
}

#[test]
fn every_target_has_a_program() {
    let package = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for (target, _) in fuzzing::TARGETS {
        assert!(package.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")));
        let program = fs::read_to_string(fuzz("fuzz_targets").join(target).with_extension("rs")).unwrap();
        assert!(program.contains(&format!("fuzzing::check(\"{target}\", input)")), "{target}");
    }
    assert_eq!(package.matches("[[bin]]").count(), fuzzing::TARGETS.len());
}

/// libFuzzer prefers short inputs, so the longest are made here: one piece again and again, of what is looked through in loops.
#[test]
fn the_longest_inputs_are_within_the_limits() {
    let config = |before: &str, piece: &dyn Fn(usize) -> String, after: &str| {
        let linux = r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"mount"},{"type":"network"}]"#;
        let mut text = format!("{linux}{before}");
        let mut count = 0;
        while text.len() + after.len() + 200 < 64 * 1024 {
            text.push_str(if count == 0 { "" } else { "," });
            text.push_str(&piece(count));
            count += 1;
        }
        text + after
    };
    let device = |n| format!(r#"{{"allow":true,"type":"c","major":{n},"minor":{n},"access":"rwm"}}"#);
    let node = |n| format!(r#"{{"path":"/dev/{n}","type":"c","major":1,"minor":{n}}}"#);
    let mount =
        |n| format!(r#"{{"destination":"/{n}","type":"bind","source":"/{n}","options":["rbind","ro"]}}"#);
    let call = |n| format!(r#"{{"names":["n{n}"],"action":"SCMP_ACT_LOG"}}"#);
    let inputs = [
        config(r#","resources":{"devices":["#, &device, "]}}}"),
        config(r#","devices":["#, &node, "]}}"),
        config(r#","maskedPaths":["#, &|n| format!(r#""/a/../{n}""#), "]}}"),
        config(r#","sysctl":{"#, &|n| format!(r#""net.{n}":"1""#), "}}}"),
        config(r#","seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":["#, &call, "]}}}"),
        config(r#"},"mounts":["#, &mount, "]}"),
        config(r#","cgroupsPath":"/a"#, &|_| "/a".into(), r#""}}"#),
    ];
    for input in inputs {
        spec::Config::parse(input.clone().into(), "config.json").unwrap();
        fuzzing::check("config", input.as_bytes());
    }
    let of = |piece: &str| piece.repeat(64 * 1024 / piece.len());
    for (target, piece) in [
        ("config", "["),
        ("config", r#"{"process":"#),
        ("mount_options", "ro\n"),
        ("mount_options", r#"a="b,c","#),
        ("criu", "Error (criu/x.c:1): y\n"),
        ("criu", "\x2a\x02"),
        ("images", "\x01\x04\x00\x00\x00\x00\x00"),
        ("images", "\x0f\x02\x00\x00\x00"),
        ("machine", "1 1 0:1 / /a rw - cgroup cgroup rw,a\n"),
        ("machine", "1 (a) "),
        ("state", r#"{"hollow":["#),
        ("user", "1:1\n"),
    ] {
        fuzzing::check(target, of(piece).as_bytes());
    }
    let lists = of("1 1 0:1 / /a rw - cgroup cgroup rw,a\n");
    let own = of("1:b:/\n");
    let half = 32 * 1024 - 1;
    fuzzing::check("machine", format!("{}\0{}", &lists[..half], &own[..half]).as_bytes());
}
