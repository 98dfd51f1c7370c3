//! How many system calls a container costs: a figure that means the same on every machine.

use std::path::Path;

use testkit::{Bundle, Case, Cmd, Fallible, Outcome, Test, comparing, needs, wait_until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        comparing("fewer_than_others", fewer_than_others)
            .needs(needs::crun)
            .needs(needs::strace)
            .needs(needs::cgroup_v2),
    ]
}

/// create, start and delete of /bin/true, all processes counted, the container's among them.
fn fewer_than_others(test: &Test) -> Outcome {
    let bundle = test.bundle()?.args(&["/bin/true"]).build()?;
    let binary = test.runtime().binary.display().to_string();
    let rt = calls(test, &bundle, &binary)?;
    let crun = calls(test, &bundle, "crun")?;
    let runc = calls(test, &bundle, "runc")?;
    test.figure(format!(
        "system calls of create, start and delete: rt {rt}, crun {crun} (rt is {:.2} of it), runc {runc} ({:.2})",
        f64::from(rt) / f64::from(crun),
        f64::from(rt) / f64::from(runc),
    ));
    assert!(rt * 10 <= crun * 7, "{rt} calls, crun makes {crun}");
    assert!(rt * 10 <= runc * 4, "{rt} calls, runc makes {runc}");
    Ok(())
}

fn calls(test: &Test, bundle: &Bundle, binary: &str) -> Fallible<u32> {
    let (id, root) = (test.new_id(), test.new_path("state"));
    let mut counts = Vec::new();
    let mut traced = |args: &[&str]| {
        let count = test.new_path("calls");
        let strace = ["-f", "-qq", "--summary-only", "--summary-columns=calls,name", "-o", &count];
        counts.push(count.clone());
        Cmd::new("strace").args(strace).args([binary, "--root", &root]).args(args).arg(&id)
    };
    // strace follows the container's process, so it ends with that.
    let creation = traced(&["create", "--bundle", bundle.directory()]).spawn()?;
    let created = || {
        let state = Cmd::new(binary).args(["--root", &root, "state", &id]).output();
        state.is_ok_and(|output| output.stdout.contains("\"created\""))
    };
    wait_until("a created container", created)?;
    traced(&["start"]).succeeds()?;
    let output = creation.output()?;
    assert_eq!(output.code, 0, "{output}");
    traced(&["delete"]).succeeds()?;
    counts.iter().map(|count| total(Path::new(count))).sum()
}

/// The last line of strace's summary: `  1234 total`.
fn total(summary: &Path) -> Fallible<u32> {
    let text = std::fs::read_to_string(summary)?;
    let line = text.lines().rev().find_map(|line| line.trim().strip_suffix(" total"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("no total in strace's summary:\n{text}").into())
}
