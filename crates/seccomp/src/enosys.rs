//! Calls that are newer than the profile.
//!
//! A program tries a new system call and falls back to an old one when it fails with ENOSYS. A profile that was written
//! before that call existed would let it fail with its default action instead, say EPERM, and the program would give up. So in
//! front of libseccomp's program stands one of ours: a call whose number is larger than every one that the profile
//! names, on the architecture that it is made on, fails with ENOSYS. This is what runc does, and what engines count on.

use crate::compile::architecture;
use crate::{Instruction, Result};
use libseccomp::{ScmpArch, ScmpSyscall};
use spec::oci::Arch;
use spec::{Seccomp, SeccompAction};

/// SECCOMP_RET_ERRNO | ENOSYS; linux/seccomp.h, asm-generic/errno.h (mips differs, but is no machine of ours).
const RET_ENOSYS: u32 = 0x0005_0000 | 38;

// linux/filter.h and linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

// The places of `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// AUDIT_ARCH_X86_64, which x32 shares (linux/audit.h): its calls have another bit set (asm/unistd.h).
const X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 1 << 30;
/// AUDIT_ARCH_S390 and AUDIT_ARCH_S390X.
const S390: [u32; 2] = [0x16, 0x8000_0016];

/// What is known of one architecture as the kernel tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    token: u32,
    /// The largest number that the profile names; none is no limit.
    largest: Option<u32>,
    /// The same of x32.
    largest_x32: Option<u32>,
}

/// The program's beginning. Every way through it ends with ENOSYS, or right behind it.
pub(crate) fn prefix(profile: &Seccomp<'_>) -> Result<Vec<Instruction>> {
    if !is_wanted(profile.default_action) {
        return Ok(Vec::new());
    }
    let sections: Vec<_> = limits(profile)?.iter().rev().fold(Vec::new(), |behind, limits| {
        let mut all = section(*limits, behind.len());
        all.extend(behind);
        all
    });
    if sections.is_empty() {
        return Ok(sections);
    }
    Ok(std::iter::once(load(ARCHITECTURE)).chain(sections).collect())
}

/// Not where a call that nobody has heard of is allowed anyway, nor where a tracer is to see it.
fn is_wanted(default: SeccompAction) -> bool {
    match default {
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace(_) => false,
        SeccompAction::Errno(errno) => u32::from(errno) != RET_ENOSYS & 0xffff,
        SeccompAction::KillProcess
        | SeccompAction::KillThread
        | SeccompAction::Trap
        | SeccompAction::Notify => true,
    }
}

/// The machine's own architecture, and those of the profile; others are none of the profile's business.
fn limits(profile: &Seccomp<'_>) -> Result<Vec<Limits>> {
    let mut all: Vec<Limits> = Vec::new();
    let own = std::iter::once(&Arch::ScmpArchNative);
    for arch in own.chain(profile.architectures) {
        let known = architecture(*arch, || "linux.seccomp.architectures".into())?;
        let Some(largest) = largest(profile, known) else { continue };
        let (token, is_x32) = token(*arch);
        let at = all.iter().position(|limits| limits.token == token).unwrap_or_else(|| {
            all.push(Limits { token, largest: None, largest_x32: None });
            all.len() - 1
        });
        let place = if is_x32 { &mut all[at].largest_x32 } else { &mut all[at].largest };
        *place = Some(largest);
    }
    Ok(all)
}

/// The largest number of the profile's calls on an architecture. Names that it has not, have numbers below zero.
fn largest(profile: &Seccomp<'_>, arch: ScmpArch) -> Option<u32> {
    let names = profile.rules.iter().flat_map(|rule| rule.names);
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok());
    numbers.filter_map(|call| u32::try_from(i32::from(call)).ok()).max().filter(|number| *number != 0)
}

/// AUDIT_ARCH_* of an architecture (linux/audit.h), which is what the specification's numbers are, and whether it is x32, for
/// which they differ.
fn token(arch: Arch) -> (u32, bool) {
    match arch {
        Arch::ScmpArchX32 => (X86_64, true),
        Arch::ScmpArchNative => (native(), false),
        other => (other as u32, false),
    }
}

const fn native() -> u32 {
    if cfg!(target_arch = "x86_64") {
        Arch::ScmpArchX86_64 as u32
    } else if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64 as u32
    } else if cfg!(target_arch = "riscv64") {
        Arch::ScmpArchRiscv64 as u32
    } else if cfg!(target_arch = "s390x") {
        Arch::ScmpArchS390x as u32
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        Arch::ScmpArchPpc64le as u32
    } else if cfg!(target_arch = "x86") {
        Arch::ScmpArchX86 as u32
    } else {
        Arch::ScmpArchArm as u32
    }
}

/// The check for one architecture, with `behind` instructions between its end and the end of all checks. It begins with the
/// architecture in the accumulator, and leaves it there when it is another.
fn section(limits: Limits, behind: usize) -> Vec<Instruction> {
    let mut body = vec![load(NUMBER)];
    if S390.contains(&limits.token) {
        // A number that does not fit into the instruction arrives as 0 (setup(2), which nobody calls) when it is unknown.
        body.extend([jump_if(JUMP_EQUAL, 0, 0, 1), give(RET_ENOSYS)]);
    }
    let limit = |largest: Option<u32>| largest.unwrap_or(u32::MAX);
    if limits.token == X86_64 {
        body.extend([
            jump_if(JUMP_SET, X32_BIT, 1, 0),
            jump_if(JUMP_GREATER, limit(limits.largest), 1, 2),
            jump_if(JUMP_GREATER, limit(limits.largest_x32), 0, 1),
        ]);
    } else {
        body.push(jump_if(JUMP_GREATER, limit(limits.largest), 0, 1));
    }
    body.extend([give(RET_ENOSYS), jump(behind as u32)]);
    let mut section = vec![jump_if(JUMP_EQUAL, limits.token, 0, body.len() as u8)];
    section.extend(body);
    section
}

fn load(place: u32) -> Instruction {
    Instruction { code: LOAD_WORD, if_true: 0, if_false: 0, operand: place }
}

fn jump(operand: u32) -> Instruction {
    Instruction { code: JUMP, if_true: 0, if_false: 0, operand }
}

fn jump_if(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

fn give(verdict: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, operand: verdict }
}
