//! `list`.

use std::fs;

use testkit::{Case, Outcome, Test, Value, both, rt_only};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("empty", empty),
        both("quiet", quiet),
        both("json", json_format),
        both("table", table),
        both("unknown_format", unknown_format),
        rt_only("of_many", "it copies rt's own file", of_many),
        rt_only("empty_json_is_an_array", "runc 1.1 prints null", empty_json_is_an_array),
    ]
    .into()
}

fn empty(test: &Test) -> Outcome {
    assert_eq!(test.cmd(&["list", "-q"]).succeeds()?.stdout, "");
    // A state root that nobody has used yet.
    assert_eq!(test.bare(&["--root", &test.new_path("never-used"), "list", "-q"]).succeeds()?.stdout, "");
    Ok(())
}

fn quiet(test: &Test) -> Outcome {
    let (first, second) = (test.run_script(SLEEPER)?, test.run_script(SLEEPER)?);
    let output = test.cmd(&["list", "--quiet"]).succeeds()?;
    let mut ids: Vec<_> = output.stdout.lines().collect();
    ids.sort_unstable();
    let mut expected = [first.id.as_str(), &second.id];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    Ok(())
}

/// So many that several threads look at them; sorted all the same.
fn of_many(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let record = fs::read(format!("{}/{}/state.json", test.root(), container.id))?;
    let mut expected: Vec<_> = (0..500).map(|number| format!("copy-{number}")).collect();
    for id in &expected {
        fs::create_dir(format!("{}/{id}", test.root()))?;
        fs::write(format!("{}/{id}/state.json", test.root()), &record)?;
    }
    // One of them is being removed, one cannot be read.
    fs::remove_file(format!("{}/copy-77/state.json", test.root()))?;
    fs::write(format!("{}/copy-333/state.json", test.root()), "nonsense")?;
    let output = test.cmd(&["list", "--format", "json"]).succeeds()?;
    let list: Value = serde_json::from_str(&output.stdout)?;
    for id in expected.iter().filter(|id| fs::exists(format!("{}/{id}", test.root())).unwrap_or(false)) {
        fs::remove_dir_all(format!("{}/{id}", test.root()))?;
    }
    expected.retain(|id| !["copy-77", "copy-333"].contains(&id.as_str()));
    expected.push(container.id.clone());
    expected.sort_unstable();
    let listed: Vec<_> =
        list.as_array().into_iter().flatten().map(|state| state["id"].as_str().unwrap_or("")).collect();
    assert_eq!(listed, expected);
    assert!(list.as_array().into_iter().flatten().all(|state| state["status"] == "running"), "{output}");
    assert!(output.stderr.contains("copy-333"), "{output}");
    Ok(())
}

fn json_format(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let list: Value = serde_json::from_str(&test.cmd(&["list", "--format", "json"]).succeeds()?.stdout)?;
    let state = container.state()?;
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    for field in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"] {
        assert_eq!(list[0][field], state[field], "{field}");
        assert!(!state[field].is_null(), "{field}");
    }
    assert_eq!(list[0]["owner"], "root");
    Ok(())
}

fn table(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let output = test.cmd(&["list"]).succeeds()?;
    let mut lines = output.stdout.lines();
    let head: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    let pid = container.pid()?.to_string();
    assert_eq!(row[..4], [container.id.as_str(), &pid, "running", container.bundle.directory()]);
    Ok(())
}

fn unknown_format(test: &Test) -> Outcome {
    let output = test.cmd(&["list", "--format", "yaml"]).fails()?;
    assert!(output.stderr.contains("yaml") || !test.is_rt(), "{output}");
    Ok(())
}

fn empty_json_is_an_array(test: &Test) -> Outcome {
    assert_eq!(test.cmd(&["list", "--format", "json"]).succeeds()?.stdout.trim(), "[]");
    Ok(())
}
