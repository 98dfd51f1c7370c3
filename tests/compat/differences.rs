//! Where rt differs from runc on purpose: what, why, and how the two compare once that, and nothing else, is taken out.

/// One difference.
pub(crate) struct Intended {
    /// What a user sees.
    pub(crate) what: &'static str,
    /// Why it is so.
    pub(crate) reason: &'static str,
    /// How it is taken out of a transcript.
    pub(crate) change: Change,
}

/// How a difference is taken out.
pub(crate) enum Change {
    /// What a line that shows it reads as on both, empty if it counts for nothing; None for any other line.
    Line(fn(&str) -> Option<String>),
    /// rt refuses what runc runs.
    Refused,
    /// rt runs what runc refuses.
    Runs,
    /// What is printed, and how it ends: the two do not do the same.
    Everything,
    /// Words of rt and of runc that mean the same here.
    Words(&'static [(&'static str, &'static str)]),
}

impl Intended {
    /// Whether two transcripts that differ do so in this way.
    pub(crate) fn is_between(&self, ours: &str, its: &str) -> bool {
        let refused = |text: &str| text.contains("\nerror ");
        match self.change {
            Change::Refused => refused(ours) && !refused(its),
            Change::Runs => !refused(ours) && refused(its),
            _ => true,
        }
    }

