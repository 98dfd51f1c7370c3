//! What CRIU learned of the kernel is still known to the next one, whatever /run is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use criu::{Features, kernel_cache};
use sys::view::MountView;

use crate::support::{binary, start};

/// On a thread of its own, since a mount namespace belongs to a thread, and in a view where /run is on no tmpfs.
#[test]
fn the_next_criu_knows_the_kernel_where_run_is_no_tmpfs() {
    let Some(binary) = binary() else { return };
    let run = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::create_dir(run.path().join("lock")).unwrap();
    for (name, text) in [("lock/held", "below"), ("file", "here")] {
        std::fs::write(run.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("/proc/self", run.path().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", run.path().join("dangling")).unwrap();
    let checked = std::thread::spawn(move || {
        let outer = MountView::private().unwrap();
        outer.bind(run.path(), Path::new("/run")).unwrap();
        let Some(view) = kernel_cache::view() else {
            eprintln!("SKIP the directories of tests are on a tmpfs");
            return;
        };
        let text = |path: &str| std::fs::read_to_string(path).unwrap();
        assert_eq!((text("/run/lock/held"), text("/run/file")), ("below".into(), "here".into()));
        assert!(Path::new("/run/link/status").exists());
        // The first replaces what is not its own; the second would do so again if it had not read it.
        std::fs::write("/run/criu.kdat", "of another version").unwrap();
        let [first, second] = [(); 2].map(|()| {
            start(&binary).features(Features::ALL).unwrap();
            std::fs::metadata("/run/criu.kdat").unwrap()
        });
        assert!(first.len() > 100, "{first:?}");
        assert_eq!((first.ino(), first.mtime_nsec()), (second.ino(), second.mtime_nsec()));
        drop(view);
        assert!(!Path::new("/run/criu.kdat").exists(), "the view is left, and the host's /run is as it was");
    });
    checked.join().unwrap();
}
