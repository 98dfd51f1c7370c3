//! AppArmor profiles, on a kernel that has them: set at the start, by `exec`, and brought back by `restore`.

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, both, json, needs};

use super::{SLEEPER, exec_file, one_line};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("of_the_config", of_the_config),
        both("of_an_exec", of_an_exec),
        both("of_a_process_file", of_a_process_file),
        both("is_not_loaded", is_not_loaded),
        both("is_restored", is_restored).needs(needs::criu),
    ]
    .into_iter()
    .map(|case| case.needs(needs::apparmor))
    .collect()
}

/// Says which profile it is in, and tries what [`Loaded`] forbids.
const PROBE: &str = "cat /proc/self/attr/current; cat /etc/group 2>&1";

/// A profile in the kernel that forbids one file; gone with this value.
struct Loaded {
    name: String,
    file: String,
}

impl Loaded {
    fn new(test: &Test) -> Fallible<Self> {
        let loaded = Self { name: test.new_id(), file: test.new_path("profile") };
        let everything = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,";
        let text = format!("profile {} {{ {everything} deny /etc/group r, }}\n", loaded.name);
        std::fs::write(&loaded.file, text)?;
        loaded.parser("--add").succeeds()?;
        Ok(loaded)
    }

    fn parser(&self, what: &str) -> Cmd {
        Cmd::new("apparmor_parser").args(["--quiet", "--skip-cache", what, &self.file])
    }

    /// What [`PROBE`] prints under it.
    fn seen(&self) -> String {
        format!("{} (enforce)\ncat: can't open '/etc/group': Permission denied\n", self.name)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Best effort, as all tidying behind a case that failed.
        let _ = self.parser("--remove").output();
    }
}

/// A container that stays, under the profile.
fn confined<'test>(test: &'test Test, profile: &Loaded) -> Fallible<Container<'test>> {
    let bundle = test.bundle()?.set("/process/apparmorProfile", json!(profile.name));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    Ok(container)
}

fn probe(container: &Container<'_>, flags: &[&str]) -> Fallible<String> {
    Ok(container.exec(flags, &["sh", "-c", PROBE]).output()?.stdout)
}

fn of_the_config(test: &Test) -> Outcome {
    let profile = Loaded::new(test)?;
    let bundle = test.bundle()?.set("/process/apparmorProfile", json!(profile.name)).script(PROBE);
    let output = test.container(&bundle.build()?).run_foreground(&[]).output()?;
    assert_eq!(output.stdout, profile.seen(), "{output}");
    let container = confined(test, &profile)?;
    assert_eq!(probe(&container, &[])?, profile.seen());
    // Under no_new_privs a profile could not be changed any more.
    let bundle = test.bundle()?.set("/process/apparmorProfile", json!(profile.name));
    let bundle = bundle.set("/process/noNewPrivileges", json!(true)).script(PROBE).build()?;
    let output = test.container(&bundle).run_foreground(&[]).output()?;
    assert_eq!(output.stdout, profile.seen(), "{output}");
    container.delete()
}

fn of_an_exec(test: &Test) -> Outcome {
    let profile = Loaded::new(test)?;
    let container = test.run_script(SLEEPER)?;
    assert!(probe(&container, &[])?.starts_with("unconfined\n"));
    assert_eq!(probe(&container, &["--apparmor", &profile.name])?, profile.seen());
    container.delete()
}

fn of_a_process_file(test: &Test) -> Outcome {
    let profile = Loaded::new(test)?;
    let container = test.run_script(SLEEPER)?;
    let seen = exec_file(&container, &json!({"apparmorProfile": profile.name}), &format!("{PROBE}; true"))?;
    assert_eq!(seen, profile.seen());
    container.delete()
}

fn is_not_loaded(test: &Test) -> Outcome {
    let name = test.new_id();
    let bundle = test.bundle()?.set("/process/apparmorProfile", json!(name)).script("true").build()?;
    let output = test.container(&bundle).run_foreground(&[]).fails()?;
    one_line(test, &output, &["apparmor", &name, "no such file"])?;
    let container = test.run_script(SLEEPER)?;
    let output = container.exec(&["--apparmor", &name], &["true"]).fails()?;
    one_line(test, &output, &["apparmor", &name, "no such file"])?;
    container.delete()?;
    test.leaves_nothing()
}

fn is_restored(test: &Test) -> Outcome {
    let profile = Loaded::new(test)?;
    let container = confined(test, &profile)?;
    let label = |container: &Container<'_>| -> Fallible<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/attr/current", container.pid()?))?)
    };
    let before = label(&container)?;
    assert_eq!(before, format!("{} (enforce)\n", profile.name));
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    assert_eq!(label(&container)?, before);
    assert_eq!(probe(&container, &[])?, profile.seen());
    container.delete()
}
