//! `state`.

use testkit::{Case, Outcome, Test, both, json};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [both("fields", fields), both("follows_the_kernel", follows_the_kernel), both("annotations", annotations)]
        .into()
}

fn fields(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let state = container.state()?;
    assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
    assert_eq!(state["id"], json!(container.id));
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], container.bundle.directory());
    assert_eq!(
        state["rootfs"].as_str().map(|path| path.trim_end_matches('/')),
        Some(container.bundle.path("").trim_end_matches('/'))
    );
    // runc 1.1 names the owner in `list` only.
    assert!(state["owner"] == "root" || !test.is_rt());
    let created = state["created"].as_str().unwrap_or_default();
    assert!(
        created.len() >= 20 && &created[4..5] == "-" && &created[10..11] == "T" && created.ends_with('Z'),
        "{state}"
    );
    let pid = state["pid"].as_u64().unwrap_or_default();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    assert!(cgroup.contains(&container.id), "{cgroup}");
    Ok(())
}

fn follows_the_kernel(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    // Behind the runtime's back.
    testkit::Cmd::new("kill").args(["-KILL", &container.pid()?.to_string()]).succeeds()?;
    container.wait_for_status("stopped")?;
    assert_eq!(container.state()?["pid"], 0);
    Ok(())
}

fn annotations(test: &Test) -> Outcome {
    let bundle = test.bundle()?.edit(|config| config["annotations"] = json!({"org.example.key": "value"}));
    let container = test.container(&bundle.script(SLEEPER).build()?);
    container.run(&[])?;
    assert_eq!(container.state()?["annotations"]["org.example.key"], "value");
    Ok(())
}
