//! Limits that hold, and other layouts of /sys/fs/cgroup than the machine's own, in a mount namespace of the command's own.

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, both, json, needs, rt_only, wait_until};

use super::SLEEPER;
use super::counter::{COUNTER, counts_on, is_unbroken, stands_still};

/// cgroup v2 alone.
const V2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup";

/// The v1 hierarchies alone.
const V1: &str = "umount /sys/fs/cgroup/unified";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("memory_limit_is_in_force", memory_limit_is_in_force).needs(needs::cgroup_v1),
        both("v2_spec_has_a_cgroup_namespace", v2_spec_has_a_cgroup_namespace).needs(needs::hybrid),
        both("v2_life", |test| life(test, V2)).needs(needs::hybrid),
        both("v1_life", |test| life(test, V1)).needs(needs::hybrid),
        rt_only("v2_checkpoint", "runc 1.1 now and then leaves criu frozen", |test| checkpoint(test, V2))
            .needs(needs::hybrid)
            .needs(needs::criu),
        rt_only("v1_checkpoint", "runc has CRIU make again all cgroups of other hierarchies", |test| {
            checkpoint(test, V1)
        })
        .needs(needs::hybrid)
        .needs(needs::criu),
    ]
}

fn memory_limit_is_in_force(test: &Test) -> Outcome {
    let name = format!("/{}", test.new_id());
    let limit = 32 << 20;
    let script = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived";
    let bundle = test
        .bundle()?
        .set("/linux/cgroupsPath", json!(name))
        .set("/linux/resources/memory/limit", json!(limit))
        .script(&format!("cat /sys/fs/cgroup/memory/memory.limit_in_bytes; {script}"))
        .build()?;
    let output = test.container(&bundle).run_foreground(&[]).output()?;
    assert_eq!(output.stdout, format!("{limit}\n"), "{output}");
    Ok(())
}

fn v2_spec_has_a_cgroup_namespace(test: &Test) -> Outcome {
    let directory = test.new_path("bundle");
    std::fs::create_dir(&directory)?;
    test.cmd(&["spec", "--bundle", &directory]).in_private_mounts(V2).succeeds()?;
    let text = std::fs::read_to_string(format!("{directory}/config.json"))?;
    let config: testkit::Value = serde_json::from_str(&text)?;
    let namespaces = config["linux"]["namespaces"].as_array().ok_or("no namespaces")?;
    assert!(namespaces.iter().any(|namespace| namespace["type"] == "cgroup"), "{namespaces:?}");
    Ok(())
}

/// A counter that runs detached in the view.
fn start<'test>(test: &'test Test, view: &str) -> Fallible<Container<'test>> {
    let bundle = test.bundle()?.script(COUNTER).push("/linux/namespaces", json!({"type": "cgroup"}));
    let container = test.container(&bundle.build()?);
    container.quiet("run", &["--detach"]).in_private_mounts(view).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    Ok(container)
}

fn life(test: &Test, view: &str) -> Outcome {
    let container = start(test, view)?;
    let bundle = &container.bundle;
    let cmd = |command: &str, flags: &[&str]| container.cmd(command, flags).in_private_mounts(view);
    let seen = |command: Cmd| command.in_private_mounts(view).succeeds().map(|output| output.stdout);
    assert_eq!(
        seen(container.exec(&[], &["sh", "-c", "cat /proc/self/cgroup | cut -d: -f3 | sort -u"]))?,
        "/\n"
    );
    let pids: Vec<u64> = serde_json::from_str(&cmd("ps", &["--format", "json"]).succeeds()?.stdout)?;
    assert!(!pids.is_empty());
    cmd("pause", &[]).succeeds()?;
    stands_still(bundle, "/log")?;
    assert!(cmd("state", &[]).succeeds()?.stdout.contains("paused"));
    cmd("resume", &[]).succeeds()?;
    counts_on(bundle, "/log", 3)?;
    cmd("kill", &[]).arg("KILL").succeeds()?;
    wait_until("its end", || {
        cmd("state", &[]).output().is_ok_and(|output| output.stdout.contains("stopped"))
    })?;
    cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()?;
    // What fails to start leaves nothing here either.
    let broken = test.container(&test.bundle()?.args(&["no-such-program"]).build()?);
    broken.quiet("run", &["--detach"]).in_private_mounts(view).fails()?;
    test.leaves_nothing()?;
    let forced = test.container(&test.bundle()?.script(SLEEPER).build()?);
    forced.quiet("run", &["--detach"]).in_private_mounts(view).succeeds()?;
    forced.cmd("delete", &["--force"]).in_private_mounts(view).succeeds()?;
    test.leaves_nothing()
}

fn checkpoint(test: &Test, view: &str) -> Outcome {
    let container = start(test, view)?;
    for _ in 0..2 {
        let images = test.new_path("images");
        container.cmd("checkpoint", &["--image-path", &images]).in_private_mounts(view).succeeds()?;
        stands_still(&container.bundle, "/log")?;
        container
            .quiet("restore", &["--detach", "--image-path", &images])
            .in_private_mounts(view)
            .succeeds()?;
        counts_on(&container.bundle, "/log", 3)?;
    }
    is_unbroken(&container.bundle, "/log")?;
    container.cmd("delete", &["--force"]).in_private_mounts(view).succeeds()?;
    test.leaves_nothing()
}
