//! Images in a directory of somebody else's, who exchanges them while they are vetted and read: what comes is what was dumped, or
//! nothing, and no file of the host is read or written in their place.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use testkit::{Case, Cmd, Container, Fallible, Outcome, Swapping, Test, needs, rounds, rt_only, wait_until};

use super::super::checkpoint::counting;
use super::super::counter::{counts_on, is_unbroken};
use super::super::one_line;

const WHY: &str = "runc 1.1.5 does not look at images";

pub(super) fn cases() -> Vec<Case> {
    [
        rt_only("images_of_somebody_else", WHY, of_somebody_else),
        rt_only("images_exchanged_for_links", WHY, for_links),
        rt_only("images_exchanged_for_fifos", WHY, for_fifos),
        rt_only("image_directory_exchanged", WHY, directory),
        rt_only("log_exchanged_for_a_link", WHY, log),
        rt_only("links_in_the_way_of_a_dump", WHY, links_in_the_way_of_a_dump),
        rt_only("links_on_the_way_to_a_parent", WHY, links_on_the_way_to_a_parent),
        rt_only("links_in_the_way_of_a_page_server", WHY, links_in_the_way_of_a_page_server),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// Whose the directory is.
const SOMEBODY: u32 = 4711;
const SECRET: &str = "a secret of the host\n";

/// A checkpoint of a counter in a directory of somebody else's.
struct Target<'test> {
    container: Container<'test>,
    images: String,
    /// What it had counted to.
    log: Vec<u8>,
    /// A file of the host that nobody may touch.
    victim: String,
}

impl<'test> Target<'test> {
    fn new(test: &'test Test) -> Fallible<Self> {
        let (container, images, victim) = (counting(test)?, test.new_path("images"), test.new_path("victim"));
        container.checkpoint(&images, &[])?;
        let log = fs::read(container.bundle.path("/log"))?;
        fs::write(&victim, SECRET.repeat(1000))?;
        // Its files stay root's, as after `mkdir images; sudo rt checkpoint --image-path images`.
        chown(&images, Some(SOMEBODY), None)?;
        Ok(Self { container, images, log, victim })
    }

    /// The restored container goes on where the dumped one has stopped.
    fn goes_on(&self) -> Outcome {
        counts_on(&self.container.bundle, "/log", 3)?;
        is_unbroken(&self.container.bundle, "/log")?;
        self.container.delete()?;
        Ok(fs::write(self.container.bundle.path("/log"), &self.log)?)
    }

    /// Restores while two paths change places.
    fn race(&self, one: &str, other: &str) -> Outcome {
        let rounds = rounds(10);
        let swapping = Swapping::start(one, other);
        let mut restored = 0;
        for _ in 0..rounds {
            let flags = ["--detach", "--image-path", &self.images];
            let output = self.container.quiet("restore", &flags).output()?;
            if output.code == 0 {
                restored += 1;
                self.goes_on()?;
            } else {
                one_line(self.container.test, &output, &[])?;
                self.container.test.leaves_nothing()?;
            }
            assert!(fs::read_to_string(&self.victim)? == SECRET.repeat(1000), "{}", self.victim);
        }
        self.container
            .test
            .figure(format!("{restored} of {rounds} restored beside {} exchanges", swapping.count()));
        Ok(())
    }
}

fn of_somebody_else(test: &Test) -> Outcome {
    let target = Target::new(test)?;
    let (container, images) = (&target.container, &target.images);
    container.restore(images, &[])?;
    let scratch = format!("{}/{}/scratch/images", test.root(), container.id);
    assert!(!fs::exists(&scratch)?, "{scratch} is left");
    target.goes_on()?;
    let before = files(images)?;
    assert!(before.iter().any(|name| name == "restore.log"), "{before:?}");
    // His files, too.
    for file in fs::read_dir(images)? {
        chown(file?.path(), Some(SOMEBODY), None)?;
    }
    container.restore(images, &[])?;
    target.goes_on()?;
    assert_eq!(files(images)?, before);
    // An error tells where others find the log.
    fs::write(format!("{images}/core-1.img"), "nonsense")?;
    let output = container.quiet("restore", &["--detach", "--image-path", images]).fails()?;
    one_line(test, &output, &[&format!("(log: {images}/restore.log)")])?;
    test.leaves_nothing()
}

fn files(directory: &str) -> Fallible<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Each of some images in turn, with what `make` makes at another path.
fn each_image(test: &Test, make: impl Fn(&Target<'_>, &str) -> Outcome) -> Outcome {
    for name in ["inventory.img", "core-1.img", "pages-1.img"] {
        let target = Target::new(test)?;
        let other = test.new_path("other");
        make(&target, &other)?;
        target.race(&format!("{}/{name}", target.images), &other)?;
    }
    Ok(())
}

fn for_links(test: &Test) -> Outcome {
    each_image(test, |target, other| Ok(symlink(&target.victim, other)?))
}

fn for_fifos(test: &Test) -> Outcome {
    each_image(test, |_, other| Cmd::new("mkfifo").arg(other).succeeds().map(drop))
}

/// Another directory in its place, in which an image is a link to a file of the host; be the directory somebody else's, or only what it
/// is in.
fn directory(test: &Test) -> Outcome {
    for owner in [SOMEBODY, 0] {
        let target = Target::new(test)?;
        chown(&target.images, Some(owner), None)?;
        let other = test.new_path("other");
        Cmd::new("cp").args(["-a", &target.images, &other]).succeeds()?;
        fs::remove_file(format!("{other}/pages-1.img"))?;
        symlink(&target.victim, format!("{other}/pages-1.img"))?;
        target.race(&target.images, &other)?;
    }
    Ok(())
}

/// CRIU writes its log as root.
fn log(test: &Test) -> Outcome {
    let target = Target::new(test)?;
    let log = format!("{}/restore.log", target.images);
    fs::write(&log, "")?;
    let link = test.new_path("link");
    symlink(&target.victim, &link)?;
    target.race(&log, &link)
}

/// A dump makes files, which somebody else may have made before as links.
fn links_in_the_way_of_a_dump(test: &Test) -> Outcome {
    let victim = test.new_path("victim");
    fs::write(&victim, SECRET)?;
    for name in ["dump.log", "core-1.img", "inventory.img", "rt.json"] {
        let container = counting(test)?;
        let images = test.new_path("images");
        fs::create_dir(&images)?;
        chown(&images, Some(SOMEBODY), None)?;
        symlink(&victim, format!("{images}/{name}"))?;
        let output = container.cmd("checkpoint", &["--image-path", &images]).fails()?;
        one_line(test, &output, &[])?;
        assert_eq!(fs::read_to_string(&victim)?, SECRET, "{name}");
        counts_on(&container.bundle, "/log", 3)?;
        fs::remove_file(format!("{images}/{name}"))?;
        // Without them it is as good a place as any.
        container.checkpoint(&images, &[])?;
        container.restore(&images, &[])?;
        counts_on(&container.bundle, "/log", 3)?;
        container.delete()?;
    }
    Ok(())
}

/// Images that build on others lead CRIU there by a link of its own, so nobody else may be able to put one: not in either directory, nor in
/// what they are in.
fn links_on_the_way_to_a_parent(test: &Test) -> Outcome {
    let container = counting(test)?;
    let place = test.new_path("place");
    let (first, second) = (format!("{place}/first"), format!("{place}/second"));
    container.checkpoint(&first, &["--leave-running"])?;
    fs::create_dir(&second)?;
    let image = format!("{first}/pagemap-1.img");
    let parent = ["--image-path", second.as_str(), "--parent-path", "../first"];
    for (path, of_whom) in
        [(&first, "first"), (&second, "second"), (&place, "what they are in"), (&image, "image")]
    {
        let refused = |command: Cmd| -> Outcome {
            let words = ["--parent-path ../first", "belongs to user 4711", "root's alone"];
            let output = command.fails()?;
            one_line(test, &output, &words)
                .map_err(|e| format!("{of_whom}: {}", e.message().unwrap_or_default()))?;
            Ok(())
        };
        chown(path, Some(SOMEBODY), None)?;
        refused(container.cmd("checkpoint", &[&parent[..], &["--leave-running"]].concat()))?;
        refused(test.cmd(&["page-server", "--listen", "127.0.0.1:0"]).args(parent))?;
        chown(path, Some(0), None)?;
    }
    counts_on(&container.bundle, "/log", 3)?;
    // The daemon of a lazy restore goes the same way.
    symlink("../first", format!("{second}/parent"))?;
    fs::copy(format!("{first}/inventory.img"), format!("{second}/inventory.img"))?;
    chown(&place, Some(SOMEBODY), None)?;
    let output = test.cmd(&["lazy-pages", "--image-path", &second]).fails()?;
    one_line(test, &output, &[&second, "belongs to user 4711", "build on others"])?;
    chown(&place, Some(0), None)?;
    // A link that is left of another dump is not what the next one builds on.
    container.checkpoint(&second, &[])?;
    assert!(fs::symlink_metadata(format!("{second}/parent")).is_err());
    container.restore(&second, &[])?;
    counts_on(&container.bundle, "/log", 3)
}

/// What a page server writes goes where no link leads: it fails, or the link makes way for a file.
fn links_in_the_way_of_a_page_server(test: &Test) -> Outcome {
    let (container, victim) = (counting(test)?, test.new_path("victim"));
    fs::write(&victim, SECRET)?;
    let (here, there, printed) = (test.new_path("here"), test.new_path("there"), test.new_path("printed"));
    fs::create_dir(&there)?;
    chown(&there, Some(SOMEBODY), None)?;
    for name in ["page-server.log", "pagemap-1.img", "pages-1.img"] {
        let path = format!("{there}/{name}");
        let _ = fs::remove_file(&path);
        symlink(&victim, &path)?;
        let server = test.cmd(&["page-server", "--image-path", &there, "--listen", "127.0.0.1:0"]);
        let server = server.stdout(std::os::fd::OwnedFd::from(fs::File::create(&printed)?)).spawn()?;
        let address = || fs::read_to_string(&printed).unwrap_or_default();
        wait_until("the page server's address", || address().ends_with('\n'))?;
        let address = address();
        let flags = ["--image-path", &here, "--leave-running", "--page-server", address.trim_end()];
        container.cmd("checkpoint", &flags).output()?;
        let is_done = server.output()?.code == 0;
        assert!(!is_done || !fs::symlink_metadata(&path)?.is_symlink(), "{name} is a link still");
        assert_eq!(fs::read_to_string(&victim)?, SECRET, "{name}");
    }
    counts_on(&container.bundle, "/log", 3)
}
