//! `linux.seccomp`, checked and resolved: what is left are rules that mean just what they say.

use crate::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Word, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator, LinuxSyscall,
};
use crate::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// What an action returns when no errno is given: EPERM.
const DEFAULT_ERRNO: u16 = 1;

/// What the kernel does about a system call (seccomp(2), SECCOMP_RET_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SeccompAction {
    /// The process is killed by SIGSYS.
    KillProcess,
    /// The thread is killed by SIGSYS.
    KillThread,
    /// The thread gets a SIGSYS that it may handle.
    Trap,
    /// The call fails with this errno.
    Errno(u16),
    /// A listener decides.
    Notify,
    /// A tracer decides; it is handed this value. Without one the call fails with ENOSYS.
    Trace(u16),
    /// The call is made, and logged.
    Log,
    /// The call is made.
    Allow,
}

impl SeccompAction {
    /// Resolves an action and its errno, which the specification allows with two actions only.
    fn of(word: Word, errno: Option<u32>, path: impl Fn(&str) -> String, errno_field: &str) -> Result<Self> {
        let value = match errno {
            None => DEFAULT_ERRNO,
            Some(_) if !matches!(word, Word::ScmpActErrno | Word::ScmpActTrace) => {
                return Err(Error::field(path(errno_field), format!("{word} takes no errno")));
            }
            Some(errno) => u16::try_from(errno)
                .map_err(|_| Error::field(path(errno_field), format!("{errno} is no errno (0 to 65535)")))?,
        };
        Ok(match word {
            Word::ScmpActKill | Word::ScmpActKillThread => Self::KillThread,
            Word::ScmpActKillProcess => Self::KillProcess,
            Word::ScmpActTrap => Self::Trap,
            Word::ScmpActErrno => Self::Errno(value),
            Word::ScmpActNotify => Self::Notify,
            Word::ScmpActTrace => Self::Trace(value),
            Word::ScmpActLog => Self::Log,
            Word::ScmpActAllow => Self::Allow,
        })
    }
}

/// How the filter is loaded (seccomp(2), SECCOMP_FILTER_FLAG_*). TSYNC is not among them: it is about other threads of
/// the process that loads the filter, and there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SeccompFlags {
    /// Log all actions but "allow".
    pub log: bool,
    /// Leave speculative store bypass alone.
    pub spec_allow: bool,
    /// While a listener decides, only a fatal signal ends the wait. KERNEL(5.19)
    pub wait_killable: bool,
}

impl SeccompFlags {
    /// Where nothing is said, not even that there are none, speculation is left alone, as in runc.
    fn of(flags: Option<&Vec<Flag>>) -> Self {
        let Some(flags) = flags else { return Self { spec_allow: true, ..Self::default() } };
        Self {
            log: flags.contains(&Flag::SeccompFilterFlagLog),
            spec_allow: flags.contains(&Flag::SeccompFilterFlagSpecAllow),
            wait_killable: flags.contains(&Flag::SeccompFilterFlagWaitKillableRecv),
        }
    }
}

/// A comparison of one argument of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SeccompCondition {
    /// Which argument: 0 to 5.
    pub index: u32,
    /// How it is compared, without a sign.
    pub operator: LinuxSeccompOperator,
    /// What it is compared with; the mask, for a masked comparison.
    pub value: u64,
    /// What must be left after masking; of no meaning for the other operators.
    pub value_two: u64,
}

/// What is done about some system calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeccompRule<'a> {
    /// Their names; those that this machine does not know are to be left out.
    pub names: &'a [String],
    /// What is done.
    pub action: SeccompAction,
    /// When: one of these must hold, each of which is a list of conditions that must all hold. An empty list always holds.
    pub alternatives: Vec<Vec<SeccompCondition>>,
}

/// Who decides about the calls with [`SeccompAction::Notify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SeccompListener<'a> {
    /// The unix socket that the listener reads from.
    pub path: &'a Path,
    /// What it is told besides.
    pub metadata: &'a str,
}

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seccomp<'a> {
    /// What is done about calls that no rule is about.
    pub default_action: SeccompAction,
    /// The architectures whose calls the rules are about, besides the machine's own.
    pub architectures: &'a [Arch],
    /// How the filter is loaded.
    pub flags: SeccompFlags,
    /// The rules.
    pub rules: Vec<SeccompRule<'a>>,
    /// Who decides, where a rule asks for it.
    #[serde(skip)]
    pub listener: Option<SeccompListener<'a>>,
}

