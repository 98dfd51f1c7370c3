//! The state root: ids are claimed once, and a broken entry does not break the rest.

use testkit::{Case, Outcome, Test, both, rt_only};

use super::{SLEEPER, one_line};

const INSIDE: &str = "it looks at rt's own files";

pub(crate) fn cases() -> Vec<Case> {
    [
        both("id_in_use", id_in_use),
        both("ids_with_every_allowed_character", ids_with_every_allowed_character),
        both("roots_do_not_see_each_other", roots_do_not_see_each_other),
        rt_only("one_of_many_gets_the_id", "runc 1.1 has no lock for it", one_of_many_gets_the_id),
        rt_only("is_private", INSIDE, is_private),
        rt_only("record_has_a_version", INSIDE, record_has_a_version),
        rt_only("entry_without_a_record", INSIDE, entry_without_a_record),
        rt_only("broken_record", INSIDE, broken_record),
        rt_only("record_of_the_future", INSIDE, record_of_the_future),
    ]
    .into()
}

fn id_in_use(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    for command in ["create", "run"] {
        let output = container.cmd(command, &["--bundle", container.bundle.directory()]).fails()?;
        one_line(test, &output, &["already exists", &container.id])?;
    }
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn ids_with_every_allowed_character(test: &Test) -> Outcome {
    let mut container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    container.id = format!("{}_aZ09+.-", container.id);
    container.run(&[])?;
    assert_eq!(container.status()?, "running");
    container.delete()?;
    test.leaves_nothing()
}

fn roots_do_not_see_each_other(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let other = test.new_path("root");
    test.bare(&["--root", &other, "state", &container.id]).fails()?;
    assert_eq!(test.bare(&["--root", &other, "list", "-q"]).succeeds()?.stdout, "");
    Ok(())
}

fn one_of_many_gets_the_id(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(SLEEPER).build()?);
    let mut running = Vec::new();
    for _ in 0..6 {
        running.push(container.quiet("create", &[]).spawn()?);
    }
    let mut successes = 0;
    for command in running {
        successes += usize::from(command.output()?.code == 0);
    }
    assert_eq!(successes, 1);
    container.cmd("start", &[]).succeeds()?;
    container.delete()?;
    test.leaves_nothing()
}

fn is_private(test: &Test) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let container = test.run_script(SLEEPER)?;
    let entry = format!("{}/{}", test.root(), container.id);
    let mode = |path: &str| std::fs::metadata(path).map(|meta| meta.permissions().mode() & 0o7777);
    assert!(mode(&entry)? & 0o066 == 0, "{entry} has mode {:o}", mode(&entry)?);
    assert!(mode(&format!("{entry}/state.json"))? & 0o077 == 0);
    Ok(())
}

fn record_has_a_version(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let record = std::fs::read_to_string(format!("{}/{}/state.json", test.root(), container.id))?;
    let record: testkit::Value = serde_json::from_str(&record)?;
    assert!(record["version"].as_u64().is_some_and(|version| version >= 1), "{record}");
    Ok(())
}

fn entry_without_a_record(test: &Test) -> Outcome {
    // What a crash between two file operations of `create` leaves.
    let (container, healthy) =
        (test.container(&test.bundle()?.script(SLEEPER).build()?), test.run_script(SLEEPER)?);
    std::fs::create_dir(format!("{}/{}", test.root(), container.id))?;
    assert!(test.cmd(&["list", "-q"]).succeeds()?.stdout.contains(&healthy.id));
    container.cmd("delete", &["--force"]).succeeds()?;
    container.run(&[])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn broken_record(test: &Test) -> Outcome {
    let (container, healthy) = (test.run_script(SLEEPER)?, test.run_script(SLEEPER)?);
    let record = format!("{}/{}/state.json", test.root(), container.id);
    let kept = std::fs::read(&record)?;
    std::fs::write(&record, "{\"version\":")?;
    let output = container.cmd("state", &[]).fails()?;
    one_line(test, &output, &["state.json"])?;
    assert!(test.cmd(&["list", "-q"]).succeeds()?.stdout.contains(&healthy.id));
    std::fs::write(&record, kept)?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn record_of_the_future(test: &Test) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let path = format!("{}/{}/state.json", test.root(), container.id);
    let kept = std::fs::read_to_string(&path)?;
    let mut record: testkit::Value = serde_json::from_str(&kept)?;
    record["version"] = 1_000_000.into();
    std::fs::write(&path, record.to_string())?;
    let output = container.cmd("state", &[]).fails()?;
    one_line(test, &output, &["version", "1000000"])?;
    std::fs::write(&path, kept)?;
    Ok(())
}
