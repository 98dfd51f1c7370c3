//! A container that looks into the processes which the runtime sends into it, while they still are the runtime's.

use testkit::{Case, Outcome, Test, both, rounds, wait_until};

pub(super) fn cases() -> Vec<Case> {
    vec![both("host_files_through_an_executed_process", host_files)]
}

/// CVE-2016-9962: with CAP_SYS_PTRACE a container may follow `/proc/PID/root`, `cwd` and `fd` of every process that it sees.
/// So none that it sees may have a directory of the host there, not for a moment.
fn host_files(test: &Test) -> Outcome {
    let victim = test.new_path("victim");
    std::fs::write(&victim, "a secret of the host\n")?;
    let script = format!(
        "echo >/ready; while :; do cat /proc/[0-9]*/root{victim} /proc/[0-9]*/cwd/../../../../../..{victim} \
         /proc/[0-9]*/fd/*/../../../../../../../../../../..{victim} >>/seen; done 2>/dev/null"
    );
    let bundle = test.bundle()?.capability("CAP_SYS_PTRACE").script(&script).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    wait_until("the container looks", || std::fs::exists(bundle.path("/ready")).is_ok_and(|yes| yes))?;
    for round in 0..rounds(60) {
        let flags: &[&str] = if round % 3 == 0 { &["--detach"] } else { &[] };
        container.exec(flags, &["true"]).succeeds()?;
    }
    assert_eq!(bundle.read("/seen"), "", "the container has read a file of the host");
    container.delete()
}
