//! Memory that does not go into the image directory: page servers, lazy restores, pre-dumps. And the options that are refused
//! before anything is touched.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use testkit::{Case, Cmd, Container, Fallible, Outcome, Running, Test, json, needs, rt_only, wait_until};

use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken};
use super::images_command::told;
use super::one_line;

const NO_SERVER: &str = "runc has no page server";

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("page_server", NO_SERVER, page_server),
        rt_only("page_server_that_is_gone", NO_SERVER, page_server_that_is_gone),
        rt_only("page_server_with_tls", NO_SERVER, page_server_with_tls).needs(needs::openssl),
        rt_only("page_server_of_another_authority", NO_SERVER, page_server_of_another_authority)
            .needs(needs::openssl),
        rt_only("lazy_pages", NO_SERVER, |test| lazy_pages(test, &[])),
        rt_only("lazy_pages_with_tls", NO_SERVER, lazy_pages_with_tls).needs(needs::openssl),
        rt_only("lazy_pages_daemon_that_is_late", NO_SERVER, lazy_pages_daemon_that_is_late),
        rt_only("lazy_pages_that_nobody_fetches", NO_SERVER, lazy_pages_that_nobody_fetches),
        rt_only("pre_dump_where_it_cannot_be", "runc lets CRIU fail", pre_dump_where_it_cannot_be)
            .needs(needs::no_memory_tracking),
        rt_only("pre_dumps_and_a_dump", "runc has no statistics", pre_dumps_and_a_dump)
            .needs(needs::memory_tracking),
        rt_only("refused_options", "runc takes them, and lets CRIU fail", refused_options),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// `rt page-server` in the background, and the address that it has printed.
fn serve(test: &Test, images: &str, flags: &[&str]) -> Fallible<(Running, String)> {
    let printed = test.new_path("address");
    let command = test.cmd(&["page-server", "--image-path", images, "--listen", "127.0.0.1:0"]).args(flags);
    let server = command.stdout(OwnedFd::from(File::create(&printed)?)).spawn()?;
    let text = || fs::read_to_string(&printed).unwrap_or_default();
    wait_until("the page server's address", || text().ends_with('\n'))?;
    Ok((server, text().trim_end().to_owned()))
}

/// The local addresses on which somebody listens on this port, as /proc/net/tcp and tcp6 write them.
fn listened_on(address: &str) -> Fallible<Vec<String>> {
    let port: u16 = address.rsplit(':').next().unwrap_or_default().parse()?;
    let tables =
        [fs::read_to_string("/proc/net/tcp")?, fs::read_to_string("/proc/net/tcp6").unwrap_or_default()];
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1));
    let listening = sockets.filter(|line| line.split_whitespace().nth(3) == Some("0A"));
    let locals = listening.filter_map(|line| line.split_whitespace().nth(1));
    Ok(locals.filter(|local| local.ends_with(&format!(":{port:04X}"))).map(str::to_owned).collect())
}

fn page_server(test: &Test) -> Outcome {
    sends_its_memory(test, &[])
}

fn sends_its_memory(test: &Test, tls: &[&str]) -> Outcome {
    let container = counting(test)?;
    let (here, there) = (test.new_path("here"), test.new_path("there"));
    let (server, address) = serve(test, &there, tls)?;
    let locals = listened_on(&address)?;
    assert!(locals.len() == 1 && locals[0].starts_with("0100007F:"), "{locals:?}");
    container.checkpoint(&here, &[&["--page-server", &address], tls].concat())?;
    assert_eq!(server.output()?.code, 0);
    let has_pages = |dir: &str| -> Fallible<bool> {
        let mut names = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.file_name());
        Ok(names.any(|name| name.to_string_lossy().starts_with("pages-")))
    };
    assert!(has_pages(&there)? && !has_pages(&here)?, "the memory goes to the server, and nowhere else");
    assert_eq!(
        (&told(&here)?["kind"], &told(&there)?["kind"]),
        (&json!("dump-without-memory"), &json!("received-memory"))
    );
    // What is small is copied as a user would.
    for entry in fs::read_dir(&here)? {
        let entry = entry?;
        let name = entry.file_name();
        if !fs::exists(format!("{there}/{}", name.display()))? {
            fs::copy(entry.path(), format!("{there}/{}", name.display()))?;
        }
    }
    container.restore(&there, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")
}

