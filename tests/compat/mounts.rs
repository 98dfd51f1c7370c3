//! `mounts`: kinds, options, sources and targets.

use crate::differences::{
    BIND_BY_TYPE, CONFIG_FIRST, LATER_RUNC, NO_SOURCE, NOT_YET, OTHER_WORDS, PROC_IS_WHOLE,
    ROOT_MAY_BE_A_LINK, SYSFS_PER_MOUNT,
};
use crate::engine::{Comparison, case};
use testkit::json;

/// The mount at `/m` as mountinfo has it: root, options, propagation (without the number of the peer group, which depends on what else
/// is mounted on the machine), type and the file system's options.
const LOOK: &str = "grep ' /m ' /proc/self/mountinfo | cut -d' ' -f4- | sed 's/:[0-9]* - / - /'";

pub(crate) fn cases() -> Vec<Comparison> {
    [kinds(), options(), binds(), targets()].into_iter().flatten().collect()
}

fn tmpfs(name: &'static str, options: &'static str) -> Comparison {
    case(name).mount("/m", "tmpfs", "tmpfs", options)
}

fn kinds() -> Vec<Comparison> {
    vec![
        tmpfs("option_defaults", "defaults").sh(LOOK).intended(&LATER_RUNC),
        tmpfs("option_remount", "remount").sh(LOOK).intended(&OTHER_WORDS),
        tmpfs("option_rro", "rro").sh(LOOK).intended(&LATER_RUNC),
        tmpfs("option_rnosuid", "rnosuid,rnodev,rnoexec").sh(LOOK).intended(&LATER_RUNC),
        tmpfs("tmpfs", "").sh(LOOK),
        tmpfs("tmpfs_size", "size=64k,mode=700")
            .sh("grep ' /m ' /proc/self/mountinfo | cut -d' ' -f4-; stat -c %a /m"),
        tmpfs("tmpfs_of_a_user", "uid=5,gid=6,mode=0750").sh("stat -c '%a %u %g' /m"),
        tmpfs("tmpfs_mode_of_the_directory", "")
            .host("mkdir -m 711 m; chown 3:4 m")
            .sh("stat -c '%a %u %g' /m"),
        tmpfs("tmpfs_copy_up", "tmpcopyup")
            .host("mkdir -p m/d; echo x >m/d/f; ln -s d m/l; chmod 640 m/d/f")
            .sh("ls -R /m; cat /m/d/f; stat -c %a /m/d/f; readlink /m/l"),
        tmpfs("tmpfs_copy_up_read_only", "tmpcopyup,ro")
            .host("mkdir m; echo x >m/f")
            .sh("cat /m/f; touch /m/y"),
        case("proc").mount("/m", "proc", "proc", "").sh(LOOK),
        case("proc_with_options").mount("/m", "proc", "proc", "nosuid,noexec,nodev").sh(LOOK),
        case("proc_hidepid").mount("/m", "proc", "proc", "hidepid=2").sh(LOOK),
        case("sysfs").mount("/m", "sysfs", "sysfs", "ro").sh(LOOK).intended(&SYSFS_PER_MOUNT),
        case("mqueue").mount("/m", "mqueue", "mqueue", "nosuid").sh(LOOK),
        case("devpts").mount("/m", "devpts", "devpts", "newinstance,ptmxmode=0666,mode=0620").sh(LOOK),
        case("ramfs")
            .mount("/m", "ramfs", "ramfs", "mode=700")
            .sh("stat -c %a /m; grep ' /m ' /proc/self/mountinfo | cut -d' ' -f4-"),
        case("unknown_type").mount("/m", "nonsense", "nonsense", ""),
        case("unknown_data").mount("/m", "tmpfs", "tmpfs", "nonsense=1"),
        case("without_type")
            .push("/mounts", json!({"destination": "/m", "source": "tmpfs"}))
            .intended(&CONFIG_FIRST),
        case("without_source")
            .push("/mounts", json!({"destination": "/m", "type": "tmpfs"}))
            .sh(LOOK)
            .intended(&NO_SOURCE),
    ]
}

fn options() -> Vec<Comparison> {
    [
        ("option_ro", "ro"),
        ("option_rw", "rw"),
        ("option_nosuid_nodev_noexec", "nosuid,nodev,noexec"),
        ("option_last_one_wins", "ro,rw,nosuid,suid"),
        ("option_noatime", "noatime"),
        ("option_relatime", "relatime"),
        ("option_strictatime", "strictatime"),
        ("option_nodiratime", "nodiratime"),
        ("option_sync", "sync"),
        ("option_dirsync", "dirsync"),
        ("option_lazytime", "lazytime"),
        ("option_mand", "mand"),
        ("option_iversion", "iversion"),
        ("option_silent", "silent"),
        ("option_private", "private"),
        ("option_shared", "shared"),
        ("option_slave", "slave"),
        ("option_unbindable", "unbindable"),
        ("option_rprivate", "rprivate"),
        ("option_rshared", "rshared"),
        ("option_acl", "acl"),
        ("option_empty", ""),
    ]
    .into_iter()
    .map(|(name, options)| tmpfs(name, options).sh(LOOK))
    .collect()
}

/// A bind of a directory with a file `f` and a tmpfs `below` in it, which exist before the container.
fn bound(name: &'static str, options: &'static str) -> Comparison {
    case(name)
        .host("mkdir -p ../source/below; echo text >../source/f")
        .mount("/m", "bind", "source", options)
        .mount("/n", "tmpfs", "none", "")
}

