//! `features`, `--version`, `--help`.

use testkit::{Case, Fallible, Outcome, Test, Value, both, rt_only};

const NO_FEATURES: &str = "runc 1.1.5 reports less than our promise";

pub(crate) fn cases() -> Vec<Case> {
    [
        both("is_json", is_json),
        rt_only("reports_checkpoint", NO_FEATURES, reports_checkpoint),
        rt_only("reports_versions", NO_FEATURES, reports_versions),
        both("version", version),
        both("help_of_every_command", help_of_every_command),
        both("lsm_mount_context_needs_an_argument", lsm_mount_context_needs_an_argument),
    ]
    .into()
}

fn features(test: &Test) -> Fallible<Value> {
    let output = test.bare(&["features"]).succeeds()?;
    // CRI-O reads both streams as one.
    assert_eq!(output.stderr, "");
    Ok(serde_json::from_str(&output.stdout)?)
}

fn is_json(test: &Test) -> Outcome {
    let features = features(test)?;
    assert!(features["hooks"].as_array().is_some_and(|hooks| hooks.len() == 6));
    assert!(features["linux"]["namespaces"].as_array().is_some_and(|all| all.contains(&"pid".into())));
    assert_eq!(features["linux"]["cgroup"]["v1"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
    assert_eq!(features["linux"]["cgroup"]["systemdUser"], true);
    Ok(())
}

fn reports_checkpoint(test: &Test) -> Outcome {
    let features = features(test)?;
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "true");
    for option in ["rro", "idmap", "ridmap"] {
        assert!(
            features["mountOptions"].as_array().is_some_and(|all| all.contains(&option.into())),
            "{option}"
        );
    }
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(features["linux"]["netDevices"]["enabled"], true);
    assert!(
        features["potentiallyUnsafeConfigAnnotations"]
            .as_array()
            .is_some_and(|all| all.contains(&"org.criu.config".into()))
    );
    Ok(())
}

fn reports_versions(test: &Test) -> Outcome {
    let features = features(test)?;
    assert_eq!(
        (features["ociVersionMin"].as_str(), features["ociVersionMax"].as_str()),
        (Some("1.0.0"), Some("1.3.0"))
    );
    Ok(())
}

fn version(test: &Test) -> Outcome {
    for flag in ["--version", "-v"] {
        let output = test.bare(&[flag]).succeeds()?;
        assert!(output.stdout.starts_with(&format!("{} version ", test.runtime().name())), "{output}");
        assert!(output.stdout.lines().any(|line| line.starts_with("commit: ")), "{output}");
        assert!(output.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{output}");
    }
    Ok(())
}

fn help_of_every_command(test: &Test) -> Outcome {
    // podman and CRI-O take a working `checkpoint --help` for the ability to checkpoint.
    for command in [
        "checkpoint",
        "create",
        "delete",
        "events",
        "exec",
        "features",
        "kill",
        "list",
        "pause",
        "ps",
        "restore",
        "resume",
        "run",
        "spec",
        "start",
        "state",
        "update",
    ] {
        let output = test.bare(&[command, "--help"]).succeeds()?;
        assert!(output.stdout.contains(command), "{output}");
        assert_eq!(output.stderr, "", "{output}");
    }
    assert!(test.bare(&["--help"]).succeeds()?.stdout.contains("checkpoint"));
    if test.is_rt() {
        for command in ["criu", "docker", "engine-config", "images", "lazy-pages", "page-server"] {
            test.bare(&[command, "--help"]).succeeds()?;
        }
    }
    Ok(())
}

fn lsm_mount_context_needs_an_argument(test: &Test) -> Outcome {
    // podman's probe for pods looks for one of two texts in the output.
    let output = test.bare(&["restore", "--lsm-mount-context"]).fails()?;
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("flag needs an argument") || text.contains("requires an argument"), "{output}");
    Ok(())
}
