//! `spec`, and that what it writes runs unchanged.

use testkit::{Bundle, Case, Outcome, Runtime, Test, Value, both, needs, rt_only};

use super::one_line;

pub(crate) fn cases() -> Vec<Case> {
    [
        both("runs_unchanged", runs_unchanged),
        rt_only("of_runc_runs_unchanged", "it compares with runc", of_runc_runs_unchanged).needs(needs::runc),
        both("does_not_overwrite", does_not_overwrite),
        both("in_the_working_directory", in_the_working_directory),
        both("rootless", rootless),
        rt_only("has_runcs_shape", "it compares with runc", has_runcs_shape).needs(needs::runc),
    ]
    .into()
}

fn has_a_shell(test: &Test, bundle: &Bundle) -> Outcome {
    let container = test.container(bundle);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("echo $((6*7)); echo x >/file || echo refu''sed\n")?;
    console.expect("42")?;
    console.expect("refused")?;
    console.send("exit\n")?;
    container.wait_for_status("stopped")?;
    container.cmd("delete", &[]).succeeds()?;
    test.leaves_nothing()
}

fn runs_unchanged(test: &Test) -> Outcome {
    has_a_shell(test, &test.bundle_as_written()?.build()?)
}

fn of_runc_runs_unchanged(test: &Test) -> Outcome {
    test.with_runtime(Runtime::runc(), |runc| has_a_shell(test, &runc.bundle_as_written()?.build()?))
}

fn does_not_overwrite(test: &Test) -> Outcome {
    let bundle = test.bundle_as_written()?.build()?;
    let before = std::fs::read_to_string(bundle.config())?;
    let output = test.cmd(&["spec", "--bundle", bundle.directory()]).fails()?;
    one_line(test, &output, &["config.json", "exists"])?;
    assert_eq!(std::fs::read_to_string(bundle.config())?, before);
    Ok(())
}

fn in_the_working_directory(test: &Test) -> Outcome {
    let directory = test.new_path("here");
    std::fs::create_dir(&directory)?;
    test.cmd(&["spec"]).current_dir(&directory).succeeds()?;
    assert!(std::fs::exists(format!("{directory}/config.json"))?);
    Ok(())
}

fn rootless(test: &Test) -> Outcome {
    let directory = test.new_path("here");
    std::fs::create_dir(&directory)?;
    test.cmd(&["spec", "--rootless"]).current_dir(&directory).succeeds()?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(format!("{directory}/config.json"))?)?;
    let types: Vec<_> =
        config["linux"]["namespaces"].as_array().into_iter().flatten().map(|one| &one["type"]).collect();
    assert!(
        types.iter().any(|kind| *kind == "user") && !types.iter().any(|kind| *kind == "network"),
        "{types:?}"
    );
    assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
    assert_eq!(config["linux"]["gidMappings"][0]["size"], 1);
    Ok(())
}

fn has_runcs_shape(test: &Test) -> Outcome {
    let read = |bundle: Bundle| -> testkit::Fallible<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(bundle.config())?)?)
    };
    let ours = read(test.bundle_as_written()?.build()?)?;
    let its = test.with_runtime(Runtime::runc(), |runc| read(runc.bundle_as_written()?.build()?))?;
    for pointer in [
        "/process/args",
        "/process/env",
        "/process/cwd",
        "/process/terminal",
        "/process/user",
        "/process/rlimits",
        "/process/noNewPrivileges",
        "/process/capabilities/bounding",
        "/process/capabilities/effective",
        "/process/capabilities/permitted",
        "/root",
        "/linux/readonlyPaths",
    ] {
        assert_eq!(ours.pointer(pointer), its.pointer(pointer), "{pointer}");
    }
    let destinations = |config: &Value| -> Vec<String> {
        config["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|mount| mount["destination"].to_string())
            .collect()
    };
    assert_eq!(destinations(&ours), destinations(&its));
    Ok(())
}