    /// The transcript without the difference.
    pub(crate) fn without(&self, text: &str) -> String {
        match self.change {
            Change::Line(normal) => {
                let lines = text.lines().map(|line| normal(line).unwrap_or_else(|| line.to_owned()));
                lines.filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
            }
            Change::Refused | Change::Runs | Change::Everything => String::new(),
            Change::Words(pairs) => {
                pairs.iter().fold(text.to_owned(), |text, (ours, its)| text.replace(ours, its))
            }
        }
    }
}

/// Any class of error reads as `refused`.
const ANY_ERROR: Change = Change::Line(|line| line.starts_with("error ").then(|| "refused".to_owned()));
/// Any error of `exec` reads as `refused`.
const ANY_FAILURE: Change = Change::Line(|line| {
    (line.starts_with("error ") || ["status 1", "status 126", "status 127", "status 255"].contains(&line))
        .then(|| "refused".to_owned())
});
/// Declares differences: name, what, reason, change.
macro_rules! differences {
    ($($name:ident: $what:literal, $reason:literal, $change:expr;)+) => {
        $(pub(crate) const $name: Intended = Intended { what: $what, reason: $reason, change: $change };)+
    };
}

differences! {
    CONFIG_FIRST:
        "What cannot be is refused before anything is made, and the error names the field by its JSON path",
        "runc checks a part of config.json, and tells of the rest what the kernel says when it comes to it",
        ANY_ERROR;
    STRICTER:
        "A value that means nothing is refused",
        "runc ignores it, so the container runs with something else than its author asked for",
        Change::Refused;
    BOTH_GENERATIONS:
        "On a hybrid machine a limit whose controller only cgroup2 has is set there",
        "runc looks at v1's hierarchies alone, and fails",
        Change::Everything;
    OTHER_WORDS:
        "The same refusal is told in other words",
        "the words come from another system call, or from another place on the way",
        ANY_ERROR;
    LATER_RUNC:
        "As runc 1.2 to 1.5 do it",
        "the runc compared with is 1.1.5, which does not know this yet",
        Change::Everything;
    NOT_YET:
        "Not there yet",
        "rt refuses by name what it does not do, rather than run a container with less than was asked for",
        Change::Everything;
    EXIT_CODES:
        "A program that is not there gives 127, one that cannot be run 126, any other error 1",
        "as a shell and crun do it; runc gives 1 for `run` and 255 for each of them for `exec`",
        ANY_FAILURE;
    USAGE_EXIT:
        "An unknown command or help topic gives 1",
        "every error of rt's own does; runc gives 3",
        Change::Words(&[("status 1\n", "status 3\n")]);
    VERSION_CHECKED:
        "`ociVersion` must be 1.x",
        "the specification has runtimes refuse what they do not support; runc does not look at it",
        Change::Refused;
    KEYS_BY_CASE:
        "The keys of config.json are told apart by case",
        "the specification writes them in one way; Go's JSON library takes `HostName` for `hostname`",
        Change::Everything;
    CAPABILITIES_BY_NAME:
        "A capability may be written in small letters, and without `CAP_`",
        "who writes so means it; runc ignores such a name with a warning, as any that it does not know",
        Change::Everything;
    LISTS_AS_OBJECTS:
        "`[]` for an object without required fields counts as one without fields",
        "it can mean nothing else",
        Change::Runs;
    OWNER_AND_VERSION:
        "`state` names the owner, and the version of the specification that rt implements",
        "runc names the owner in `list` alone",
        Change::Line(|line| {
            let version = line.contains("\"ociVersion\":").then(|| {
                line.replace("1.3.0", "VERSION").replace("1.0.2", "VERSION").replace("#.#.#-dev", "#.#.#")
            });
            version.or_else(|| line.contains("\"owner\": \"").then(|| "  \"owner\"".to_owned()))
        });
    EMPTY_LISTS:
        "An empty list is `[]`",
        "runc prints `null`, over which scripts stumble",
        Change::Words(&[("[]\n", "null\n")]);
    HOOK_ENVIRONMENT:
        "A hook on the host has the environment that config.json gives it, and nothing else",
        "runc 1.1 hands on the caller's where none is given, with whatever secrets are in it",
        Change::Everything;
    POSTSTART_AT_START:
        "poststart hooks run after `start`, with the status `running`",
        "so the specification says; runc 1.1 runs them at the end of `create`, with the status `created`",
        Change::Line(|line| {
            let of_state = line.contains("\"ociVersion\":").then(|| {
                line.replace("running", "created").replace("1.3.0", "VERSION").replace("1.0.2", "VERSION")
            });
            of_state.or_else(|| matches!(line, "poststart" | "ran").then(String::new))
        });
    FORMS_OF_A_FLAG:
        "The long and the short form of an option may be mixed",
        "why not; runc refuses `-e A=1 --env B=2`",
        Change::Runs;
    CGROUP_PATH:
        "`linux.cgroupsPath` must not hold `..`",
        "a name that climbs is a mistake or an attack; runc resolves it",
        Change::Refused;
    DENIED_ON_PURPOSE:
        "A default device that the rules deny after allowing all stays denied",
        "who writes so means it; runc allows it again",
        Change::Refused;
    LARGE_IDS:
        "User and group ids go up to 4294967294",
        "so the kernel's do; runc stops at 2147483647",
        Change::Runs;
    PROC_IS_WHOLE:
        "Nothing is mounted over a part of /proc but what LXCFS provides",
        "runc 1.1 checks this for binds alone",
        Change::Refused;
    ROOT_MAY_BE_A_LINK:
        "`root.path` may be a symbolic link",
        "it is resolved once, and the result is used; runc refuses it",
        Change::Runs;
    ROOT_PROPAGATION:
        "`linux.rootfsPropagation` holds for the container's root",
        "so the specification says; runc 1.1 applies `shared` too early, and cannot do `unbindable`",
        Change::Everything;
    BIND_BY_TYPE:
        "A mount of the type `bind` is one without the option, too",
        "the type can mean nothing else; runc asks the kernel for a file system of that name",
        Change::Runs;
    NO_SOURCE:
        "A mount without a source shows as `none`",
        "runc shows nothing, which makes a line of mountinfo with a field less",
        Change::Words(&[("tmpfs none rw", "tmpfs  rw")]);
    SIGNALS_AT_DEFAULT:
        "The program has all signals at their default",
        "Go leaves 32 and 33, which libc hides, as the caller had them, and glibc's posix_spawn has them ignored",
        Change::Line(|line| {
            let mask = u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()?;
            Some(format!("SigIgn:\t{:016x}", mask & !(3 << 31)))
        });
    MASKED_FILES:
        "A masked file is the host's /dev/null",
        "runc 1.1 takes the container's, where an image may have put another file (CVE-2025-31133)",
        Change::Line(|line| {
            let (root, rest) = line.split_once(' ')?;
            let (point, _) = rest.split_once(' ')?;
            (root.ends_with("/null") && point.starts_with("/proc/")).then(|| format!("null {point}"))
        });
    NULL_OF_ITS_OWN:
        "A device may take the place of /dev/null and not be for everybody",
        "runc's init opens the container's /dev/null without the rights of root, and fails",
        Change::Runs;
    SYSFS_PER_MOUNT:
        "A read-only sysfs is so for each mount, not also for the superblock",
        "all containers and the host share that one; rt changes its own mount alone",
        Change::Words(&[("- sysfs sysfs ro", "- sysfs sysfs rw")]);
    CGROUP_DIRECTORY:
        "The directory of the v1 hierarchies is read-only where the bundle says `ro`",
        "runc leaves it writable, so that a container can fill the host's memory there",
        Change::Line(|line| {
            let ours = line.starts_with("/ /sys/fs/cgroup r");
            ours.then(|| line.replacen("/ /sys/fs/cgroup rw,", "/ /sys/fs/cgroup ro,", 1))
        });
    CGROUP_WRITE:
        "A write to that directory finds it read-only",
        "below runc, a missing capability stops it",
        Change::Words(&[("Read-only file system", "Permission denied")]);
    CALLERS_DESCRIPTORS:
        "Without a terminal the program has the caller's own descriptors",
        "as below crun; runc copies through pipes that belong to the program's user, which takes a process that stays",
        Change::Everything;
}
