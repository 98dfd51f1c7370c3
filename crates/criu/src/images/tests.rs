//! Whole directories: in memory, cut off everywhere, and as enemies could make them.
#![allow(clippy::unwrap_used)]

use super::frame::{Magic, image};
use super::*;
use crate::wire::images as wire;
use prost::Message;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

const COMMON: u32 = 0x5456_4319;

type Contents = BTreeMap<String, (Vec<u8>, u64)>;

fn put(files: &mut Contents, name: &str, kind: Magic, messages: &[Vec<u8>]) {
    let head = if kind == Magic::INVENTORY { vec![kind.0] } else { vec![COMMON, kind.0] };
    let bytes = image(&head, messages);
    let length = bytes.len() as u64;
    files.insert(name.to_owned(), (bytes, length));
}

fn run(vaddr: u64, nr_pages: u64, flags: u32) -> Vec<u8> {
    let entry = wire::PagemapEntry {
        vaddr: Some(vaddr),
        nr_pages: Some(nr_pages),
        flags: Some(flags),
        ..Default::default()
    };
    entry.encode_to_vec()
}

fn head(pages_id: u32) -> Vec<u8> {
    wire::PagemapHead { pages_id: Some(pages_id) }.encode_to_vec()
}

/// Two processes, one of them a zombie; a file, a socket and a memfd; a mount.
fn dump() -> Contents {
    let mut files = Contents::new();
    let inventory = wire::InventoryEntry { img_version: Some(2), ..Default::default() };
    put(&mut files, "inventory.img", Magic::INVENTORY, &[inventory.encode_to_vec()]);
    let process = |pid, ppid| wire::PstreeEntry {
        pid: Some(pid),
        ppid: Some(ppid),
        threads: vec![pid],
        ..Default::default()
    };
    let processes = [process(1, 0).encode_to_vec(), process(5, 1).encode_to_vec()];
    put(&mut files, "pstree.img", Magic::PSTREE, &processes);
    for (pid, state, name) in [(1, 1, "sh"), (5, 2, "gone")] {
        let tc = wire::TaskCoreEntry {
            task_state: Some(state),
            exit_code: Some(0x300),
            comm: Some(name.as_bytes().to_vec()),
        };
        let core = wire::CoreEntry { tc: Some(tc), ids: None };
        put(&mut files, &format!("core-{pid}.img"), Magic::CORE, &[core.encode_to_vec()]);
    }
    memory_of(&mut files);
    open_by(&mut files);
    let mount = wire::MntEntry {
        fstype: Some(5),
        root_dev: Some(42),
        mountpoint: Some(b"/tmp".to_vec()),
        root: Some(b"/".to_vec()),
        ..Default::default()
    };
    put(&mut files, "mountpoints-13.img", Magic::MNTS, &[mount.encode_to_vec()]);
    files.insert("tmpfs-dev-42.tar.gz.img".into(), (Vec::new(), 777));
    files
}

fn memory_of(files: &mut Contents) {
    let vma = |start, end, status, shmid| {
        let vma = wire::VmaEntry {
            start: Some(start),
            end: Some(end),
            prot: Some(3),
            status: Some(status),
            shmid: Some(shmid),
        };
        let vma = vma.encode_to_vec();
        [vec![(14 << 3) | 2, u8::try_from(vma.len()).unwrap()], vma].concat()
    };
    // Private anonymous memory of ten pages, of which three are written; and a mapped memfd.
    let mm = wire::MmEntry { exe_file_id: Some(1) }.encode_to_vec();
    let mm = [mm, vma(0x10000, 0x1a000, 0x201, 0), vma(0x20000, 0x24000, 0x4081, 3)].concat();
    put(files, "mm-1.img", Magic::MM, &[mm]);
    put(files, "pagemap-1.img", Magic::PAGEMAP, &[head(1), run(0x8000, 2, 4), run(0x12000, 3, 6)]);
    put(files, "pagemap-shmem-77.img", Magic::PAGEMAP, &[head(2), run(0, 4, 4)]);
    files.insert("pages-1.img".into(), (Vec::new(), 5 * 4096));
    files.insert("pages-2.img".into(), (Vec::new(), 4 * 4096));
}

