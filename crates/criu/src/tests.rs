//! Properties of the requests as they go over the wire.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use proptest::prelude::*;
use prost::Message;

use crate::wire::{CriuOpts, CriuResp};
use crate::{
    AfterDump, CgroupMode, CgroupRoot, Dump, Images, InheritFd, JoinNamespace, LogLevel, NetworkLock,
    PageSocket, PreDump, PreDumpMode, Restore,
};

fn wire(opts: &CriuOpts) -> CriuOpts {
    CriuOpts::decode(opts.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn nothing_is_sent_that_nobody_asked_for() {
    let dir = File::open("/").unwrap();
    let images = Images::new(dir.as_fd());
    let bare = CriuOpts { images_dir_fd: dir.as_raw_fd(), ..Default::default() };
    assert_eq!(Restore::new(images.clone()).to_wire(), bare);
    assert_eq!(Dump::new(7, images.clone()).to_wire(), CriuOpts { pid: Some(7), ..bare.clone() });
    let round = CriuOpts { pid: Some(7), track_mem: Some(true), ..bare };
    assert_eq!(PreDump::new(7, images).to_wire(), round);
}

#[test]
fn options_arrive_under_their_names() {
    let (dir, work) = (File::open("/").unwrap(), File::open("/tmp").unwrap());
    let mut images = Images::new(dir.as_fd());
    images.work_dir = Some(work.as_fd());
    images.log_level = Some(LogLevel::Debug);
    images.log_file = Some("dump.log".into());
    let mut dump = Dump::new(7, images.clone());
    dump.after = AfterDump::Stop;
    dump.allow.network_lock = Some(NetworkLock::Skip);
    dump.cgroups.mode = Some(CgroupMode::Ignore);
    dump.cgroups.roots = vec![CgroupRoot { controller: None, path: "/a".into() }];
    dump.page_server = Some(PageSocket::Tcp { address: Some("::1".into()), port: 65535 });
    dump.allow.tcp.close = true;
    let opts = wire(&dump.to_wire());
    assert_eq!((opts.work_dir_fd, opts.log_level), (Some(work.as_raw_fd()), Some(4)));
    assert_eq!((opts.leave_stopped, opts.leave_running, opts.tcp_close), (Some(true), None, Some(true)));
    assert_eq!(
        (opts.network_lock, opts.manage_cgroups_mode, opts.manage_cgroups),
        (Some(3), Some(0), Some(true))
    );
    assert_eq!(opts.ps.unwrap().port, Some(65535));
    let mut round = PreDump::new(7, images.clone());
    round.mode = Some(PreDumpMode::VmRead);
    assert_eq!(wire(&round.to_wire()).pre_dump_mode, Some(2));
    let mut restore = Restore::new(images);
    restore.sibling = true;
    restore.join_ns =
        vec![JoinNamespace { kind: "user".into(), path: "/x".into(), extra: Some("0,0".into()) }];
    restore.page_server = Some(PageSocket::Fd(5));
    let opts = wire(&restore.to_wire());
    assert_eq!(
        (opts.rst_sibling, opts.ps.unwrap().fd, opts.join_ns[0].ns.as_str()),
        (Some(true), Some(5), "user")
    );
}

proptest! {
    #[test]
    fn requests_survive_the_wire(
        pid in 1..i32::MAX,
        external in proptest::collection::vec("\\PC{0,40}", 0..20),
        keys in proptest::collection::vec(("\\PC{0,20}", 4..100_i32), 0..20),
        flags in any::<[bool; 6]>(),
        ghost_limit in any::<Option<u32>>(),
    ) {
        let dir = File::open("/").unwrap();
        let mut dump = Dump::new(pid, Images::new(dir.as_fd()));
        dump.external.clone_from(&external);
        dump.ghost_limit = ghost_limit;
        let allow = &mut dump.allow;
        [allow.tcp.established, allow.shell_job, allow.file_locks, allow.link_remap, allow.ext_unix_sk, dump.lazy_pages] = flags;
        let opts = wire(&dump.to_wire());
        prop_assert_eq!(&opts.external, &external);
        prop_assert_eq!((opts.pid, opts.ghost_limit), (Some(pid), ghost_limit));
        let sent = [
            opts.tcp_established, opts.shell_job, opts.file_locks, opts.link_remap, opts.ext_unix_sk, opts.lazy_pages,
        ];
        prop_assert_eq!(sent, flags.map(|flag| flag.then_some(true)));
        let mut restore = Restore::new(Images::new(dir.as_fd()));
        restore.inherit_fds = keys.iter().map(|(key, fd)| InheritFd { key: key.clone(), fd: *fd }).collect();
        let opts = wire(&restore.to_wire());
        prop_assert_eq!(opts.inherit_fd.iter().map(|one| (one.key.clone(), one.fd)).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = CriuResp::decode(bytes.as_slice());
    }
}
