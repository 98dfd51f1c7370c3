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

/// What is not a seed of `state` or `config` because all of them are refused would test nothing.
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
fn every_target_has_a_program() {
    let package = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for (target, _) in fuzzing::TARGETS {
        assert!(package.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")));
        let program = fs::read_to_string(fuzz("fuzz_targets").join(target).with_extension("rs")).unwrap();
        assert!(program.contains(&format!("fuzzing::check(\"{target}\", input)")), "{target}");
    }
    assert_eq!(package.matches("[[bin]]").count(), fuzzing::TARGETS.len());
}
