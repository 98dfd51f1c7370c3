//! The profile in libseccomp's words, and the program that it makes of it.

use crate::{Error, Instruction, Result, enosys, library_version};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};
use spec::oci::{Arch, LinuxSeccompOperator as Operator};
use spec::{Seccomp, SeccompAction, SeccompCondition, SeccompRule};
use std::fs::File;
use std::io::{Read, Seek};

/// From how many names on the program searches for a call by halves instead of one after the other: a profile of hundreds
/// gets shorter ways, one of a few would only get a longer program.
const MANY_NAMES: usize = 32;

/// Compiles a profile.
///
/// Names of system calls that this libseccomp does not know are left out, as runc does: such a call is newer than all that
/// the program knows, so it fails with ENOSYS or gets the default action.
///
/// # Errors
/// An architecture or action that this libseccomp or this kernel cannot express, and rules that contradict each other.
pub fn compile(profile: &Seccomp<'_>) -> Result<Vec<Instruction>> {
    let default = |e: SeccompError| fail("linux.seccomp.defaultAction", &e);
    let mut filter = ScmpFilterContext::new(action(profile.default_action)).map_err(default)?;
    for (i, arch) in profile.architectures.iter().enumerate() {
        let path = || format!("linux.seccomp.architectures[{i}]");
        filter.add_arch(architecture(*arch, path)?).map_err(|e| fail(path(), &e))?;
    }
    if has_many_names(profile) {
        // Since libseccomp 2.5; without it the program is only slower.
        let _ = filter.set_ctl_optimize(2);
    }
    for (i, rule) in profile.rules.iter().enumerate() {
        // What is done anyway needs no rule, and libseccomp takes none.
        if rule.action != profile.default_action {
            add(&mut filter, rule, &format!("linux.seccomp.syscalls[{i}]"))?;
        }
    }
    let mut program = enosys::prefix(profile)?;
    program.extend(export(&filter).map_err(|e| Error { path: "linux.seccomp".into(), reason: e })?);
    Ok(program)
}

/// Whether it is a profile of an engine's size, rather than one made by hand.
pub(crate) fn has_many_names(profile: &Seccomp<'_>) -> bool {
    profile.rules.iter().map(|rule| rule.names.len()).sum::<usize>() > MANY_NAMES
}

fn add(filter: &mut ScmpFilterContext, rule: &SeccompRule<'_>, path: &str) -> Result<()> {
    let alternatives: Vec<Vec<_>> =
        rule.alternatives.iter().map(|all| all.iter().map(comparison).collect()).collect();
    for name in rule.names {
        let Ok(call) = ScmpSyscall::from_name(name) else {
            log::debug!("{path}: the system call {name:?} is unknown to libseccomp and left out");
            continue;
        };
        for conditions in &alternatives {
            filter
                .add_rule_conditional(action(rule.action), call, conditions)
                .map_err(|e| fail(format!("{path}: {name}"), &e))?;
        }
    }
    Ok(())
}

fn action(action: SeccompAction) -> ScmpAction {
    match action {
        SeccompAction::KillProcess => ScmpAction::KillProcess,
        SeccompAction::KillThread => ScmpAction::KillThread,
        SeccompAction::Trap => ScmpAction::Trap,
        SeccompAction::Errno(errno) => ScmpAction::Errno(errno.into()),
        SeccompAction::Notify => ScmpAction::Notify,
        SeccompAction::Trace(value) => ScmpAction::Trace(value),
        SeccompAction::Log => ScmpAction::Log,
        SeccompAction::Allow => ScmpAction::Allow,
    }
}

fn comparison(condition: &SeccompCondition) -> ScmpArgCompare {
    let SeccompCondition { index, operator, value, value_two } = *condition;
    let (operator, datum) = match operator {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        Operator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(value), value_two),
    };
    ScmpArgCompare::new(index, operator, datum)
}

/// The architecture in libseccomp's words.
pub(crate) fn architecture(arch: Arch, path: impl Fn() -> String) -> Result<ScmpArch> {
    let unknown = |_| Error {
        path: path(),
        reason: format!("{arch} is not supported by libseccomp {}", library_version()),
    };
    let known = arch.to_string().parse().map_err(unknown)?;
    // Whether the library itself has a table of it: the names above are the bindings'.
    ScmpSyscall::from_name_by_arch("read", known).map_err(unknown)?;
    Ok(known)
}

/// The program that libseccomp has made. It can only write to a descriptor (before 2.6).
fn export(filter: &ScmpFilterContext) -> std::result::Result<Vec<Instruction>, String> {
    let mut file = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC).map_err(|e| e.to_string())?);
    filter.export_bpf(&file).map_err(|e| text(&e))?;
    file.rewind().map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(decode(&bytes))
}

/// A program's bytes, as the kernel reads them.
pub(crate) fn encode(program: &[Instruction]) -> Vec<u8> {
    let bytes = |i: &Instruction| {
        let ([a, b], [c, d, e, f]) = (i.code.to_ne_bytes(), i.operand.to_ne_bytes());
        [a, b, i.if_true, i.if_false, c, d, e, f]
    };
    program.iter().flat_map(bytes).collect()
}

/// The other way round; what is left over at the end is no instruction.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Instruction> {
    let instruction = |b: &[u8]| Instruction {
        code: u16::from_ne_bytes([b[0], b[1]]),
        if_true: b[2],
        if_false: b[3],
        operand: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    bytes.chunks_exact(8).map(instruction).collect()
}

fn fail(path: impl Into<String>, error: &SeccompError) -> Error {
    Error { path: path.into(), reason: text(error) }
}

/// libseccomp's error in lower case, as all of ours.
fn text(error: &SeccompError) -> String {
    format!("libseccomp {}: {}", library_version(), error.to_string().to_lowercase())
}