impl<'a> Seccomp<'a> {
    /// Checks and resolves a `linux.seccomp` object.
    pub fn of(seccomp: &'a LinuxSeccomp) -> Result<Self> {
        let default_action = SeccompAction::of(
            seccomp.default_action(),
            seccomp.default_errno_ret(),
            |field| format!("linux.seccomp.{field}"),
            "defaultErrnoRet",
        )?;
        if default_action == SeccompAction::Notify {
            return Err(Error::field(
                "linux.seccomp.defaultAction",
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ));
        }
        let rules = seccomp.syscalls().iter().flatten().enumerate();
        let rules = rules.map(|(i, syscall)| rule(i, syscall)).collect::<Result<Vec<_>>>()?;
        let flags = SeccompFlags::of(seccomp.flags().as_ref());
        let listener = listener(seccomp, &rules)?;
        if flags.wait_killable && listener.is_none() {
            return Err(Error::field(
                "linux.seccomp.flags",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY",
            ));
        }
        let architectures = seccomp.architectures().as_deref().unwrap_or_default();
        Ok(Self { default_action, architectures, flags, rules, listener })
    }
}

fn rule(i: usize, syscall: &LinuxSyscall) -> Result<SeccompRule<'_>> {
    let path = |field: &str| format!("linux.seccomp.syscalls[{i}].{field}");
    let action = SeccompAction::of(syscall.action(), syscall.errno_ret(), path, "errnoRet")?;
    if let Some(j) = syscall.names().iter().position(String::is_empty) {
        return Err(Error::field(path(&format!("names[{j}]")), "is empty"));
    }
    // The process that loads the filter writes the listener's number before anybody could answer for it.
    if action == SeccompAction::Notify && syscall.names().iter().any(|name| name == "write") {
        return Err(Error::field(path("action"), "SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    let args = syscall.args().iter().flatten().enumerate();
    let conditions = args.map(|(j, arg)| condition(|field| path(&format!("args[{j}].{field}")), arg));
    let alternatives = alternatives(conditions.collect::<Result<_>>()?);
    Ok(SeccompRule { names: syscall.names(), action, alternatives })
}

fn condition(path: impl Fn(&str) -> String, arg: &LinuxSeccompArg) -> Result<SeccompCondition> {
    let index = u32::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
        Error::field(path("index"), format!("{} is no argument of a system call (0 to 5)", arg.index()))
    })?;
    let value_two = arg.value_two().unwrap_or_default();
    Ok(SeccompCondition { index, operator: arg.op(), value: arg.value(), value_two })
}

/// Several conditions must all hold; but when two of them are about the same argument, one that holds is enough. That is how
/// runc has always read it, and profiles rely on it.
fn alternatives(conditions: Vec<SeccompCondition>) -> Vec<Vec<SeccompCondition>> {
    let repeated =
        conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|d| d.index == c.index));
    if repeated {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    }
}

