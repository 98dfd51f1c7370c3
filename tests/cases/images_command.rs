//! `images`: what a checkpoint has written, told by `rt`, whoever has made it; and directories that nobody should restore from.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use testkit::{
    Case, Cmd, Container, Fallible, Outcome, Runtime, Test, Value, both, json, needs, rt_only, wait_until,
};

use super::checkpoint::counting;

const NO_IMAGES: &str = "runc has no such command";

pub(crate) fn cases() -> Vec<Case> {
    [
        both("processes", processes),
        both("memory_is_what_criu_counted", memory_is_what_criu_counted),
        both("files_sockets_and_mounts", files_sockets_and_mounts)
            .needs(needs::criu_for_tcp)
            .needs(needs::iptables),
        both("table", table),
        rt_only("who_made_it", NO_IMAGES, who_made_it),
        rt_only("damaged", NO_IMAGES, damaged),
        rt_only("foreign", NO_IMAGES, foreign),
        rt_only("hostile", NO_IMAGES, hostile),
        rt_only("parents", NO_IMAGES, parents),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// `rt images`, also where the checkpoint is runc's.
fn command(images: &str, flags: &[&str]) -> Cmd {
    Cmd::new(Runtime::rt(env!("CARGO_BIN_EXE_rt")).binary).arg("images").args(flags).arg(images)
}

/// What `rt images` says of a directory.
pub(super) fn told(images: &str) -> Fallible<Value> {
    Ok(serde_json::from_str(&command(images, &["--format", "json"]).succeeds()?.stdout)?)
}

/// The container's checkpoint.
fn dumped(container: &Container<'_>) -> Fallible<String> {
    let images = container.test.new_path("images");
    container.checkpoint(&images, &[])?;
    Ok(images)
}

/// The one line that is said of a directory which cannot be read, with all of these words.
fn refused(images: &str, words: &[&str]) -> Outcome {
    let output = command(images, &[]).fails()?;
    let line = output.stderr.trim_end();
    let says_it = words.iter().all(|word| line.contains(word));
    if output.code == 1 && says_it && !line.contains('\n') && output.stdout.is_empty() {
        return Ok(());
    }
    Err(format!("not one line with {words:?}: {output}").into())
}

/// Two children that sleep, and one that ends when its parent does not ask for it any more.
const FAMILY: &str =
    "echo text >/open; sleep 1001 & sleep 1002 & (usleep 300000; exit 3) & exec 5</open; exec sleep 1003";

fn family(test: &Test) -> Fallible<Container<'_>> {
    let container = test.run_script(FAMILY)?;
    wait_until("one that has ended", || {
        let states = container.exec(&[], &["ps", "-o", "stat"]).output();
        states.is_ok_and(|output| output.stdout.lines().any(|line| line.starts_with('Z')))
    })?;
    Ok(container)
}

fn processes(test: &Test) -> Outcome {
    let images = told(&dumped(&family(test)?)?)?;
    assert_eq!(images["kind"], "dump");
    let processes = images["processes"].as_array().ok_or("no processes")?;
    let mut shown: Vec<_> = processes
        .iter()
        .map(|it| format!("{} {} {}", it["parent"], it["name"], it["state"]).replace('"', ""))
        .collect();
    assert_eq!(shown.remove(0), "0 sleep alive");
    shown.sort();
    assert_eq!(shown, ["1 sh zombie", "1 sleep alive", "1 sleep alive"]);
    let ended = processes.iter().find(|it| it["state"] == "zombie").ok_or("nobody has ended")?;
    assert_eq!((&ended["wait_status"], &ended["memory"]), (&json!(3 << 8), &Value::Null));
    assert_eq!((&processes[0]["program"], &processes[0]["cwd"]), (&json!("/bin/busybox"), &json!("/")));
    let open = processes[0]["descriptors"].as_array().ok_or("no descriptors")?;
    let open: Vec<_> = open.iter().map(|it| format!("{}:{}", it["fd"], it["name"])).collect();
    assert_eq!(open, ["0:\"/dev/null\"", "1:\"/dev/null\"", "2:\"/dev/null\"", "5:\"/open\""]);
    Ok(())
}

fn memory_is_what_criu_counted(test: &Test) -> Outcome {
    let container =
        test.run_script("x=$(yes | head -c 4194304); touch /ready; while :; do sleep 1000; done")?;
    wait_until("its memory", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    let directory = dumped(&container)?;
    let images = told(&directory)?;
    let dumped = &images["pages"]["dumped"];
    assert!(dumped.as_u64() > Some(1024), "{dumped}");
    assert_eq!(dumped, &images["stats"]["pages_written"]);
    let processes = images["processes"].as_array().ok_or("no processes")?;
    let sum: u64 = processes.iter().filter_map(|it| it["memory"]["dumped"].as_u64()).sum();
    assert_eq!(Some(sum), dumped.as_u64());
    let length: u64 = fs::read_dir(&directory)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("pages-"))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum();
    assert_eq!(images["page_size"].as_u64().map(|size| size * sum), Some(length));
    let sizes = images["sizes"].as_array().ok_or("no sizes")?;
    assert!(sizes.iter().any(|it| it["kind"] == "pages" && it["bytes"] == length), "{sizes:?}");
    Ok(())
}

/// It listens, writes into the volume, and reads a file that has no name any more.
const OPENER: &str = "mkfifo /quiet; nc -l -p 5000 0<>/quiet & echo text >/gone; exec 4</gone 5>/volume/file; rm /gone; \
    until netstat -ltn | grep -q :5000; do usleep 10000; done; touch /ready; while :; do sleep 1000; done";

fn files_sockets_and_mounts(test: &Test) -> Outcome {
    let volume = test.new_path("volume");
    fs::create_dir(&volume)?;
    let mount =
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "rw"]});
    let container = test.container(&test.bundle()?.push("/mounts", mount).script(OPENER).build()?);
    container.run(&[])?;
    wait_until("a listening socket", || fs::exists(container.bundle.path("/ready")).is_ok_and(|yes| yes))?;
    let images = told(&dumped(&container)?)?;
    let find = |list: &str, field: &str, value: &str| -> Fallible<Value> {
        let list = images[list].as_array().ok_or("no list")?;
        let found = list.iter().find(|it| it[field] == value);
        found.cloned().ok_or_else(|| format!("no {value}: {list:?}").into())
    };
    let socket = find("sockets", "protocol", "tcp")?;
    assert_eq!((&socket["state"], &socket["remote"]), (&json!("listening"), &Value::Null));
    assert!(socket["local"].as_str().is_some_and(|address| address.ends_with(":5000")), "{socket}");
    assert_eq!(find("files", "name", "/gone")?["removed"], true);
    let file = find("files", "name", "/volume/file")?;
    assert_eq!((&file["kind"], &file["removed"]), (&json!("file"), &json!(false)));
    assert_eq!(find("files", "kind", "fifo")?["name"], "/quiet");
    let mount = find("mounts", "mountpoint", "/volume")?;
    assert_eq!(mount["external"], "/volume");
    assert!(mount["root"].as_str().is_some_and(|root| volume.ends_with(root)), "{mount} {volume}");
    let proc = find("mounts", "mountpoint", "/proc")?;
    assert_eq!((&proc["type"], &proc["external"]), (&json!("proc"), &Value::Null));
    Ok(())
}

