//! Images of a checkpoint that come from somebody who means harm (CVE-2026-53492, CVE-2026-50195, CVE-2026-53489), and a criu
//! that others could have put there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, json, needs, rt_only};

use super::super::checkpoint::counting;
use super::super::counter::counts_on;
use super::super::one_line;

const WHY: &str = "runc 1.1.5 does not look at images";

pub(super) fn cases() -> Vec<Case> {
    [
        rt_only("images_that_are_no_files", WHY, no_files),
        rt_only("image_directory_that_is_a_link", WHY, linked_directory),
        rt_only("image_directory_for_everybody", WHY, for_everybody),
        rt_only("images_that_name_a_file_of_the_host", WHY, host_file),
        rt_only("images_are_for_root_alone", WHY, for_root_alone),
        rt_only("criu_unreachable_in_a_restore", "runc starts criu as it is", criu_unreachable),
        rt_only("criu_of_somebody_else", "runc takes any criu", criu_of_somebody_else),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

fn dumped(test: &Test) -> Fallible<(Container<'_>, String)> {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    Ok((container, images))
}

fn refused(container: &Container<'_>, images: &str, words: &[&str]) -> Outcome {
    let output = container.quiet("restore", &["--detach", "--image-path", images]).fails()?;
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{output}");
    container.test.leaves_nothing()
}

/// The images are as good as before.
fn restores(container: &Container<'_>, images: &str) -> Outcome {
    container.restore(images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()
}

fn no_files(test: &Test) -> Outcome {
    let (container, images) = dumped(test)?;
    for name in ["rt.json", "descriptors.json", "inventory.img", "pages-1.img", "new.img"] {
        let (path, kept) = (format!("{images}/{name}"), format!("{images}/../kept"));
        let existed = fs::rename(&path, &kept).is_ok();
        symlink(&kept, &path)?;
        refused(&container, &images, &[name, "neither a file nor a directory"])?;
        fs::remove_file(&path)?;
        Cmd::new("mkfifo").arg(&path).succeeds()?;
        refused(&container, &images, &[name, "neither a file nor a directory"])?;
        fs::remove_file(&path)?;
        if name.ends_with(".json") {
            fs::File::create(&path)?.set_len(1 << 40)?;
            refused(&container, &images, &[name, "longer than"])?;
            fs::remove_file(&path)?;
        }
        if existed {
            fs::rename(&kept, &path)?;
        }
    }
    symlink("/etc", format!("{images}/parent"))?;
    refused(&container, &images, &["parent leads to"])?;
    fs::remove_file(format!("{images}/parent"))?;
    restores(&container, &images)
}

fn linked_directory(test: &Test) -> Outcome {
    let (container, images) = dumped(test)?;
    let link = test.new_path("link");
    symlink(&images, &link)?;
    refused(&container, &link, &[&link, "is a symbolic link"])?;
    restores(&container, &images)?;
    // Nor does a dump go where a link leads.
    let container = counting(test)?;
    let output = container.cmd("checkpoint", &["--image-path", &link]).fails()?;
    one_line(test, &output, &[&link, "is a symbolic link"])?;
    counts_on(&container.bundle, "/log", 3)
}

fn for_everybody(test: &Test) -> Outcome {
    let (container, images) = dumped(test)?;
    fs::set_permissions(&images, fs::Permissions::from_mode(0o777))?;
    refused(&container, &images, &["can be written by everybody (mode 777)"])?;
    fs::set_permissions(&images, fs::Permissions::from_mode(0o700))?;
    restores(&container, &images)
}

/// Stdio that was a file of the host is opened again by the name in the images. One that no container has had is not.
fn host_file(test: &Test) -> Outcome {
    let script = "i=0; while :; do i=$((i+1)); echo $i; echo $i >>/log; usleep 10000; done";
    let container = test.container(&test.bundle()?.script(script).build()?);
    let (file, victim) = (test.new_path("output"), test.new_path("victim"));
    fs::write(&victim, "untouched")?;
    let run = container.cmd("run", &["--detach", "--bundle", container.bundle.directory()]);
    run.after_shell(&format!("exec </dev/null >{file} 2>/dev/null")).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let descriptors = format!("{images}/descriptors.json");
    let honest = fs::read_to_string(&descriptors)?;
    assert!(honest.contains(&file), "{honest}");
    fs::write(&descriptors, honest.replace(&file, &victim))?;
    // CRIU may refuse it as well: the other file is not the one that it has dumped.
    if container.quiet("restore", &["--detach", "--image-path", &images]).output()?.code == 0 {
        counts_on(&container.bundle, "/log", 3)?;
    }
    container.delete()?;
    assert_eq!(fs::read_to_string(&victim)?, "untouched");
    fs::write(&descriptors, honest)?;
    let length = fs::metadata(&file)?.len();
    restores(&container, &images)?;
    assert!(fs::metadata(&file)?.len() > length, "its own file has not grown");
    Ok(())
}

fn for_root_alone(test: &Test) -> Outcome {
    let (container, images) = dumped(test)?;
    assert_eq!(fs::metadata(&images)?.permissions().mode() & 0o7777, 0o700);
    for name in ["rt.json", "descriptors.json"] {
        assert_eq!(fs::metadata(format!("{images}/{name}"))?.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    restores(&container, &images)
}

/// CVE-2019-5736 for criu: until it is restored, the container's init is criu. A hook that looks at it at that moment finds a
/// file that cannot be written; a merely busy one could be, later.
fn criu_unreachable(test: &Test) -> Outcome {
    let (container, images) = dumped(test)?;
    let seen = test.new_path("seen");
    let script = format!(
        "pid=$(sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p'); {{ readlink /proc/$pid/exe; ( : >>/proc/$pid/exe ); }} >{seen} 2>&1; true"
    );
    let mut config: testkit::Value = fs::read_to_string(container.bundle.config())?.parse()?;
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    config["hooks"] = json!({"createRuntime": [hook]});
    fs::write(container.bundle.config(), config.to_string())?;
    container.restore(&images, &[])?;
    let seen = fs::read_to_string(&seen)?;
    assert!(seen.contains("/criu") && seen.contains("Read-only file system"), "{seen}");
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()
}

fn criu_of_somebody_else(test: &Test) -> Outcome {
    let container = counting(test)?;
    let directory = test.new_path("bin");
    fs::create_dir(&directory)?;
    let criu = format!("{directory}/criu");
    fs::copy("/bin/true", &criu)?;
    let cannot = |words: &[&str]| -> Outcome {
        let images = test.new_path("images");
        let command = || container.cmd("checkpoint", &["--image-path", &images]);
        one_line(test, &command().env("RT_CRIU", &criu).fails()?, words)?;
        one_line(test, &command().env("RT_CRIU", "").env("PATH", &directory).fails()?, words)?;
        counts_on(&container.bundle, "/log", 3)
    };
    chown(&criu, Some(1), None)?;
    cannot(&[&criu, "belongs to user 1"])?;
    chown(&criu, Some(0), None)?;
    fs::set_permissions(&criu, fs::Permissions::from_mode(0o757))?;
    cannot(&[&criu, "can be written by others"])?;
    fs::set_permissions(&criu, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
    cannot(&[&directory, "can be written by others"])
}
