//! SELinux' labels: of processes, of mounts, of keys. Where it only warns: the files of these bundles have labels that no container may
//! execute.

use testkit::{BundleBuilder, Case, Fallible, Outcome, Test, both, json, needs, rt_only};

use super::seccomp::with_call;
use super::{SLEEPER, one_line};

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const MOUNTS: &str = "system_u:object_r:container_file_t:s0:c1,c2";

pub(crate) fn cases() -> Vec<Case> {
    [
        both("process", process),
        both("mounts", mounts),
        both("unknown_label", unknown_label),
        rt_only("restored", "runc 1.1 restores masks without it", restored).needs(needs::criu),
        both("keyring", keyring).needs(needs::call),
    ]
    .into_iter()
    .map(|case| case.needs(needs::selinux))
    .collect()
}

fn labelled(test: &Test) -> Fallible<BundleBuilder> {
    let builder = test.bundle()?.set("/process/selinuxLabel", json!(PROCESS));
    Ok(builder.set("/linux/mountLabel", json!(MOUNTS)))
}

/// What the kernel has written, without the NUL that it may close with.
fn current(text: &str) -> &str {
    text.trim_end_matches(['\n', '\0'])
}

fn process(test: &Test) -> Outcome {
    const LOOK: [&str; 2] = ["cat", "/proc/self/attr/current"];
    let container = test.container(&labelled(test)?.script(SLEEPER).build()?);
    container.run(&[])?;
    let init = std::fs::read_to_string(format!("/proc/{}/attr/current", container.pid()?))?;
    assert_eq!(current(&init), PROCESS);
    assert_eq!(current(&container.exec(&[], &LOOK).succeeds()?.stdout), PROCESS);
    let other = "system_u:system_r:container_t:s0:c3";
    assert_eq!(current(&container.exec(&["--process-label", other], &LOOK).succeeds()?.stdout), other);
    container.delete()?;
    test.leaves_nothing()
}

/// The destinations that are labelled filesystems, as mountinfo(5) shows them.
fn labelled_mounts(mountinfo: &str) -> Vec<&str> {
    let label = format!("context=\"{MOUNTS}\"");
    let lines = mountinfo.lines().filter(|line| line.contains(&label));
    let mut found: Vec<_> = lines.filter_map(|line| line.split(' ').nth(4)).collect();
    found.sort_unstable();
    found
}

const LABELLED: [&str; 5] = ["/dev", "/dev/pts", "/dev/shm", "/sys/firmware", "/tmp/new"];

fn with_mounts(test: &Test) -> Fallible<BundleBuilder> {
    let new = json!({"destination": "/tmp/new", "type": "tmpfs", "source": "tmpfs"});
    Ok(labelled(test)?.push("/mounts", new).set("/linux/maskedPaths", json!(["/sys/firmware"])))
}

fn mounts(test: &Test) -> Outcome {
    let bundle = with_mounts(test)?.script("cat /proc/self/mountinfo").build()?;
    let mountinfo = test.container(&bundle).run_foreground(&[]).succeeds()?.stdout;
    assert_eq!(labelled_mounts(&mountinfo), LABELLED, "{mountinfo}");
    test.leaves_nothing()
}

fn unknown_label(test: &Test) -> Outcome {
    let bundle =
        labelled(test)?.set("/process/selinuxLabel", json!("nobody:knows:this:s0")).script("true").build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["selinux label", "nobody:knows:this:s0", "invalid argument"])?;
    test.leaves_nothing()
}

fn restored(test: &Test) -> Outcome {
    let container = test.container(&with_mounts(test)?.script(SLEEPER).build()?);
    container.run(&[])?;
    let images = test.new_path("images");
    let dump = container.cmd("checkpoint", &["--image-path", &images]).output()?;
    if dump.code != 0 {
        // Debian's criu knows nothing of SELinux: what it restores would not be confined.
        one_line(test, &dump, &["process.selinuxLabel", "this criu was built without SELinux"])?;
        assert_eq!(container.status()?, "running");
        container.delete()?;
        return test.leaves_nothing();
    }
    container.restore(&images, &[])?;
    let init = std::fs::read_to_string(format!("/proc/{}/attr/current", container.pid()?))?;
    assert_eq!(current(&init), PROCESS);
    let mountinfo = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
    assert_eq!(labelled_mounts(&mountinfo), LABELLED, "{mountinfo}");
    container.delete()?;
    test.leaves_nothing()
}

fn keyring(test: &Test) -> Outcome {
    let bundle = with_call(labelled(test)?)?.script("call keyring; cat").build()?;
    let output = test.container(&bundle).run_foreground(&[]).succeeds()?;
    assert!(output.stdout.contains(PROCESS), "{output}");
    Ok(())
}