fn table(test: &Test) -> Outcome {
    let directory = dumped(&counting(test)?)?;
    let table = command(&directory, &[]).succeeds()?.stdout;
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    assert!(line("DIRECTORY").ends_with(&directory) && line("KIND").ends_with(" dump"), "{table}");
    assert!(line("MEMORY").contains("pages of 4096 bytes"), "{table}");
    let process: Vec<_> = line("1 ").split_whitespace().collect();
    assert!(process.starts_with(&["1", "0", "alive", "1"]) && process.ends_with(&["sh"]), "{table}");
    for title in ["PROCESSES", "OPEN FILES", "MOUNTS", "SIZES"] {
        assert!(table.lines().any(|line| line == title), "{table}");
    }
    // Somebody who has seen enough is no error.
    let head = Cmd::new("sh").args(["-c", "\"$0\" images \"$1\" | head -n 1; exit 0"]);
    let head = head.arg(Runtime::rt(env!("CARGO_BIN_EXE_rt")).binary).arg(&directory).succeeds()?;
    assert_eq!((head.stdout.lines().count(), head.stderr.as_str()), (1, ""));
    Ok(())
}

fn who_made_it(test: &Test) -> Outcome {
    let directory = dumped(&counting(test)?)?;
    let images = told(&directory)?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(images["kernel"], kernel.trim());
    assert!(images["criu"].as_str().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
    assert_eq!(images["companions"]["descriptors"], json!(["/dev/null", "/dev/null", "/dev/null"]));
    assert_eq!(images["companions"]["rt"]["new_network"], true);
    // Without rt's own word there is the log's, if it says anything.
    fs::remove_file(format!("{directory}/rt.json"))?;
    let log = "(00.000102) Version: 4.9.9 (gitid 0)\n(00.000108) Running on vm Linux 6.99.0 #1 SMP x86_64\n";
    fs::write(format!("{directory}/dump.log"), log)?;
    let images = told(&directory)?;
    assert_eq!((&images["criu"], &images["kernel"]), (&json!("4.9.9"), &json!("6.99.0")));
    assert_eq!(images["companions"]["rt"], Value::Null);
    Ok(())
}

fn damaged(test: &Test) -> Outcome {
    let directory = dumped(&counting(test)?)?;
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>), words: &[&str]| -> Outcome {
        let path = format!("{directory}/{name}");
        let whole = fs::read(&path)?;
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes)?;
        refused(&directory, &[&[path.as_str()], words].concat())?;
        Ok(fs::write(&path, whole)?)
    };
    let nonsense = |bytes: &mut Vec<u8>| *bytes = b"nonsense".to_vec();
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let images = [
        "inventory.img",
        "pstree.img",
        "core-1.img",
        "mm-1.img",
        "pagemap-1.img",
        "fdinfo-2.img",
        "files.img",
    ];
    for name in images {
        changed(name, &nonsense, &["is not an image of CRIU's", "name a directory"])?;
        changed(name, &cut, &["ends in the middle", "copy the directory again"])?;
    }
    changed("pages-1.img", &cut, &["which are not the", "pages of pagemap-1.img"])?;
    changed("pstree.img", &|bytes| bytes[8..12].fill(0xff), &["at byte 8 is damaged", "4294967295 bytes"])?;
    let notes = format!("{directory}/rt.json");
    fs::write(&notes, "nonsense")?;
    refused(&directory, &[&directory, "read rt.json: expected ident"])?;
    fs::remove_file(&notes)?;
    fs::copy(format!("{directory}/core-1.img"), format!("{directory}/mm-1.img"))?;
    refused(&directory, &["mm-1.img: is an image of another kind"])?;
    fs::remove_file(format!("{directory}/inventory.img"))?;
    refused(&directory, &[&directory, "no inventory.img in it", "the dump has failed"])
}

