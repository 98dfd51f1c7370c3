//! Id-mapped mounts.

use std::os::unix::fs::{MetadataExt, chown};

use testkit::{BundleBuilder, Case, Fallible, Outcome, Test, Value, json, needs, rt_only};

use super::userns::mapped;
use super::{SLEEPER, one_line};

pub(crate) fn cases() -> Vec<Case> {
    let since = "runc has id-mapped mounts since 1.2";
    vec![
        rt_only("given_mapping", since, given_mapping),
        rt_only("of_the_container", since, of_the_container),
        rt_only("given_in_a_user_namespace", since, given_in_a_user_namespace),
        rt_only("of_a_joined_user_namespace", since, of_a_joined_user_namespace),
        rt_only("nested_mounts", since, nested_mounts),
        rt_only("refused", since, refused),
        rt_only("checkpoint_is_refused", since, checkpoint_is_refused).needs(needs::criu),
    ]
}

/// A directory with a file of uid and gid 1000.
fn source(test: &Test) -> Fallible<String> {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    std::fs::write(format!("{source}/file"), "")?;
    std::fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    for owned in [source.clone(), format!("{source}/file")] {
        chown(owned, Some(1000), Some(1000))?;
    }
    Ok(source)
}

fn with_mount(bundle: BundleBuilder, source: &str, mount: &Value) -> Fallible<BundleBuilder> {
    let mut whole = json!({"destination": "/data", "source": source});
    for (key, value) in mount.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    std::fs::create_dir_all(bundle.path("/data"))?;
    Ok(bundle.push("/mounts", whole))
}

/// On the disk from 1000 on, as seen from `host` on.
fn mapping(host: u32, options: &[&str]) -> Value {
    let map = json!([{"containerID": 1000, "hostID": host, "size": 10}]);
    json!({"uidMappings": map.clone(), "gidMappings": map, "options": options})
}

const LOOK: &str = "stat -c %u:%g /data/file; echo x >/data/new && stat -c %u:%g /data/new";

fn given_mapping(test: &Test) -> Outcome {
    let source = source(test)?;
    for options in [vec!["bind"], vec!["bind", "idmap"], vec!["rbind", "ridmap"]] {
        let bundle = with_mount(test.bundle()?, &source, &mapping(0, &options))?.script(LOOK).build()?;
        assert_eq!(
            test.container(&bundle).run_foreground(&[]).succeeds()?.stdout,
            "0:0\n0:0\n",
            "{options:?}"
        );
        assert_eq!(std::fs::metadata(format!("{source}/new"))?.uid(), 1000);
        std::fs::remove_file(format!("{source}/new"))?;
    }
    test.leaves_nothing()
}

/// The ids on the disk are those in the container.
fn of_the_container(test: &Test) -> Outcome {
    let source = source(test)?;
    let mount = json!({"options": ["bind", "idmap"]});
    let bundle = with_mount(mapped(test)?, &source, &mount)?.script(LOOK).build()?;
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "1000:1000\n0:0\n");
    assert_eq!(std::fs::metadata(format!("{source}/new"))?.uid(), 0);
    test.leaves_nothing()
}

fn given_in_a_user_namespace(test: &Test) -> Outcome {
    let source = source(test)?;
    // 1000 on the disk is the host's 100005, which is the container's 5.
    let bundle = with_mount(mapped(test)?, &source, &mapping(100_005, &["bind"]))?;
    let bundle = bundle.script("stat -c %u:%g /data/file").build()?;
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "5:5\n");
    test.leaves_nothing()
}

fn of_a_joined_user_namespace(test: &Test) -> Outcome {
    let first = test.container(&mapped(test)?.script(SLEEPER).build()?);
    first.run(&[])?;
    let bundle = test.bundle()?.namespace("user", &format!("/proc/{}/ns/user", first.pid()?));
    let bundle = with_mount(bundle, &source(test)?, &json!({"options": ["bind", "idmap"]}))?;
    let bundle = bundle.script("stat -c %u:%g /data/file").build()?;
    assert_eq!(test.container(&bundle).run_foreground(&[]).succeeds()?.stdout, "1000:1000\n");
    Ok(())
}

/// `idmap` is about the mount alone, `ridmap` about those below it, too.
fn nested_mounts(test: &Test) -> Outcome {
    let (outer, inner) = (source(test)?, source(test)?);
    std::fs::create_dir(format!("{outer}/inner"))?;
    let setup = format!("mount --bind {inner} {outer}/inner");
    for (word, below) in [("idmap", "1000:1000"), ("ridmap", "0:0")] {
        let bundle = with_mount(test.bundle()?, &outer, &mapping(0, &["rbind", word]))?;
        let bundle = bundle.script("stat -c %u:%g /data/file /data/inner/file").build()?;
        let command = test.container(&bundle).run_foreground(&[]).in_private_mounts(&setup);
        assert_eq!(command.succeeds()?.stdout, format!("0:0\n{below}\n"), "{word}");
    }
    test.leaves_nothing()
}

fn refused(test: &Test) -> Outcome {
    let source = source(test)?;
    let half = json!({"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}], "options": ["bind"]});
    let mut no_bind = mapping(0, &[]);
    no_bind["type"] = json!("tmpfs");
    let mut procfs = mapping(0, &["bind"]);
    procfs["source"] = json!("/proc/self");
    for (mount, reason) in [
        (half, "both uid and gid mappings"),
        (no_bind, "only supported for bind-mounts"),
        (json!({"options": ["bind", "idmap"]}), "idmap needs"),
        (procfs, "invalid argument"),
    ] {
        let bundle = with_mount(test.bundle()?, &source, &mount)?.script("true").build()?;
        let output = test.container(&bundle).run_foreground(&[]).fails()?;
        one_line(test, &output, &["mounts[", reason])?;
    }
    test.leaves_nothing()
}

fn checkpoint_is_refused(test: &Test) -> Outcome {
    let bundle = with_mount(test.bundle()?, &source(test)?, &mapping(0, &["bind"]))?.script(SLEEPER);
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    one_line(test, &output, &["id-mapped"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}
