//! A directory of the image that is a link to the host every other moment, while containers are made from it: a volume that
//! two containers share, one of which means harm.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{BundleBuilder, Case, Outcome, Swapping, Test, both, json, rounds, rt_only};

const WHY: &str = "runc 1.1.5 makes directories of the host";

/// How many containers are made in each race.
const ROUNDS: usize = 25;

pub(super) fn cases() -> Vec<Case> {
    vec![
        // CVE-2021-30465.
        rt_only("race_for_a_mount_point", WHY, |test| {
            race(test, "/data", |bundle| {
                let mount = |to: &str| json!({"destination": to, "type": "tmpfs", "source": "tmpfs"});
                bundle.push("/mounts", mount("/data/dir")).push("/mounts", mount("/data/dir/below"))
            })
        }),
        // CVE-2024-45310.
        rt_only("race_for_a_missing_mount_point", WHY, |test| {
            race(test, "/data", |bundle| {
                let source = bundle.path("/etc/passwd");
                let file = json!({"destination": "/data/a/file", "type": "bind", "source": source, "options": ["bind"]});
                let dir = json!({"destination": "/data/b/dir", "type": "tmpfs", "source": "tmpfs"});
                bundle.push("/mounts", file).push("/mounts", dir)
            })
        }),
        // CVE-2026-41579, CVE-2026-47766.
        rt_only("race_for_dev", WHY, |test| race(test, "/dev", without_dev)),
        // CVE-2025-31133.
        both("race_for_a_masked_path", |test| {
            race(test, "/data", |bundle| {
                bundle
                    .set("/linux/maskedPaths", json!(["/data/dir", "/data/file"]))
                    .set("/linux/readonlyPaths", json!(["/data/dir"]))
            })
        }),
        both("race_for_a_copied_tmpfs", |test| {
            race(test, "/data", |bundle| {
                bundle.push("/mounts", json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}))
            })
        }),
        rt_only("race_for_the_working_directory", WHY, |test| {
            race(test, "/data", |bundle| bundle.set("/process/cwd", json!("/data/new/dir")))
        }),
    ]
}

/// A container without file systems of its own at /dev: all is made in the image.
fn without_dev(bundle: BundleBuilder) -> BundleBuilder {
    bundle.edit(|config| {
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|to| to.starts_with("/dev")));
        }
    })
}

/// Makes containers while `place` of the image is now a directory and now a link to one of the host, which must stay as it is,
/// and whose files no container may see.
fn race(test: &Test, place: &str, configure: fn(BundleBuilder) -> BundleBuilder) -> Outcome {
    const SECRET: &str = "a secret of the host";
    let victim = test.new_path("victim");
    let inside = |directory: &str, text: &str| {
        fs::create_dir_all(format!("{directory}/dir"))?;
        fs::write(format!("{directory}/file"), text)
    };
    inside(&victim, SECRET)?;
    let script = format!("cat {place}/file {place}/dir/* /proc/self/cwd/../../file; true");
    let bundle = configure(test.bundle()?).script(&script).build()?;
    let (directory, link) = (bundle.path(place), bundle.path("/exchanged"));
    inside(&directory, "")?;
    symlink(&victim, &link)?;
    let before = tree(&victim)?;
    let swapping = Swapping::start(&directory, &link);
    let rounds = rounds(ROUNDS);
    for _ in 0..rounds {
        // Refused or contained: both are fine.
        let output = test.container(&bundle).run_foreground(&[]).output()?;
        assert!(!output.stdout.contains(SECRET), "seen in the container: {output}");
    }
    assert!(swapping.count() > rounds, "they have changed places {} times only", swapping.count());
    drop(swapping);
    assert_eq!(tree(&victim)?, before, "changed on the host");
    test.leaves_nothing()
}

/// Names and contents below a directory.
fn tree(directory: &str) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path().display().to_string();
        match fs::metadata(&path)?.is_dir() {
            true => found.extend(tree(&path)?),
            false => found.push(format!("{path}: {}", fs::read_to_string(&path)?)),
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}