fn open_by(files: &mut Contents) {
    let ids = wire::TaskKobjIdsEntry { files_id: Some(2), pid_ns_id: Some(9), ..Default::default() };
    put(files, "ids-1.img", Magic::IDS, &[ids.encode_to_vec()]);
    let fdinfo = |fd, kind, id| wire::FdinfoEntry { fd: Some(fd), r#type: Some(kind), id: Some(id) };
    let table = [fdinfo(3, 4, 2), fdinfo(0, 1, 1), fdinfo(4, 18, 3)].map(|entry| entry.encode_to_vec());
    put(files, "fdinfo-2.img", Magic::FDINFO, &table);
    let reg = wire::RegFileEntry { id: Some(1), name: Some(b"/bin/sh".to_vec()), ..Default::default() };
    let isk = wire::InetSkEntry {
        id: Some(2),
        proto: Some(6),
        state: Some(10),
        src_port: Some(80),
        src_addr: vec![u32::from_ne_bytes([10, 0, 0, 1])],
        ..Default::default()
    };
    let memfd = wire::MemfdFileEntry { id: Some(3), inode_id: Some(1) };
    let entries = [
        wire::FileEntry { r#type: Some(1), id: Some(1), reg: Some(reg), ..Default::default() },
        wire::FileEntry { r#type: Some(4), id: Some(2), isk: Some(isk), ..Default::default() },
        wire::FileEntry { r#type: Some(18), id: Some(3), memfd: Some(memfd), ..Default::default() },
    ];
    put(files, "files.img", Magic::FILES, &entries.map(|entry| entry.encode_to_vec()));
    let inode = wire::MemfdInodeEntry { name: Some(b"shm".to_vec()), shmid: Some(77), inode_id: Some(1) };
    put(files, "memfd.img", Magic::MEMFD_INODE, &[inode.encode_to_vec()]);
}

#[test]
fn a_dump_is_told_in_full() {
    let images = in_memory(dump()).unwrap();
    assert_eq!((images.kind, images.page_size), (Kind::Dump, 4096));
    let [shell, zombie] = &images.processes[..] else { panic!("{:?}", images.processes) };
    assert_eq!((shell.name.as_deref(), shell.state, shell.depth), (Some("sh"), Some(State::Alive), 0));
    assert_eq!((zombie.state, zombie.depth), (Some(State::Zombie(0x300)), 1));
    let memory = shell.memory.unwrap();
    assert_eq!((memory.own.dumped, memory.untouched, memory.shared), (5, Some(7), 4));
    assert_eq!((zombie.memory, images.pages().dumped), (None, 9));
    assert_eq!(images.path(shell.program), Some("/bin/sh"));
    let name = |it: &Descriptor| (it.fd, images.file(it.kind, it.id).unwrap().name.clone());
    let open: Vec<_> = images.descriptors(shell).iter().map(name).collect();
    let wanted = [(0, "/bin/sh"), (3, "tcp 10.0.0.1:80 listening"), (4, "shm")];
    assert_eq!(open, wanted.map(|(fd, name)| (fd, name.to_owned())));
    let mount = &images.mounts[0];
    assert_eq!(
        (mount.mountpoint.as_str(), mount.file_system.as_str(), mount.content),
        ("/tmp", "tmpfs", Some(777))
    );
    assert_eq!(images.namespaces.own, ["pid"]);
    assert_eq!(images.sizes["pages"].files, 2);
}

#[test]
fn other_kinds_are_told_from_it() {
    let without = |gone: &[&str]| {
        let mut files = dump();
        files.retain(|name, _| !gone.iter().any(|gone| name.starts_with(gone)));
        in_memory(files).map(|images| images.kind).map_err(|error| error.to_string())
    };
    assert_eq!(without(&["pagemap-1", "pages-1"]), Ok(Kind::WithoutMemory));
    assert_eq!(without(&["pstree", "core"]), Ok(Kind::PreDump));
    assert_eq!(without(&["inventory", "pstree", "core"]), Ok(Kind::Received));
    assert!(without(&["inventory"]).unwrap_err().contains("no inventory.img in it, which is written last"));
    assert!(without(&[""]).unwrap_err().contains("no images of CRIU's in it"));
    let mut files = dump();
    put(&mut files, "pagemap-1.img", Magic::PAGEMAP, &[head(1), run(0x8000, 5, 4), run(0x12000, 3, 2)]);
    let images = in_memory(files).unwrap();
    assert_eq!((images.kind, images.pages().lazy), (Kind::Lazy, 3));
    let versioned = |img_version: u32, pre_dump_mode: Option<u32>| {
        let mut files = dump();
        files.retain(|name, _| {
            pre_dump_mode.is_none() || !name.starts_with("pstree") && !name.starts_with("core")
        });
        let inventory =
            wire::InventoryEntry { img_version: Some(img_version), pre_dump_mode, ..Default::default() };
        put(&mut files, "inventory.img", Magic::INVENTORY, &[inventory.encode_to_vec()]);
        in_memory(files).map(|images| images.kind).map_err(|error| error.to_string())
    };
    assert!(versioned(3, None).unwrap_err().contains("version 3, and this rt knows 1 and 2"));
    assert!(versioned(0, None).unwrap_err().contains("version 0, and this rt knows 1 and 2"));
    assert_eq!(versioned(0, Some(1)), Ok(Kind::PreDump));
}

#[test]
fn files_of_old_versions_are_read() {
    let mut files = dump();
    files.remove("files.img");
    files.remove("memfd.img");
    let reg = wire::RegFileEntry { id: Some(1), name: Some(b"/bin/old".to_vec()), ..Default::default() };
    let isk = wire::InetSkEntry { id: Some(2), proto: Some(17), state: Some(7), ..Default::default() };
    put(&mut files, "reg-files.img", Magic::REG_FILES, &[reg.encode_to_vec()]);
    put(&mut files, "inetsk.img", Magic::INETSK, &[isk.encode_to_vec()]);
    let images = in_memory(files).unwrap();
    let names: Vec<_> = images.files().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["/bin/old", "udp ? unconnected"]);
}

#[test]
fn a_file_that_is_missing_is_named_with_who_needs_it() {
    for (name, words) in [
        ("core-5.img", "process 5 is in pstree.img"),
        ("pages-1.img", "pagemap-1.img says what is in it"),
        ("fdinfo-2.img", "a process has descriptors in it"),
        ("pstree.img", "there are processes"),
    ] {
        let mut files = dump();
        files.remove(name);
        let error = in_memory(files).unwrap_err().to_string();
        assert!(error.starts_with(&format!("images/{name}: no such file, but {words}")), "{error}");
    }
}

/// Whatever is cut off or overwritten is told, as long as it can be seen, and nothing panics.
#[test]
fn damage_is_seen_at_every_byte() {
    let whole = dump();
    for (name, (bytes, _)) in whole.iter().filter(|(_, (bytes, _))| !bytes.is_empty()) {
        let head = if name == "inventory.img" { 4 } else { 8 };
        let mut ends = vec![head];
        while let Some(size) = bytes.get(ends[ends.len() - 1]..).and_then(<[u8]>::first_chunk) {
            ends.push(ends[ends.len() - 1] + 4 + u32::from_le_bytes(*size) as usize);
        }
        for cut in 0..bytes.len() {
            let mut files = whole.clone();
            files.insert(name.clone(), (bytes[..cut].to_vec(), cut as u64));
            let read = in_memory(files);
            // Only entries that are gone as a whole are not missed, unless somebody needs them.
            if !ends.contains(&cut) {
                let error = read.unwrap_err();
                assert_eq!(error.file, format!("images/{name}"), "{cut}: {error}");
            }
            for value in [0, 0x7f, 0xff] {
                let mut files = whole.clone();
                let mut damaged = bytes.clone();
                damaged[cut] = value;
                files.insert(name.clone(), (damaged, bytes.len() as u64));
                let _ = in_memory(files);
            }
        }
    }
}

#[test]
fn pages_that_are_too_few_or_of_another_machine_are_noticed() {
    let mut files = dump();
    files.insert("pages-1.img".into(), (Vec::new(), 5 * 4096 - 1));
    let error = in_memory(files).unwrap_err().to_string();
    assert!(
        error.contains("images/pages-1.img: has 20479 bytes, which are not the 5 pages of pagemap-1.img"),
        "{error}"
    );
    let mut files = dump();
    files.insert("pages-1.img".into(), (Vec::new(), 5 << 16));
    files.insert("pages-2.img".into(), (Vec::new(), 4 << 16));
    let images = in_memory(files).unwrap();
    assert_eq!((images.page_size, images.processes[0].memory.unwrap().untouched), (1 << 16, None));
}

/// Writes a dump into a directory.
fn write(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (name, (bytes, length)) in dump() {
        fs::write(dir.join(&name), &bytes).unwrap();
        File::options().write(true).open(dir.join(name)).unwrap().set_len(length).unwrap();
    }
}

fn look(dir: &Path) -> std::result::Result<Images, String> {
    read(File::open(dir).unwrap().as_fd(), dir).map_err(|error| error.to_string())
}

#[test]
fn what_is_no_file_is_neither_followed_nor_waited_for() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("images");
    write(&dir);
    assert_eq!(look(&dir).unwrap().pages().dumped, 9);
    for name in ["inventory.img", "pstree.img", "core-1.img", "mm-1.img", "pagemap-1.img", "files.img"] {
        let (file, kept) = (dir.join(name), base.path().join("kept"));
        fs::rename(&file, &kept).unwrap();
        symlink(&kept, &file).unwrap();
        let error = look(&dir).unwrap_err();
        assert!(error.contains(&format!("{name}: is a symbolic link, not a file")), "{error}");
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &file,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o600),
            0,
        )
        .unwrap();
        let error = look(&dir).unwrap_err();
        assert!(error.contains(&format!("{name}: is a fifo, not a file")), "{error}");
        fs::remove_file(&file).unwrap();
        fs::rename(&kept, &file).unwrap();
    }
    // A sparse file of a terabyte is not read through.
    File::options().write(true).open(dir.join("pagemap-1.img")).unwrap().set_len(1 << 40).unwrap();
    let error = look(&dir).unwrap_err();
    assert!(error.contains("pagemap-1.img: 1099511627776 bytes to read through"), "{error}");
}

