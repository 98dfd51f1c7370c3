//! `checkpoint`, and the `restore` that proves it.

use serde_json::json;
use testkit::{Case, ConsoleSocket, Container, Fallible, Outcome, Test, both, needs, rt_only, wait_until};

use super::counter::{COUNTER, counts_on, is_unbroken, numbers, stands_still};

pub(crate) fn cases() -> Vec<Case> {
    [
        both("counter_three_cycles", counter_three_cycles),
        both("five_processes_with_pipes", five_processes_with_pipes),
        both("terminal_three_cycles", terminal_three_cycles),
        both("background_process_of_an_exec_survives", background_process_of_an_exec_survives),
        rt_only(
            "execed_process_is_not_lost_silently",
            "runc loses it silently",
            execed_process_is_not_lost_silently,
        ),
        both("memory_64_mib", memory_64_mib),
        both("leave_running_twice", leave_running_twice),
        both("paused_stays_paused", paused_stays_paused),
        both("two_containers_at_once", two_containers_at_once),
        both("work_path_holds_the_log", work_path_holds_the_log),
        both("stops_the_container", stops_the_container),
        both("open_file_and_deleted_file", open_file_and_deleted_file),
        both("read_only_root", read_only_root),
        rt_only("read_only_root_stays_so", "runc 1.1 restores it writable", read_only_root_stays_so),
        rt_only("read_only_root_without_tmp", "runc 1.1 restores it writable", read_only_root_without_tmp),
        rt_only("stats", "runc has no such option", stats),
        both("bind_mount_and_tmpfs", bind_mount_and_tmpfs),
        rt_only(
            "bind_mount_of_a_link",
            "runc hands the link to CRIU, which does not follow it",
            bind_mount_of_a_link,
        ),
        both("two_mounts_at_one_place", two_mounts_at_one_place),
        rt_only("mounts_keep_their_attributes", "runc 1.1 loses some of them", mounts_keep_their_attributes),
        both("signals_and_timers", signals_and_timers),
        both("created_is_refused", created_is_refused),
        both("stopped_is_refused", stopped_is_refused),
        rt_only("as_spec_writes_it", "its output cannot be seen through runc's log", as_spec_writes_it),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// A container of the counter that has counted a little.
pub(crate) fn counting(test: &Test) -> Fallible<Container<'_>> {
    let container = test.run_script(COUNTER)?;
    counts_on(&container.bundle, "/log", 3)?;
    Ok(container)
}

/// Dumps and restores once.
fn cycle(container: &Container<'_>) -> Outcome {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    container.restore(&images, &[])?;
    Ok(())
}

fn mounts_keep_their_attributes(test: &Test) -> Outcome {
    let source = test.new_path("source");
    std::fs::create_dir(&source)?;
    let bind = |to: &str, how: &str| json!({"destination": to, "type": "bind", "source": source, "options": ["bind", how]});
    let builder = test.bundle()?.script(COUNTER).edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.extend([bind("/one", "ro"), bind("/two", "rw"), bind("/three", "noexec")]);
    });
    let container = test.container(&builder.build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let mounts =
        || container.exec(&[], &["sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort"]).succeeds();
    let before = mounts()?.stdout;
    assert!(before.contains("/one ro") && before.contains("/sys/firmware ro"), "{before}");
    for _ in 0..2 {
        cycle(&container)?;
        assert_eq!(before, mounts()?.stdout);
    }
    Ok(())
}

fn counter_three_cycles(test: &Test) -> Outcome {
    let container = counting(test)?;
    for _ in 0..3 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        stands_still(&container.bundle, "/log")?;
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        assert_eq!(container.status()?, "running");
    }
    is_unbroken(&container.bundle, "/log")
}

fn five_processes_with_pipes(test: &Test) -> Outcome {
    let pass = "while read n; do echo $n; done";
    let script = format!(
        "(i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done) | ({pass}) | ({pass}) | while read n; do echo $n >>/log; done"
    );
    let container = test.run_script(&script)?;
    counts_on(&container.bundle, "/log", 3)?;
    // usleep comes and goes.
    let shells = || container.exec(&[], &["sh", "-c", "ps -o comm | grep -c ^sh$"]).succeeds();
    assert!(shells()?.stdout.trim().parse::<u32>()? >= 5);
    cycle(&container)?;
    counts_on(&container.bundle, "/log", 3)?;
    assert!(shells()?.stdout.trim().parse::<u32>()? >= 5);
    is_unbroken(&container.bundle, "/log")
}

