//! Whose keys the processes of a container have (session-keyring(7)).

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, both, json, needs, rt_only, wait_until};

use super::namespaces::mapped;
use super::seccomp::with_call;

/// Tells again and again which session keyring it has: another process may have been put in its place.
const TELLER: &str = "while :; do /bin/call keyring >/tmp/new; mv /tmp/new /tmp/told; sleep 0.02; done";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        both("named_after_the_container", named_after_the_container),
        both("shared_by_its_processes", shared_by_its_processes).needs(needs::call),
        rt_only("restored", "runc gives it the caller's", restored).needs(needs::call).needs(needs::criu),
        rt_only("in_a_user_namespace", "runc 1.1 executes with another", in_a_user_namespace)
            .needs(needs::call),
    ]
}

fn named_after_the_container(test: &Test) -> Outcome {
    let bundle = test.bundle()?.set("/linux/maskedPaths", json!([])).script("cat /proc/keys").build()?;
    let own = test.container(&bundle);
    let output = own.run_foreground(&[]).succeeds()?;
    assert!(output.stdout.contains(&format!("_ses.{}", own.id)), "{output}");
    let kept = test.container(&bundle);
    let output = kept.run_foreground(&["--no-new-keyring"]).succeeds()?;
    assert!(!output.stdout.contains(&format!("_ses.{}", kept.id)), "{output}");
    Ok(())
}

/// What init tells from now on.
fn told(container: &Container<'_>) -> Fallible<String> {
    let _ = std::fs::remove_file(container.bundle.path("/tmp/told"));
    wait_until("the teller's word", || !container.bundle.read("/tmp/told").is_empty())?;
    Ok(container.bundle.read("/tmp/told"))
}

fn executed(container: &Container<'_>) -> Fallible<String> {
    Ok(container.exec(&[], &["/bin/call", "keyring"]).succeeds()?.stdout)
}

/// With a keyring of the caller's a container has the caller's keys.
fn shared_by_its_processes(test: &Test) -> Outcome {
    let bundle = with_call(test.bundle()?)?.script(TELLER).build()?;
    let callers = Cmd::new(bundle.path("/bin/call")).arg("keyring").succeeds()?.stdout;
    let own = test.container(&bundle);
    own.run(&[])?;
    let keyring = told(&own)?;
    assert_ne!(keyring, callers);
    assert_eq!(executed(&own)?, keyring);
    own.delete()?;
    let kept = test.container(&bundle);
    kept.run(&["--no-new-keyring"])?;
    assert_eq!(told(&kept)?, callers);
    assert_eq!(executed(&kept)?, callers);
    kept.delete()?;
    test.leaves_nothing()
}

/// CRIU's images have no keyrings: without one of its own a restored process would have that of who restores it.
fn restored(test: &Test) -> Outcome {
    let bundle = with_call(test.bundle()?)?.script(TELLER).build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let callers = Cmd::new(bundle.path("/bin/call")).arg("keyring").succeeds()?.stdout;
    let images = test.new_path("images");
    for (flags, is_own) in [(&[][..], true), (&["--no-new-keyring"], false)] {
        told(&container)?;
        container.checkpoint(&images, &[])?;
        container.restore(&images, flags)?;
        let keyring = told(&container)?;
        assert_eq!(keyring != callers, is_own, "{flags:?}");
        assert_eq!(executed(&container)?, keyring, "{flags:?}");
    }
    container.delete()?;
    test.leaves_nothing()
}

fn in_a_user_namespace(test: &Test) -> Outcome {
    let container = test.container(&with_call(mapped(test)?)?.script(TELLER).build()?);
    container.run(&[])?;
    assert_eq!(executed(&container)?, told(&container)?);
    container.delete()?;
    test.leaves_nothing()
}