#[test]
fn parents_are_followed_to_the_last_and_never_in_a_circle() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    for name in ["1", "2", "3"] {
        write(&at(name));
    }
    symlink("../1", at("2").join("parent")).unwrap();
    symlink("../2", at("3").join("parent")).unwrap();
    let parents = look(&at("3")).unwrap().parents;
    let links: Vec<_> = parents.iter().map(|it| (it.link.as_str(), it.found.unwrap().kind)).collect();
    assert_eq!(links, [("../2", Kind::Dump), ("../1", Kind::Dump)]);
    assert_eq!(parents[1].path, fs::canonicalize(at("1")).unwrap());
    assert_eq!(parents[0].found.unwrap().pages.length, 9 * 4096);
    let relinked = |target: &str| {
        let link = at("1").join("parent");
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        look(&at("3")).map(|images| images.parents)
    };
    let parents = relinked("../gone").unwrap();
    assert_eq!((parents.len(), parents[2].found), (3, None));
    for (target, words) in [
        ("../3", "leads back to"),
        (".", "leads back to"),
        ("/etc", "\"/etc\", which is not relative"),
        ("parent", "leads over another symbolic link"),
        ("pstree.img", "not a directory"),
    ] {
        let error = relinked(target).unwrap_err();
        assert!(error.contains("1/parent: ") && error.contains(words), "{target}: {error}");
    }
    fs::remove_file(at("1").join("parent")).unwrap();
    fs::create_dir(at("1").join("parent")).unwrap();
    assert!(look(&at("3")).unwrap_err().contains("1/parent: is not a symbolic link"));
}