fn binds() -> Vec<Comparison> {
    const LOOK: &str = "grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6-7 | sed 's/:[0-9]*$//'; ls /m; touch /m/x && echo writable";
    let mut all: Vec<_> = [
        ("bind", "bind"),
        ("rbind", "rbind"),
        ("bind_ro", "bind,ro"),
        ("rbind_ro", "rbind,ro"),
        ("bind_rro", "rbind,rro"),
        ("bind_nosuid_nodev_noexec", "bind,nosuid,nodev,noexec"),
        ("bind_noatime", "bind,noatime"),
        ("bind_private", "rbind,rprivate"),
        ("bind_shared", "rbind,rshared"),
        ("bind_slave", "rbind,rslave"),
        ("bind_unbindable", "rbind,runbindable"),
    ]
    .into_iter()
    .map(|(name, options)| bound(name, options).sh(LOOK))
    .collect();
    all.extend([
        bound("bind_with_data", "bind,mode=700").sh(LOOK).intended(&LATER_RUNC),
        bound("bind_by_type_alone", "").sh(LOOK).intended(&BIND_BY_TYPE),
        case("bind_by_option_alone")
            .host("mkdir ../source; touch ../source/f")
            .push("/mounts", json!({"destination": "/m", "source": "source", "options": ["bind"]}))
            .sh("ls /m"),
        case("bind_file")
            .host("echo text >../source")
            .mount("/m", "bind", "source", "bind")
            .sh("cat /m; echo y >/m; stat -c %F /m"),
        case("bind_file_ro")
            .host("echo text >../source")
            .mount("/m", "bind", "source", "bind,ro")
            .sh("cat /m; echo y >/m"),
        case("bind_file_below_missing")
            .host("echo text >../source")
            .mount("/a/b/c", "bind", "source", "bind")
            .sh("cat /a/b/c; stat -c '%a %F' /a /a/b"),
        case("bind_device").mount("/m", "bind", "/dev/null", "bind").sh("stat -c '%F %t %T' /m"),
        case("bind_source_missing").mount("/m", "bind", "no-such", "bind"),
        case("bind_source_is_a_link")
            .host("mkdir ../real; touch ../real/f; ln -s real ../source")
            .mount("/m", "bind", "source", "bind")
            .sh("ls /m"),
        case("bind_file_on_a_directory")
            .host("mkdir m; echo text >../source")
            .mount("/m", "bind", "source", "bind"),
        case("bind_directory_on_a_file")
            .host("touch m; mkdir ../source")
            .mount("/m", "bind", "source", "bind"),
        case("bind_on_the_root")
            .host("mkdir ../source")
            .mount("/", "bind", "source", "bind")
            .intended(&OTHER_WORDS),
        case("bind_idmapped_without_user")
            .host("mkdir ../source")
            .mount("/m", "bind", "source", "bind,idmap")
            .intended(&NOT_YET),
    ]);
    all
}

fn targets() -> Vec<Comparison> {
    vec![
        case("target_is_a_link")
            .host("mkdir real; ln -s real m")
            .mount("/m", "tmpfs", "t", "")
            .sh("grep -o ' /real ' /proc/self/mountinfo"),
        case("target_is_a_link_to_the_host")
            .host("ln -s ../../../../../../../tmp/out-of-here m")
            .mount("/m", "tmpfs", "t", "")
            .sh("grep -o ' /tmp/out-of-here ' /proc/self/mountinfo"),
        case("target_absolute_link")
            .host("ln -s /etc m")
            .mount("/m", "tmpfs", "t", "")
            .sh("grep -o ' /etc ' /proc/self/mountinfo"),
        case("target_dangling_link")
            .host("ln -s /not/there m")
            .mount("/m", "tmpfs", "t", "")
            .sh("grep -o ' /not/there ' /proc/self/mountinfo"),
        case("target_with_dots")
            .mount("/etc/../../m/./x", "tmpfs", "t", "")
            .sh("grep -o ' /m/x ' /proc/self/mountinfo"),
        case("target_made").mount("/a/b/c", "tmpfs", "t", "mode=755").sh("stat -c '%a %u %g' /a /a/b /a/b/c"),
        case("target_below_another_mount")
            .mount("/a", "tmpfs", "t", "")
            .mount("/a/b", "tmpfs", "t", "")
            .sh("grep -c ' /a' /proc/self/mountinfo"),
        case("target_twice")
            .mount("/m", "tmpfs", "one", "")
            .mount("/m", "tmpfs", "two", "")
            .sh("grep ' /m ' /proc/self/mountinfo | cut -d' ' -f4-"),
        case("target_below_a_file").mount("/etc/passwd/m", "tmpfs", "t", ""),
        case("target_relative")
            .push("/mounts", json!({"destination": "m", "type": "tmpfs", "source": "t"}))
            .sh("ls -d /m"),
        case("target_empty")
            .push("/mounts", json!({"destination": "", "type": "tmpfs", "source": "t"}))
            .sh("echo ran")
            .intended(&CONFIG_FIRST),
        case("target_in_proc").mount("/proc/sys", "tmpfs", "t", "").intended(&PROC_IS_WHOLE),
        case("target_proc_itself").mount("/proc", "tmpfs", "t", "").intended(&OTHER_WORDS),
        case("target_dev_with_console")
            .mount("/dev/mine", "tmpfs", "t", "mode=700")
            .sh("stat -c '%F %a' /dev/mine"),
        case("target_with_blanks")
            .push("/mounts", json!({"destination": "/a b", "type": "tmpfs", "source": "t"}))
            .sh("grep -o ' /a.040b ' /proc/self/mountinfo"),
        case("no_pivot")
            .sh("ls / | wc -l; grep -c . /proc/self/mountinfo")
            .steps("run --no-pivot --bundle $B $I"),
        case("root_path_absolute_link")
            .host("ln -s rootfs ../other")
            .set("/root/path", json!("other"))
            .sh("ls -d /etc")
            .intended(&ROOT_MAY_BE_A_LINK),
    ]
}