fn terminal_three_cycles(test: &Test) -> Outcome {
    let script = "n=0; while read word; do n=$((n+1)); echo \"$n:$word\"; done";
    let container = test.container(&test.bundle()?.terminal().script(script).build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("first\n")?;
    console.expect("1:first")?;
    for n in 2..5 {
        let images = test.new_path("images");
        container.checkpoint(&images, &[])?;
        let socket: ConsoleSocket = test.console_socket()?;
        container.restore(&images, &["--console-socket", socket.path()])?;
        console = socket.accept()?;
        console.send("word\n")?;
        console.expect(&format!("{n}:word"))?;
    }
    // A terminal is more than a pipe: the line discipline turns ^C into a signal.
    console.send("\u{3}")?;
    container.wait_for_status("stopped")
}

fn background_process_of_an_exec_survives(test: &Test) -> Outcome {
    let container = counting(test)?;
    let background = format!("({}) >/dev/null 2>&1 </dev/null &", COUNTER.replace("/log", "/second"));
    container.exec(&[], &["sh", "-c", &background]).succeeds()?;
    counts_on(&container.bundle, "/second", 3)?;
    cycle(&container)?;
    counts_on(&container.bundle, "/second", 3)?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/second")
}

fn execed_process_is_not_lost_silently(test: &Test) -> Outcome {
    // The parent of what `exec --detach` starts is outside the container, so it is not in the tree that CRIU dumps.
    // Either it is saved all the same, or the dump is refused with its pid.
    let container = counting(test)?;
    let script = COUNTER.replace("/log", "/second");
    let file = test.new_path("pid");
    test.quiet(&["exec", "--detach", "--pid-file", &file, &container.id, "sh", "-c", &script]).succeeds()?;
    counts_on(&container.bundle, "/second", 3)?;
    let images = test.new_path("images");
    let output = container.cmd("checkpoint", &["--image-path", &images]).output()?;
    if output.code == 0 {
        container.restore(&images, &[])?;
    } else {
        super::one_line(test, &output, &["exec", &std::fs::read_to_string(file)?])?;
    }
    counts_on(&container.bundle, "/second", 3)?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/second")
}

fn memory_64_mib(test: &Test) -> Outcome {
    // Three quarters of 64 MiB of noise are 64 MiB of base64 in one shell variable.
    let script = "x=$(head -c 50331648 /dev/urandom | base64 | tr -d '\\n'); \
        echo \"$x\" | md5sum >/before; touch /ready; \
        while ! test -e /go; do usleep 10000; done; \
        echo \"$x\" | md5sum >/after; mv /after /done; while :; do sleep 1000; done";
    let container = test.run_script(script)?;
    let bundle = &container.bundle;
    wait_until("64 MiB of noise", || {
        !bundle.read("/before").is_empty() && std::fs::exists(bundle.path("/ready")).is_ok_and(|yes| yes)
    })?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let size: u64 = std::fs::read_dir(&images)?
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |meta| meta.len()))
        .sum();
    assert!(size >= 64 << 20, "the images hold only {size} bytes");
    container.restore(&images, &[])?;
    bundle.write("/go", "")?;
    wait_until("the second checksum", || !bundle.read("/done").is_empty())?;
    assert_eq!(bundle.read("/before"), bundle.read("/done"));
    Ok(())
}