fn foreign(test: &Test) -> Outcome {
    let empty = test.new_path("empty");
    fs::create_dir(&empty)?;
    for directory in [empty.as_str(), "/etc"] {
        refused(directory, &[directory, "no images of CRIU's in it"])?;
    }
    refused("/etc/hostname", &["/etc/hostname", "not a directory"])?;
    refused("/nonexistent", &["/nonexistent", "no such file or directory"])
}

fn hostile(test: &Test) -> Outcome {
    let directory = dumped(&counting(test)?)?;
    let kept = test.new_path("kept");
    for name in ["inventory.img", "pstree.img", "pagemap-1.img", "mountpoints-13.img"] {
        let path = format!("{directory}/{name}");
        fs::rename(&path, &kept)?;
        Cmd::new("mkfifo").arg(&path).succeeds()?;
        refused(&directory, &[&path, "is a fifo, not a file"])?;
        fs::remove_file(&path)?;
        symlink(&kept, &path)?;
        refused(&directory, &[&path, "is a symbolic link, not a file"])?;
        fs::remove_file(&path)?;
        fs::rename(&kept, &path)?;
    }
    let pagemap = format!("{directory}/pagemap-1.img");
    File::options().write(true).open(&pagemap)?.set_len(1 << 40)?;
    refused(&directory, &[&pagemap, "1099511627776 bytes to read through"])
}

fn parents(test: &Test) -> Outcome {
    let directory = dumped(&counting(test)?)?;
    let older = test.new_path("older");
    Cmd::new("cp").args(["-a", &directory, &older]).succeeds()?;
    let relative = |path: &str| format!("../{}", path.rsplit('/').next().unwrap_or_default());
    let link = |from: &str, to: &str| -> Outcome {
        let _ = fs::remove_file(format!("{from}/parent"));
        Ok(symlink(to, format!("{from}/parent"))?)
    };
    link(&directory, &relative(&older))?;
    let images = told(&directory)?;
    let parents = images["parents"].as_array().ok_or("no parents")?;
    assert_eq!((parents.len(), &parents[0]["path"]), (1, &json!(older)));
    let pages = images["pages"]["dumped"].as_u64().map(|pages| pages * 4096);
    assert_eq!((&parents[0]["kind"], parents[0]["pages_bytes"].as_u64()), (&json!("dump"), pages));
    link(&older, "../nowhere")?;
    let images = told(&directory)?;
    assert_eq!(
        (&images["parents"][1]["link"], &images["parents"][1]["kind"]),
        (&json!("../nowhere"), &Value::Null)
    );
    let table = command(&directory, &[]).succeeds()?.stdout;
    assert!(table.contains("../nowhere") && table.contains("MISSING"), "{table}");
    for (to, words) in [
        (relative(&directory).as_str(), "leads back to"),
        (".", "leads back to"),
        ("/etc", "not relative"),
        ("parent", "over another symbolic link"),
    ] {
        link(&older, to)?;
        refused(&directory, &[&format!("{older}/parent: "), words])?;
    }
    Ok(())
}