fn listener<'a>(seccomp: &'a LinuxSeccomp, rules: &[SeccompRule<'_>]) -> Result<Option<SeccompListener<'a>>> {
    if rules.iter().all(|rule| rule.action != SeccompAction::Notify) {
        return Ok(None);
    }
    match seccomp.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => {
            let metadata = seccomp.listener_metadata().as_deref().unwrap_or_default();
            Ok(Some(SeccompListener { path, metadata }))
        }
        None => Err(Error::field("linux.seccomp.listenerPath", "is not set, but a rule has SCMP_ACT_NOTIFY")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn config(seccomp: &str) -> Result<Config> {
        let json = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},
                "linux":{{"namespaces":[{{"type":"mount"}}],"seccomp":{seccomp}}}}}"#
        );
        Config::parse(json.into_bytes(), "config.json")
    }

    fn with<T>(seccomp: &str, look: impl FnOnce(Seccomp<'_>) -> T) -> T {
        look(config(seccomp).unwrap().seccomp().unwrap().unwrap())
    }

    fn error(seccomp: &str) -> String {
        config(seccomp).unwrap_err().to_string()
    }

    fn rule_error(rule: &str) -> String {
        error(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#))
    }

    #[test]
    fn every_word_of_the_specification_is_known() {
        for (word, action) in [
            ("KILL", SeccompAction::KillThread),
            ("KILL_THREAD", SeccompAction::KillThread),
            ("KILL_PROCESS", SeccompAction::KillProcess),
            ("TRAP", SeccompAction::Trap),
            ("ERRNO", SeccompAction::Errno(1)),
            ("TRACE", SeccompAction::Trace(1)),
            ("LOG", SeccompAction::Log),
            ("ALLOW", SeccompAction::Allow),
        ] {
            with(&format!(r#"{{"defaultAction":"SCMP_ACT_{word}"}}"#), |s| {
                assert_eq!(s.default_action, action);
            });
        }
        let archs = "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 \
            S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB";
        let list: Vec<_> = archs.split_whitespace().map(|arch| format!(r#""SCMP_ARCH_{arch}""#)).collect();
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":[{}]}}"#, list.join(","));
        with(&text, |s| assert_eq!(s.architectures.len(), 23));
        for operator in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
            let arg = format!(r#"{{"index":5,"value":1,"op":"SCMP_CMP_{operator}"}}"#);
            assert_eq!(
                rule_error(&format!(r#"{{"names":[""],"action":"SCMP_ACT_LOG","args":[{arg}]}}"#)),
                "config.json: linux.seccomp.syscalls[0].names[0]: is empty"
            );
        }
    }

    #[test]
    fn flags_that_are_not_given_are_not_the_same_as_none() {
        let flags = |text: &str| {
            with(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{text}}}"#), |seccomp| seccomp.flags)
        };
        assert_eq!(flags(""), SeccompFlags { spec_allow: true, ..SeccompFlags::default() });
        assert_eq!(flags(r#","flags":[]"#), SeccompFlags::default());
        let both = r#","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"]"#;
        assert_eq!(flags(both), SeccompFlags { log: true, ..SeccompFlags::default() });
        assert!(
            error(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#)
                .contains("linux.seccomp.flags")
        );
    }

    #[test]
    fn conditions_are_all_needed_unless_they_are_about_one_argument() {
        let arg =
            |index: u32| format!(r#"{{"index":{index},"value":7,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}}"#);
        let alternatives = |a, b| {
            let rule = format!(
                r#"{{"names":["dup"],"action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[{},{}]}}"#,
                arg(a),
                arg(b)
            );
            with(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#), |seccomp| {
                assert_eq!(seccomp.rules[0].action, SeccompAction::Errno(5));
                seccomp.rules[0].alternatives.clone()
            })
        };
        let condition = |index| SeccompCondition {
            index,
            operator: LinuxSeccompOperator::ScmpCmpMaskedEq,
            value: 7,
            value_two: 3,
        };
        assert_eq!(alternatives(0, 1), [vec![condition(0), condition(1)]]);
        assert_eq!(alternatives(2, 2), [vec![condition(2)], vec![condition(2)]]);
        with(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["dup"],"action":"SCMP_ACT_TRAP"}]}"#,
            |s| {
                assert_eq!(s.rules[0].alternatives, [vec![]]);
            },
        );
    }

    #[test]
    fn a_listener_is_there_just_when_it_is_needed() {
        let notify = r#""syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
        assert_eq!(
            error(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{notify}}}"#)),
            "config.json: linux.seccomp.listenerPath: is not set, but a rule has SCMP_ACT_NOTIFY"
        );
        let path = r#""listenerPath":"/run/x","listenerMetadata":"m""#;
        with(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{path},{notify}}}"#), |s| {
            assert_eq!(s.listener, Some(SeccompListener { path: Path::new("/run/x"), metadata: "m" }));
        });
        with(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{path}}}"#), |s| assert_eq!(s.listener, None));
        assert!(error(&format!(r#"{{"defaultAction":"SCMP_ACT_NOTIFY",{path}}}"#)).contains("defaultAction"));
        assert!(
            rule_error(r#"{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}"#)
                .contains("SCMP_ACT_NOTIFY cannot be used for the write syscall")
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (seccomp, words) in [
            (r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#, "linux.seccomp.defaultAction: unknown variant"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["X"]}"#, "linux.seccomp.architectures[0]"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#, "linux.seccomp.flags[0]"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
                "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":65536}"#,
                "linux.seccomp.defaultErrnoRet: 65536 is no errno",
            ),
        ] {
            let text = error(seccomp);
            assert!(text.contains(words), "{text}");
        }
        let arg = |index: &str, op: &str| {
            format!(
                r#"{{"names":["dup"],"action":"SCMP_ACT_LOG","args":[{{"index":{index},"value":1,"op":"{op}"}}]}}"#
            )
        };
        for (rule, words) in [
            (arg("6", "SCMP_CMP_EQ"), "linux.seccomp.syscalls[0].args[0].index: 6 is no argument"),
            (arg("0", "EQ"), "linux.seccomp.syscalls[0].args[0].op: unknown variant"),
            (
                r#"{"names":["dup"],"action":"SCMP_ACT_KILL","errnoRet":1}"#.to_owned(),
                "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL takes no errno",
            ),
        ] {
            let text = rule_error(&rule);
            assert!(text.contains(words), "{text}");
        }
    }
}
