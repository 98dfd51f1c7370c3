//! Programs are run here, on an interpreter of classic BPF, and what they say is compared with what the rules say.

use crate::compile::{decode, encode};
use crate::{Instruction, compile};
use proptest::prelude::*;
use serde_json::{Value, json};
use spec::oci::LinuxSeccomp;
use spec::{Seccomp, SeccompAction};
use testkit::Profile;

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;

const fn errno(errno: u32) -> u32 {
    0x0005_0000 | errno
}

const fn trace(value: u32) -> u32 {
    0x7ff0_0000 | value
}

const NATIVE: u32 = if cfg!(target_arch = "x86_64") { X86_64 } else { AARCH64 };

/// `struct seccomp_data`.
fn data(architecture: u32, number: u32, args: [u64; 6]) -> Vec<u32> {
    let halves = |value: u64| {
        let (low, high) = (value as u32, (value >> 32) as u32);
        if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
    };
    [number, architecture, 0, 0].into_iter().chain(args.into_iter().flat_map(halves)).collect()
}

/// Runs a program as the kernel does (linux/filter.h); all that libseccomp and we write, and no more.
fn run(program: &[Instruction], data: &[u32]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, if_true, if_false, operand } = program[at];
        let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
        at += 1 + match code {
            0x20 => {
                accumulator = data[operand as usize / 4];
                0
            }
            0x54 => {
                accumulator &= operand;
                0
            }
            0x05 => operand as usize,
            0x15 => jump(accumulator == operand),
            0x25 => jump(accumulator > operand),
            0x35 => jump(accumulator >= operand),
            0x45 => jump(accumulator & operand != 0),
            0x06 => return operand,
            other => panic!("instruction {other:#x}"),
        };
    }
}

fn program(profile: Value) -> Vec<Instruction> {
    let seccomp: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    compile(&Seccomp::of(&seccomp).unwrap()).unwrap()
}

fn failure(profile: Value) -> String {
    let seccomp: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    compile(&Seccomp::of(&seccomp).unwrap()).unwrap_err().to_string()
}

fn number(name: &str) -> u32 {
    i32::from(libseccomp::ScmpSyscall::from_name(name).unwrap()).try_into().unwrap()
}

fn verdict(program: &[Instruction], name: &str, args: [u64; 6]) -> u32 {
    run(program, &data(NATIVE, number(name), args))
}

