//! `hooks`: when they run, what they get, and what a failing one does.

use crate::differences::{CONFIG_FIRST, HOOK_ENVIRONMENT, POSTSTART_AT_START};
use crate::engine::{Comparison, case};
use testkit::{Value, json};

/// Those that run where the host's files are.
const OUTSIDE: &[&str] = &["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

pub(crate) fn cases() -> Vec<Comparison> {
    let mut all = vec![
        case("order").hooks(OUTSIDE, "echo $0 >>$D/log").steps("run --bundle $B $I\n! cat $D/log"),
        case("order_of_create_and_start")
            .sh("sleep 1000")
            .hooks(OUTSIDE, "echo $0 >>$D/log")
            .steps("create --bundle $B $I\n! cat $D/log\nstart $I\n! cat $D/log\ndelete -f $I\n! cat $D/log")
            .intended(&POSTSTART_AT_START),
        case("state_on_stdin")
            .hooks(OUTSIDE, "sed -E 's/\"pid\":[1-9][0-9]*/\"pid\":<SOME>/' >>$D/log; echo >>$D/log")
            .steps("run --bundle $B $I\n! cat $D/log")
            .intended(&POSTSTART_AT_START),
        case("environment_none")
            .hooks(&["createRuntime"], "env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=' | sort >$D/log")
            .steps("run --bundle $B $I\n! cat $D/log")
            .intended(&HOOK_ENVIRONMENT),
        case("timeout_not_reached")
            .set("/hooks/prestart", json!([{"path": "/bin/sh", "args": ["sh", "-c", "true"], "timeout": 5}]))
            .sh("echo ran"),
        case("timeout_reached")
            .set(
                "/hooks/prestart",
                json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 20"], "timeout": 1}]),
            )
            .sh("echo ran"),
        case("timeout_zero")
            .set("/hooks/prestart", json!([{"path": "/bin/true", "timeout": 0}]))
            .sh("echo ran")
            .intended(&CONFIG_FIRST),
        case("timeout_negative")
            .set("/hooks/prestart", json!([{"path": "/bin/true", "timeout": -1}]))
            .sh("echo ran")
            .intended(&CONFIG_FIRST),
        case("path_relative")
            .set("/hooks/prestart", json!([{"path": "bin/true"}]))
            .sh("echo ran")
            .intended(&CONFIG_FIRST),
        case("path_missing").set("/hooks/prestart", json!([{"path": "/no/such/hook"}])).sh("echo ran"),
        case("without_args").set("/hooks/prestart", json!([{"path": "/bin/true"}])).sh("echo ran"),
        case("second_fails")
            .set("/hooks/createRuntime", json!([shell("true"), shell("exit 3")]))
            .sh("echo ran"),
        case("failing_poststart")
            .set("/hooks/poststart", json!([shell("exit 7")]))
            // On rt the program runs by then; what it could still say before it is killed would be chance.
            .sh("sleep 1000")
            .steps("run --bundle $B $I\n?state $I"),
        case("null_lists").set("/hooks", json!({"prestart": null, "poststop": null})).sh("echo ran"),
        case("null").set("/hooks", Value::Null).sh("echo ran"),
    ];
    for (name, pointer) in [
        ("failing_prestart", "/hooks/prestart"),
        ("failing_create_runtime", "/hooks/createRuntime"),
        ("failing_create_container", "/hooks/createContainer"),
        ("failing_start_container", "/hooks/startContainer"),
        ("failing_poststop", "/hooks/poststop"),
    ] {
        all.push(
            case(name)
                .set(pointer, json!([shell("exit 7")]))
                .sh("echo ran")
                .steps("run --bundle $B $I\n?state $I"),
        );
    }
    all
}