/// An authority, and a certificate for 127.0.0.1 that it has signed.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn make(test: &Test) -> Fallible<Self> {
        const NEW: [&str; 6] = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let [authority, certificate, key, request, signer] =
            ["authority", "certificate", "key", "request", "signer"].map(|name| test.new_path(name));
        let openssl = |words: &[&str]| Cmd::new("openssl").args(words).succeeds();
        openssl(
            &[&NEW[..], &["-x509", "-subj", "/CN=tests", "-keyout", &signer, "-out", &authority]].concat(),
        )?;
        let name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
        openssl(&[&NEW[..], &name, &["-keyout", &key, "-out", &request]].concat())?;
        let signed_by = ["-CA", &authority, "-CAkey", &signer, "-CAcreateserial", "-copy_extensions", "copy"];
        openssl(&[&["x509", "-req", "-in", &request, "-out", &certificate], &signed_by[..]].concat())?;
        Ok(Self { authority, certificate, key })
    }

    fn flags(&self) -> [&str; 7] {
        let Self { authority, certificate, key } = self;
        ["--tls", "--tls-cacert", authority, "--tls-cert", certificate, "--tls-key", key]
    }
}

fn page_server_with_tls(test: &Test) -> Outcome {
    sends_its_memory(test, &Certificates::make(test)?.flags())
}

/// Who cannot prove who they are get nothing, and the container runs on.
fn page_server_of_another_authority(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (ours, theirs) = (Certificates::make(test)?, Certificates::make(test)?);
    let there = test.new_path("there");
    let (server, address) = serve(test, &there, &theirs.flags())?;
    let here = test.new_path("here");
    let flags = ["--image-path", &here, "--page-server", &address];
    let output = container.cmd("checkpoint", &[&flags[..], &ours.flags()].concat()).fails()?;
    // CRIU 4.2 aborts on its way out here; that is no matter either.
    one_line(test, &output, &["criu", "tls", "certificate"])?;
    assert_ne!(server.output()?.code, 0);
    counts_on(&container.bundle, "/log", 3)
}

fn lazy_pages_with_tls(test: &Test) -> Outcome {
    lazy_pages(test, &Certificates::make(test)?.flags())
}

fn page_server_that_is_gone(test: &Test) -> Outcome {
    let container = counting(test)?;
    let (mut server, address) = serve(test, &test.new_path("there"), &[])?;
    server.kill();
    let here = test.new_path("here");
    let flags = ["--image-path", &here, "--page-server", &address];
    wait_until("the port to be free", || listened_on(&address).is_ok_and(|locals| locals.is_empty()))?;
    one_line(test, &container.cmd("checkpoint", &flags).fails()?, &["criu dump failed"])?;
    counts_on(&container.bundle, "/log", 3)
}

/// Lets CRIU make the large pipes that a lazy dump needs also without CAP_SYS_RESOURCE; one case at a time, since the
/// machine has one such limit, and it is put back.
struct LargePipes {
    before: String,
    _turn: File,
}

impl LargePipes {
    const LIMIT: &str = "/proc/sys/fs/pipe-max-size";

    fn allow() -> Fallible<Self> {
        let turn = File::create("/tmp/rt-tests-pipe-max-size.lock")?;
        rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive)?;
        let before = fs::read_to_string(Self::LIMIT)?;
        fs::write(Self::LIMIT, "8388608")?;
        Ok(Self { before, _turn: turn })
    }
}

impl Drop for LargePipes {
    fn drop(&mut self) {
        let _ = fs::write(Self::LIMIT, self.before.trim());
    }
}

/// A lazy checkpoint in the background that is ready to serve, and its address.
fn checkpoint_lazily(container: &Container<'_>, images: &str, tls: &[&str]) -> Fallible<(Running, String)> {
    // Free a moment ago; CRIU takes no 0 here.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("127.0.0.1:{port}");
    let ready = container.test.new_path("ready");
    let words = ["--lazy-pages", "--page-server", &address, "--image-path", images, "--status-fd", "9"];
    let command =
        container.cmd("checkpoint", &[&words, tls].concat()).after_shell(&format!("exec 9>{ready}"));
    let mut dump = command.spawn()?;
    wait_until("the lazy checkpoint to be ready", || {
        fs::read(&ready).is_ok_and(|bytes| bytes == [0]) || !dump.is_running()
    })?;
    if !dump.is_running() {
        return Err(format!("it has ended: {}", dump.output()?).into());
    }
    Ok((dump, address))
}