fn leave_running_twice(test: &Test) -> Outcome {
    let container = counting(test)?;
    container.checkpoint(&test.new_path("images"), &["--leave-running"])?;
    assert_eq!(container.status()?, "running");
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

fn paused_stays_paused(test: &Test) -> Outcome {
    let container = counting(test)?;
    container.cmd("pause", &[]).succeeds()?;
    let images = test.new_path("images");
    container.checkpoint(&images, &["--leave-running"])?;
    assert_eq!(container.status()?, "paused");
    stands_still(&container.bundle, "/log")?;
    container.cmd("resume", &[]).succeeds()?;
    counts_on(&container.bundle, "/log", 3)?;
    container.delete()?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

fn two_containers_at_once(test: &Test) -> Outcome {
    let containers = [counting(test)?, counting(test)?];
    std::thread::scope(|scope| {
        let cycles =
            containers.each_ref().map(|container| scope.spawn(|| (0..2).try_for_each(|_| cycle(container))));
        cycles
            .into_iter()
            .try_for_each(|cycle| cycle.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    for container in &containers {
        counts_on(&container.bundle, "/log", 3)?;
        is_unbroken(&container.bundle, "/log")?;
    }
    Ok(())
}

fn work_path_holds_the_log(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, work) = (test.new_path("images"), test.new_path("work"));
    container.checkpoint(&images, &["--work-path", &work])?;
    // It may be empty: CRIU writes down warnings only.
    assert!(std::fs::exists(format!("{work}/dump.log"))?);
    assert!(!std::fs::exists(format!("{images}/dump.log"))?);
    assert!(std::fs::exists(format!("{images}/inventory.img"))?);
    assert!(std::fs::exists(format!("{images}/descriptors.json"))?);
    container.restore(&images, &["--work-path", &work])?;
    assert!(std::fs::exists(format!("{work}/restore.log"))?);
    assert!(!std::fs::exists(format!("{images}/restore.log"))?);
    Ok(())
}

fn stops_the_container(test: &Test) -> Outcome {
    let container = counting(test)?;
    let pid = container.pid()?;
    container.checkpoint(&test.new_path("images"), &[])?;
    assert!(!std::fs::exists(format!("/proc/{pid}/root/bin"))?);
    assert_eq!(container.status()?, "absent", "checkpoint deletes the container, as runc does");
    test.leaves_nothing()
}

fn open_file_and_deleted_file(test: &Test) -> Outcome {
    let script = "exec 3>>/log 4<>/gone; echo kept >&4; rm /gone; i=0; \
        while :; do i=$((i+1)); echo $i >&3; test -e /go && { cat </proc/self/fd/4 >/found; rm /go; }; usleep 10000; done";
    let container = test.run_script(script)?;
    counts_on(&container.bundle, "/log", 3)?;
    cycle(&container)?;
    counts_on(&container.bundle, "/log", 3)?;
    container.bundle.write("/go", "")?;
    wait_until("the deleted file's text", || container.bundle.read("/found").contains("kept"))?;
    is_unbroken(&container.bundle, "/log")
}

fn with_read_only_root(test: &Test) -> Fallible<Container<'_>> {
    let script = COUNTER.replace("/log", "/dev/shm/log");
    let container =
        test.container(&test.bundle()?.set("/root/readonly", true.into()).script(&script).build()?);
    container.run(&[])?;
    Ok(container)
}

fn read_only_root(test: &Test) -> Outcome {
    let container = with_read_only_root(test)?;
    let lines = || {
        container.exec(&[], &["wc", "-l", "/dev/shm/log"]).output().map_or(0, |output| count(&output.stdout))
    };
    wait_until("the first numbers", || lines() >= 3)?;
    cycle(&container)?;
    let before = lines();
    wait_until("more numbers", || lines() >= before + 3)
}

fn read_only_root_stays_so(test: &Test) -> Outcome {
    let container = with_read_only_root(test)?;
    cycle(&container)?;
    container.exec(&[], &["sh", "-c", "echo x >/refused"]).fails()?;
    Ok(())
}

fn read_only_root_without_tmp(test: &Test) -> Outcome {
    // CRIU needs a directory to pivot with; and two containers share the image, as engines let them.
    let bundle =
        test.bundle()?.set("/root/readonly", true.into()).script(&COUNTER.replace("/log", "/dev/shm/log"));
    let bundle = bundle.build()?;
    std::fs::remove_dir(bundle.path("/tmp"))?;
    let (first, second) = (test.container(&bundle), test.container(&bundle));
    for container in [&first, &second] {
        container.run(&[])?;
        cycle(container)?;
        cycle(container)?;
    }
    let names = |directory: &str| -> Fallible<Vec<_>> {
        let mut names: Vec<_> =
            std::fs::read_dir(directory)?.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        Ok(names)
    };
    assert_eq!(names(&bundle.path("/"))?, ["bin", "dev", "etc", "proc", "sys"]);
    for container in [&first, &second] {
        container.exec(&[], &["sh", "-c", "echo x >/refused"]).fails()?;
        container.exec(&[], &["grep", "^3$", "/dev/shm/log"]).succeeds()?;
    }
    Ok(())
}

fn stats(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (images, file) = (test.new_path("images"), test.new_path("stats"));
    let holds = |text: &str, fields: &[&str]| -> Outcome {
        let stats: testkit::Value = serde_json::from_str(text)?;
        for field in fields {
            assert!(stats[field].as_u64().is_some_and(|number| number > 0), "no {field} in {text}");
        }
        Ok(())
    };
    let dump = ["frozen_us", "dump_us", "total_us", "image_bytes", "pages_scanned", "pages_written"];
    let output = container.checkpoint(&images, &["--leave-running", "--stats", "-"])?;
    holds(&output.stdout, &dump)?;
    assert_eq!(output.stderr, "", "{output}");
    let output = container.checkpoint(&images, &["--stats", &file])?;
    assert_eq!(output.stdout, "", "{output}");
    holds(&std::fs::read_to_string(&file)?, &dump)?;
    container.restore(&images, &["--stats", &file])?;
    holds(&std::fs::read_to_string(&file)?, &["restore_us", "total_us", "criu_restore_us", "pages_restored"])
}

fn count(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn bind_mount_and_tmpfs(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    std::fs::create_dir(&volume)?;
    let bundle = test
        .bundle()?
        .push("/mounts", testkit::json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]}))
        .push("/mounts", testkit::json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}))
        .script("echo kept >/scratch/file; while :; do cat /scratch/file >>/volume/log; usleep 10000; done")
        .build()?;
    let container = test.container(&bundle);
    container.run(&[])?;
    let log = format!("{volume}/log");
    let size = || std::fs::metadata(&log).map_or(0, |meta| meta.len());
    wait_until("text in the volume", || size() > 0)?;
    cycle(&container)?;
    let before = size();
    wait_until("more text in the volume", || size() > before)?;
    assert!(std::fs::read_to_string(&log)?.lines().all(|line| line == "kept"));
    Ok(())
}

