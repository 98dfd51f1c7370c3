//! What profiles can ask for here (runtime-spec, features-linux.md).

use crate::compile::architecture;
use spec::oci::{
    Arch, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator,
};
use sys::seccomp::Flags;

use Arch::{
    ScmpArchAarch64, ScmpArchArm, ScmpArchLoongarch64, ScmpArchM68k, ScmpArchMips, ScmpArchMips64,
    ScmpArchMips64n32, ScmpArchMipsel, ScmpArchMipsel64, ScmpArchMipsel64n32, ScmpArchParisc,
    ScmpArchParisc64, ScmpArchPpc, ScmpArchPpc64, ScmpArchPpc64le, ScmpArchRiscv64, ScmpArchS390,
    ScmpArchS390x, ScmpArchSh, ScmpArchSheb, ScmpArchX32, ScmpArchX86, ScmpArchX86_64,
};

const ACTIONS: [Action; 9] = [
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpMaskedEq,
    Operator::ScmpCmpNe,
];

const ARCHITECTURES: [Arch; 23] = [
    ScmpArchAarch64,
    ScmpArchArm,
    ScmpArchLoongarch64,
    ScmpArchM68k,
    ScmpArchMips,
    ScmpArchMips64,
    ScmpArchMips64n32,
    ScmpArchMipsel,
    ScmpArchMipsel64,
    ScmpArchMipsel64n32,
    ScmpArchParisc,
    ScmpArchParisc64,
    ScmpArchPpc,
    ScmpArchPpc64,
    ScmpArchPpc64le,
    ScmpArchRiscv64,
    ScmpArchS390,
    ScmpArchS390x,
    ScmpArchSh,
    ScmpArchSheb,
    ScmpArchX32,
    ScmpArchX86,
    ScmpArchX86_64,
];

/// Each flag with what the kernel must know for it.
const FLAGS: [(Flag, Flags); 4] = [
    (Flag::SeccompFilterFlagLog, Flags::LOG),
    (Flag::SeccompFilterFlagSpecAllow, Flags::SPEC_ALLOW),
    (Flag::SeccompFilterFlagTsync, Flags::TSYNC),
    (Flag::SeccompFilterFlagWaitKillableRecv, Flags::WAIT_KILLABLE_RECV),
];

/// What a profile may hold, in config.json's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Actions that have a meaning here and are known to the kernel.
    pub actions: Vec<String>,
    /// Operators.
    pub operators: Vec<String>,
    /// Architectures that libseccomp can write programs for.
    pub architectures: Vec<String>,
    /// Flags that have a meaning here.
    pub known_flags: Vec<String>,
    /// Those of them that the kernel knows too.
    pub supported_flags: Vec<String>,
}

/// What a profile may hold on this machine. `actions_avail` is the kernel's own list, /proc/sys/kernel/seccomp/actions_avail;
/// a kernel without seccomp has none, and then there is nothing.
pub fn features(actions_avail: &str) -> Option<Features> {
    let available: Vec<_> = actions_avail.split_whitespace().collect();
    if available.is_empty() {
        return None;
    }
    let actions = ACTIONS.iter().filter(|action| available.contains(&kernel_name(**action)));
    let architectures = ARCHITECTURES.iter().filter(|arch| architecture(**arch, String::new).is_ok());
    let supported = FLAGS.iter().filter(|(_, flag)| match *flag {
        flag @ Flags::WAIT_KILLABLE_RECV => flag.with(Flags::NEW_LISTENER, true).is_known(),
        flag => flag.is_known(),
    });
    Some(Features {
        actions: actions.map(ToString::to_string).collect(),
        operators: OPERATORS.iter().map(ToString::to_string).collect(),
        architectures: architectures.map(ToString::to_string).collect(),
        known_flags: FLAGS.iter().map(|(word, _)| word.to_string()).collect(),
        supported_flags: supported.map(|(word, _)| word.to_string()).collect(),
    })
}

/// An action's name in the kernel's list.
fn kernel_name(action: Action) -> &'static str {
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => "kill_thread",
        Action::ScmpActKillProcess => "kill_process",
        Action::ScmpActTrap => "trap",
        Action::ScmpActErrno => "errno",
        Action::ScmpActNotify => "user_notif",
        Action::ScmpActTrace => "trace",
        Action::ScmpActLog => "log",
        Action::ScmpActAllow => "allow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_specification() {
        fn parses<T: std::fmt::Display + serde::de::DeserializeOwned + PartialEq>(words: &[T]) -> bool {
            words
                .iter()
                .all(|word| serde_json::from_str::<T>(&format!("{:?}", word.to_string())).unwrap() == *word)
        }
        assert!(parses(&ACTIONS) && parses(&OPERATORS) && parses(&ARCHITECTURES));
        assert!(parses(&FLAGS.map(|(word, _)| word)));
    }

    #[test]
    fn a_kernel_without_seccomp_has_nothing() {
        assert_eq!(features("\n"), None);
        let features = features("kill_thread errno allow\n").unwrap();
        assert_eq!(
            features.actions,
            ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"]
        );
        assert!(features.architectures.contains(&"SCMP_ARCH_X86_64".to_owned()));
        assert_eq!(features.known_flags.len(), 4);
    }
}