fn lazy_pages(test: &Test, tls: &[&str]) -> Outcome {
    let _pipes = LargePipes::allow()?;
    let container = counting(test)?;
    let (images, work) = (test.new_path("images"), test.new_path("work"));
    let (dump, address) = checkpoint_lazily(&container, &images, tls)?;
    let locals = listened_on(&address)?;
    assert!(locals.len() == 1 && locals[0].starts_with("0100007F:"), "{locals:?}");
    let told = told(&images)?;
    assert!(told["kind"] == "lazy-dump" && told["pages"]["lazy"].as_u64() > Some(0), "{told}");
    // The destination has another state store: here the id is still taken.
    let elsewhere = test.container(&container.bundle);
    let ready = test.new_path("daemon-ready");
    let words =
        ["--image-path", &images, "--work-path", &work, "--page-server", &address, "--status-fd", "9"];
    let daemon =
        test.cmd(&["lazy-pages"]).args(words).args(tls).after_shell(&format!("exec 9>{ready}")).spawn()?;
    wait_until("the daemon", || fs::read(&ready).is_ok_and(|bytes| bytes == [0]))?;
    elsewhere.restore(&images, &["--lazy-pages", "--work-path", &work])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    let (dump, daemon) = (dump.output()?, daemon.output()?);
    assert!(dump.code == 0 && daemon.code == 0, "{dump}\n{daemon}");
    assert_eq!(container.status()?, "absent");
    elsewhere.delete()
}

/// The restore waits for a daemon that was started right after it.
fn lazy_pages_daemon_that_is_late(test: &Test) -> Outcome {
    let _pipes = LargePipes::allow()?;
    let container = counting(test)?;
    let (images, work) = (test.new_path("images"), test.new_path("work"));
    let (dump, address) = checkpoint_lazily(&container, &images, &[])?;
    let elsewhere = test.container(&container.bundle);
    let words = ["--image-path", &images, "--work-path", &work];
    let restore =
        elsewhere.quiet("restore", &[&["--detach", "--lazy-pages"], &words[..]].concat()).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let daemon = test.cmd(&["lazy-pages"]).args(words).args(["--page-server", &address]).spawn()?;
    for output in [restore.output()?, daemon.output()?, dump.output()?] {
        assert_eq!(output.code, 0, "{output}");
    }
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    elsewhere.delete()
}

fn lazy_pages_that_nobody_fetches(test: &Test) -> Outcome {
    let _pipes = LargePipes::allow()?;
    let container = counting(test)?;
    let (mut dump, _) = checkpoint_lazily(&container, &test.new_path("images"), &[])?;
    dump.kill();
    // criu dies with rt, and leaves what it had stopped; nobody is lost.
    container.delete()?;
    test.leaves_nothing()
}

fn pre_dump_where_it_cannot_be(test: &Test) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    let output = container.cmd("checkpoint", &["--pre-dump", "--image-path", &images]).fails()?;
    one_line(test, &output, &["--pre-dump", "CONFIG_MEM_SOFT_DIRTY"])?;
    counts_on(&container.bundle, "/log", 3)
}

/// 64 MiB of noise, of which nothing changes, and a megabyte of other memory that is new each second: in pieces that are small enough
/// for the heap. A mapping that comes and goes beside the noise would be merged with it, and all of it count as changed.
const WRITER: &str = "x=$(head -c 50331648 /dev/urandom | base64 | tr -d '\\n'); \
    echo \"$x\" | md5sum >/before; touch /ready; \
    while ! test -e /go; do y=$(head -c 36864 /dev/urandom | base64); usleep 50000; done; \
    echo \"$x\" | md5sum >/after; mv /after /done; while :; do sleep 1000; done";

