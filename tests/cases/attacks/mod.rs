//! Images and programs that mean harm: nothing outside the root filesystem may change, and the runtime's own binary
//! must stay out of reach.

mod checkpoints;
mod descriptors;
mod exchanged;
mod files;
mod peeping;
mod races;

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Case, Cmd, Kind, Outcome, Runtime, Test, both, json, rounds, rt_only};

use super::SLEEPER;

const WHY: &str = "it looks at rt's own binary";

const LINKS: &str = "runc 1.1.5 makes links in the directory of the host";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        rt_only("dev_is_a_link", LINKS, |test| linked(test, "/dev", false)),
        both("proc_is_a_link", |test| linked(test, "/proc", false)),
        both("sys_is_a_link", |test| linked(test, "/sys", false)),
        both("etc_is_a_link", |test| linked(test, "/etc", false)),
        rt_only("dev_is_a_relative_link", LINKS, |test| linked(test, "/dev", true)),
        both("etc_is_a_relative_link", |test| linked(test, "/etc", true)),
        both("working_directory_is_a_link", working_directory_is_a_link),
        rt_only("binary_unreachable", WHY, |test| binary(test, &[])),
        rt_only("binary_unreachable_for_a_debugger", WHY, |test| {
            binary(test, &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"])
        }),
    ];
    for more in
        [checkpoints::cases, descriptors::cases, exchanged::cases, files::cases, peeping::cases, races::cases]
    {
        cases.extend(more());
    }
    cases
}

/// A directory of the image that leads to one of the host: whatever the runtime does, that stays empty.
fn linked(test: &Test, directory: &str, relative: bool) -> Outcome {
    let victim = test.new_path("victim");
    fs::create_dir(&victim)?;
    let source = test.new_path("source");
    fs::write(&source, "a file to bind\n")?;
    let mount =
        |to: &str| json!({"destination": to, "type": "bind", "source": source, "options": ["bind", "rw"]});
    let bundle = test
        .bundle()?
        .push("/mounts", mount("/etc/hosts"))
        .push("/mounts", mount("/etc/new/file"))
        .script("true")
        .build()?;
    fs::remove_dir_all(bundle.path(directory))?;
    let target = if relative { format!("../../../../../../../..{victim}") } else { victim.clone() };
    symlink(target, bundle.path(directory))?;
    // Refused or contained: both are fine.
    test.container(&bundle).run_foreground(&[]).output()?;
    let found: Vec<_> = fs::read_dir(&victim)?.flatten().map(|entry| entry.path()).collect();
    assert!(found.is_empty(), "written on the host: {found:?}");
    assert_eq!(fs::read_to_string(&source)?, "a file to bind\n");
    test.leaves_nothing()
}

fn working_directory_is_a_link(test: &Test) -> Outcome {
    // CVE-2024-21626: a descriptor of the host that is open when the program starts. The program's directory
    // must be one of the container.
    for fd in 3..20 {
        let cwd = format!("/proc/self/fd/{fd}");
        let bundle =
            test.bundle()?.set("/process/cwd", json!(cwd)).script("cat ../../../../etc/hostname").build()?;
        let output = test.container(&bundle).run_foreground(&[]).output()?;
        let host = fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "nothing".to_owned());
        assert!(output.code != 0 && !output.stdout.contains(host.trim()), "{output}");
    }
    test.leaves_nothing()
}

/// CVE-2019-5736: while commands are executed in it, a container looks for the runtime's binary and tries to open it for
/// writing.
fn binary(test: &Test, capabilities: &[&str]) -> Outcome {
    let copy = test.new_path("runtime");
    fs::copy(&test.runtime().binary, &copy)?;
    let before = fs::read(&copy)?;
    let runtime = Runtime { kind: Kind::Rt, binary: copy.clone().into() };
    test.with_runtime(runtime, |test| {
        let script = "while :; do for p in /proc/[0-9]*; do e=$(readlink $p/exe) && echo $e; \
            case $e in /bin/busybox|'') ;; *) (exec 5<$p/exe && while :; do : >>/proc/self/fd/5 && echo open && break; \
            test -e /stop && break; done) 2>/dev/null & ;; esac; done >>/seen; done";
        let bundle = capabilities.iter().fold(test.bundle()?, |bundle, name| bundle.capability(name));
        let container = test.container(&bundle.script(script).build()?);
        container.bundle.write("/evil", "#!/proc/self/exe\n")?;
        Cmd::new("chmod").args(["755", &container.bundle.path("/evil")]).succeeds()?;
        container.run(&[])?;
        for _ in 0..rounds(10) {
            container.exec(&[], &["true"]).succeeds()?;
            // What the kernel runs as the interpreter is not the host's binary, or it is refused.
            container.exec(&[], &["/evil"]).output()?;
            container.exec(&[], &["/proc/self/exe", "--version"]).output()?;
        }
        let seen = container.bundle.read("/seen");
        let reached = seen.lines().find(|line| *line == "open" || *line == copy);
        assert!(reached.is_none(), "the container has seen {reached:?}");
        container.bundle.write("/stop", "")?;
        container.delete()
    })?;
    let other = test.run_script(SLEEPER)?;
    other.delete()?;
    assert!(fs::read(&copy)? == before, "the runtime's binary has changed");
    Ok(())
}
