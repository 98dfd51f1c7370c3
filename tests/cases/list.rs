//! `list`.

use testkit::{Case, Outcome, Test, Value, both, rt_only};

use super::SLEEPER;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("empty", empty),
        both("quiet", quiet),
        both("json", json_format),
        both("table", table),
        both("unknown_format", unknown_format),
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