fn pre_dumps_and_a_dump(test: &Test) -> Outcome {
    let container = test.run_script(WRITER)?;
    let bundle = &container.bundle;
    wait_until("64 MiB of noise", || fs::exists(bundle.path("/ready")).is_ok_and(|yes| yes))?;
    let base = test.new_path("chain");
    fs::create_dir(&base)?;
    let round = |name: &str, flags: &[&str]| -> Fallible<u64> {
        container.checkpoint(&format!("{base}/{name}"), flags)?;
        Ok(fs::metadata(format!("{base}/{name}/pages-1.img"))?.len())
    };
    let first = round("first", &["--pre-dump"])?;
    let second = round("second", &["--pre-dump", "--parent-path", "../first"])?;
    assert_eq!(container.status()?, "running");
    assert!(first > 64 << 20, "the first pre-dump has {first} bytes");
    assert!(second * 10 <= first, "the second pre-dump has {second} bytes, the first {first}");
    let last = round("last", &["--parent-path", "../second"])?;
    assert!(last * 10 <= first, "the dump has {last} bytes, the first pre-dump {first}");
    assert_eq!(container.status()?, "absent");
    let told = told(&format!("{base}/last"))?;
    let parents: Vec<_> = told["parents"].as_array().into_iter().flatten().collect();
    let chain: Vec<_> =
        parents.iter().map(|parent| format!("{} {}", parent["link"], parent["kind"])).collect();
    assert_eq!(chain, ["\"../second\" \"pre-dump\"", "\"../first\" \"pre-dump\""]);
    // A shell that the script has forked at that moment has pages, too.
    for (parent, (name, at_least)) in parents.iter().zip([("second", second), ("first", first)]) {
        let files = fs::read_dir(format!("{base}/{name}"))?.flatten();
        let pages = files.filter(|file| file.file_name().to_string_lossy().starts_with("pages-"));
        let sum: u64 = pages.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        assert!(sum >= at_least && parent["pages_bytes"].as_u64() == Some(sum), "{name}: {sum}, {parent}");
    }
    assert!(
        told["kind"] == "dump" && told["pages"]["in_parent"].as_u64() > Some((64 << 20) / 4096),
        "{told}"
    );
    container.restore(&format!("{base}/last"), &[])?;
    bundle.write("/go", "")?;
    wait_until("the second checksum", || !bundle.read("/done").is_empty())?;
    assert_eq!(bundle.read("/before"), bundle.read("/done"));
    Ok(())
}

fn refused_options(test: &Test) -> Outcome {
    let container = counting(test)?;
    let refused: [(&[&str], &[&str]); 16] = [
        (&["--pre-dump", "--lazy-pages"], &["--pre-dump", "--lazy-pages"]),
        (&["--lazy-pages"], &["--page-server"]),
        (&["--lazy-pages", "--leave-running", "--page-server", "127.0.0.1:1"], &["two places"]),
        (&["--page-server", "27"], &["ADDRESS:PORT"]),
        (&["--page-server", "127.0.0.1:0"], &["port"]),
        (&["--page-server", "::1:27"], &["[::1]:27"]),
        (&["--status-fd", "1"], &["--status-fd", "--lazy-pages"]),
        (&["--lazy-pages", "--page-server", "127.0.0.1:1", "--status-fd", "77"], &["--status-fd 77"]),
        (&["--pre-dump-mode", "read"], &["--pre-dump-mode"]),
        (&["--pre-dump", "--pre-dump-mode", "x"], &["splice or read"]),
        (&["--parent-path", "/tmp"], &["--parent-path", "relative"]),
        (&["--parent-path", "../nowhere"], &["--parent-path", "no such file"]),
        (&["--tcp-established", "--tcp-close"], &["--tcp-close"]),
        (&["--network-lock", "x"], &["iptables, nftables or skip"]),
        (&["--empty-ns", "pid"], &["network"]),
        (&["--ghost-limit", "1T"], &["--ghost-limit"]),
    ];
    for (flags, words) in refused {
        let images = test.new_path("images");
        let output = container.cmd("checkpoint", &[&["--image-path", &images], flags].concat()).fails()?;
        one_line(test, &output, words)?;
        assert_eq!(container.status()?, "running", "{flags:?}");
    }
    counts_on(&container.bundle, "/log", 3)
}