fn bind_mount_of_a_link(test: &Test) -> Outcome {
    let (volume, link) = (test.new_path("volume"), test.new_path("link"));
    std::fs::create_dir(&volume)?;
    std::os::unix::fs::symlink(&volume, &link)?;
    let mount = json!({"destination": "/volume", "type": "bind", "source": link, "options": ["bind"]});
    let container = test.container(&test.bundle()?.push("/mounts", mount).script(COUNTER).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    cycle(&container)?;
    container.exec(&[], &["touch", "/volume/seen"]).succeeds()?;
    assert!(std::fs::exists(format!("{volume}/seen"))?);
    Ok(())
}

fn two_mounts_at_one_place(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?.script("while :; do sleep 1000; done");
    for name in ["lower", "upper"] {
        let volume = test.new_path(name);
        std::fs::create_dir(&volume)?;
        std::fs::write(format!("{volume}/which"), name)?;
        let mount =
            testkit::json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["bind"]});
        bundle = bundle.push("/mounts", mount);
    }
    let container = test.container(&bundle.build()?);
    container.run(&[])?;
    for _ in 0..2 {
        assert_eq!(container.exec(&[], &["cat", "/volume/which"]).succeeds()?.stdout, "upper");
        cycle(&container)?;
    }
    assert_eq!(container.exec(&[], &["cat", "/volume/which"]).succeeds()?.stdout, "upper");
    Ok(())
}

fn signals_and_timers(test: &Test) -> Outcome {
    let script = "trap 'echo caught >>/signals' USR1; sleep 1 & wait $!; echo timer >>/signals; while :; do usleep 10000; done";
    let container = test.run_script(script)?;
    wait_until("the sleep", || container.pids().is_ok_and(|pids| pids.len() == 2))?;
    cycle(&container)?;
    wait_until("the timer", || container.bundle.read("/signals").contains("timer"))?;
    container.cmd("kill", &[]).arg("USR1").succeeds()?;
    wait_until("the signal", || container.bundle.read("/signals").contains("caught"))
}

fn created_is_refused(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(COUNTER).build()?);
    container.quiet("create", &[]).succeeds()?;
    let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    super::one_line(test, &output, &["created"])?;
    assert_eq!(container.status()?, "created");
    Ok(())
}

fn stopped_is_refused(test: &Test) -> Outcome {
    let container = test.run_script("true")?;
    container.wait_for_status("stopped")?;
    let output = container.cmd("checkpoint", &["--image-path", &test.new_path("images")]).fails()?;
    super::one_line(test, &output, &["stopped"])
}

fn as_spec_writes_it(test: &Test) -> Outcome {
    let container = test.container(&test.bundle_as_written()?.build()?);
    let socket = test.console_socket()?;
    container.run(&["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("kept=six; echo re''ady\n")?;
    console.expect("ready")?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let socket = test.console_socket()?;
    container.restore(&images, &["--console-socket", socket.path()])?;
    let mut console = socket.accept()?;
    console.send("echo ${kept}teen\n")?;
    console.expect("sixteen")?;
    assert!(numbers(&container.bundle, "/log").is_empty());
    Ok(())
}