#[test]
fn every_action_has_its_verdict() {
    for (action, errno_ret, expected) in [
        ("KILL", None, KILL_THREAD),
        ("KILL_THREAD", None, KILL_THREAD),
        ("KILL_PROCESS", None, KILL_PROCESS),
        ("TRAP", None, TRAP),
        ("ERRNO", None, errno(1)),
        ("ERRNO", Some(0), errno(0)),
        ("ERRNO", Some(95), errno(95)),
        ("TRACE", None, trace(1)),
        ("TRACE", Some(7), trace(7)),
        ("NOTIFY", None, NOTIFY),
        ("LOG", None, LOG),
    ] {
        let rule =
            json!({"names": ["mkdirat"], "action": format!("SCMP_ACT_{action}"), "errnoRet": errno_ret});
        let program =
            program(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "syscalls": [rule]}));
        assert_eq!(verdict(&program, "mkdirat", [0; 6]), expected, "{action}");
        assert_eq!(verdict(&program, "read", [0; 6]), ALLOW);
        // Nothing is newer than a profile that allows by default.
        assert_eq!(run(&program, &data(NATIVE, 4000, [0; 6])), ALLOW);
    }
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let profile = |action: &str, errno: Value, archs: Value| {
        program(json!({"defaultAction": action, "defaultErrnoRet": errno, "architectures": archs,
            "syscalls": [{"names": ["read", "dup3", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]}))
    };
    for (action, default) in
        [("SCMP_ACT_ERRNO", errno(1)), ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS), ("SCMP_ACT_TRAP", TRAP)]
    {
        let program = profile(action, Value::Null, json!([]));
        let newest = number("dup3");
        assert_eq!(run(&program, &data(NATIVE, newest, [0; 6])), ALLOW);
        assert_eq!(run(&program, &data(NATIVE, newest - 1, [0; 6])), default);
        assert_eq!(run(&program, &data(NATIVE, newest + 1, [0; 6])), errno(38));
        // Another architecture is another matter: libseccomp's action for those that the profile does not name.
        assert_eq!(run(&program, &data(0x1234, newest + 1, [0; 6])), KILL_THREAD);
    }
    for (action, errno_ret, default) in [
        ("SCMP_ACT_LOG", Value::Null, LOG),
        ("SCMP_ACT_TRACE", json!(3), trace(3)),
        ("SCMP_ACT_ERRNO", json!(38), errno(38)),
    ] {
        let program = profile(action, errno_ret, json!([]));
        assert_eq!(run(&program, &data(NATIVE, number("dup3") + 1, [0; 6])), default, "{action}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn each_architecture_has_its_own_newest_call() {
    const X86: u32 = 0x4000_0003;
    const X32_BIT: u32 = 1 << 30;
    let with = |archs: Value| {
        program(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": archs,
            "syscalls": [{"names": ["read", "preadv"], "action": "SCMP_ACT_ALLOW"}]}))
    };
    // preadv: 295 on x86_64, 333 on x86, 534 with the bit on x32.
    let all = with(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    let says = |program: &[Instruction], arch, number| run(program, &data(arch, number, [0; 6]));
    for (arch, newest) in [(X86_64, 295), (X86, 333), (X86_64, X32_BIT | 534)] {
        assert_eq!(says(&all, arch, newest), ALLOW, "{arch:#x} {newest}");
        assert_eq!(says(&all, arch, newest - 1), errno(1), "{arch:#x} {newest}");
        assert_eq!(says(&all, arch, newest + 1), errno(38), "{arch:#x} {newest}");
    }
    assert_eq!(says(&all, X86, 3), ALLOW);
    let native = with(json!(["SCMP_ARCH_NATIVE"]));
    assert_eq!(says(&native, X86_64, 296), errno(38));
    // Neither is in the profile, and so neither is older or newer than it.
    assert_eq!(says(&native, X86_64, X32_BIT | 999), KILL_THREAD);
    assert_eq!(says(&native, X86, 999), KILL_THREAD);
    // The machine's own architecture need not be named.
    assert_eq!(says(&with(json!(["SCMP_ARCH_X86"])), X86_64, 296), errno(38));
}

#[test]
fn what_libseccomp_cannot_do_names_its_place() {
    let text = failure(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_S390X"]}));
    assert!(text.starts_with("config.json: linux.seccomp.architectures[1]: libseccomp 2."), "{text}");
}

#[test]
fn the_profiles_of_the_engines_do_what_they_say() {
    for (profile, denied, new) in [
        (Profile::Docker, errno(1), errno(38)),
        (Profile::Containerd, errno(1), errno(38)),
        (Profile::Podman, errno(1), errno(38)),
    ] {
        let program = program(profile.json());
        let says = |name, first| verdict(&program, name, [first, 0, 0, 0, 0, 0]);
        for name in ["read", "execve", "capset", "accept4", "close_range", "exit_group", "setresuid"] {
            assert_eq!(says(name, 0), ALLOW, "{profile:?} {name}");
        }
        assert_eq!(says("mount", 0), denied, "{profile:?}");
        assert_eq!(says("clone3", 0), errno(38));
        assert_eq!((says("clone", 17), says("socket", 1)), (ALLOW, ALLOW));
        // Without a rule of its own, which podman's denial has.
        let default = if profile == Profile::Podman { errno(38) } else { errno(1) };
        assert_eq!((says("clone", 0x2000_0000), says("socket", 40)), (default, default));
        assert_eq!((says("personality", 8), says("personality", 9)), (ALLOW, default));
        assert_eq!(run(&program, &data(NATIVE, 0x0fff_ffff, [0; 6])), new);
        assert!(program.len() < 4096, "{}: BPF_MAXINSNS", program.len());
    }
}

#[test]
fn bytes_and_instructions_are_the_same() {
    let program = program(Profile::Docker.json());
    assert_eq!(decode(&encode(&program)), program);
}

/// The rule's words about one system call, read once more: this is the specification of the compiler.
fn expected(profile: &Seccomp<'_>, name: &str, args: [u64; 6]) -> SeccompAction {
    use spec::oci::LinuxSeccompOperator as Operator;
    let holds = |c: &spec::SeccompCondition| {
        let arg = args[c.index as usize];
        match c.operator {
            Operator::ScmpCmpNe => arg != c.value,
            Operator::ScmpCmpLt => arg < c.value,
            Operator::ScmpCmpLe => arg <= c.value,
            Operator::ScmpCmpEq => arg == c.value,
            Operator::ScmpCmpGe => arg >= c.value,
            Operator::ScmpCmpGt => arg > c.value,
            Operator::ScmpCmpMaskedEq => arg & c.value == c.value_two,
        }
    };
    let rules = profile.rules.iter().filter(|rule| rule.names.iter().any(|other| other == name));
    let applies = |rule: &&spec::SeccompRule<'_>| rule.alternatives.iter().any(|all| all.iter().all(holds));
    rules.clone().find(applies).map_or(profile.default_action, |rule| rule.action)
}

/// libseccomp (2.5.4) may lose one of two alternatives for the same call when one of them compares by size.
fn is_misread_by_libseccomp(profile: &Seccomp<'_>, name: &str) -> bool {
    use spec::oci::LinuxSeccompOperator as Operator;
    let rules = profile.rules.iter().filter(|rule| rule.names[0] == name);
    let alternatives: Vec<_> = rules.flat_map(|rule| &rule.alternatives).collect();
    let equality = [Operator::ScmpCmpEq, Operator::ScmpCmpNe, Operator::ScmpCmpMaskedEq];
    let by_size = |c: &spec::SeccompCondition| !equality.contains(&c.operator);
    alternatives.len() > 1 && alternatives.iter().any(|all| all.iter().any(by_size))
}

const CALLS: [&str; 5] = ["read", "dup3", "mkdirat", "fchmodat", "prctl"];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Values that are near each other, in both halves of an argument.
fn value() -> impl Strategy<Value = u64> {
    let half = prop_oneof![Just(0_u64), Just(1), Just(2), Just(0x7fff_ffff), Just(0xffff_ffff)];
    (half.clone(), half).prop_map(|(high, low)| high << 32 | low)
}

fn arg() -> impl Strategy<Value = Value> {
    (0..3_u32, 0..7_usize, value(), value()).prop_map(|(index, operator, value, two)| {
        // A masked comparison with bits outside its mask holds never, which libseccomp says differently.
        json!({"index": index, "value": value, "valueTwo": value & two,
            "op": format!("SCMP_CMP_{}", OPERATORS[operator])})
    })
}

proptest! {
    #[test]
    fn programs_say_what_the_rules_say(
        // One action for each call: what contradicting rules mean is for libseccomp to say.
        rules in prop::collection::vec((0..CALLS.len(), prop::collection::vec(arg(), 0..3)), 0..6),
        calls in prop::collection::vec((0..CALLS.len(), prop::array::uniform6(value())), 20),
    ) {
        let syscalls: Vec<_> = rules.iter().map(|(call, args)| {
            json!({"names": [CALLS[*call]], "action": "SCMP_ACT_ERRNO", "errnoRet": 100 + call, "args": args})
        }).collect();
        let seccomp: LinuxSeccomp =
            serde_json::from_value(json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": syscalls})).unwrap();
        let profile = Seccomp::of(&seccomp).unwrap();
        let program = compile(&profile).unwrap();
        for (call, args) in calls {
            if is_misread_by_libseccomp(&profile, CALLS[call]) {
                continue;
            }
            let says = match expected(&profile, CALLS[call], args) {
                SeccompAction::Errno(value) => errno(value.into()),
                _ => LOG,
            };
            prop_assert_eq!(verdict(&program, CALLS[call], args), says, "{} {:x?}", CALLS[call], args);
        }
    }
}
