//! The policy as a program for cgroup2 (BPF_PROG_TYPE_CGROUP_DEVICE).
//!
//! The kernel runs it with a `struct bpf_cgroup_dev_ctx` of three numbers: access and kind, major, minor. It answers 1
//! to allow. The program loads the numbers once, tries one short block for each exception, and ends with the default:
//! sixty instructions for an ordinary container.

use sys::bpf::Instruction;

use super::policy::{Access, Kind, Pattern, Policy};

// Opcodes, from include/uapi/linux/bpf.h: class | size or operation | source.
const LOAD_WORD: u8 = 0x61; // LDX | W | MEM
const MOVE_REGISTER: u8 = 0xbc; // ALU | MOV | X
const MOVE: u8 = 0xb4; // ALU | MOV | K
const AND: u8 = 0x54; // ALU | AND | K
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
const JUMP: u8 = 0x05; // JMP | JA
const JUMP_UNLESS_EQUAL: u8 = 0x56; // JMP32 | JNE | K; 32 bits, so that no number is sign-extended
const JUMP_IF_ANY: u8 = 0x46; // JMP32 | JSET | K
const EXIT: u8 = 0x95; // JMP | EXIT

const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

impl Policy {
    /// The program that answers as this policy does.
    pub(crate) fn program(&self) -> Vec<Instruction> {
        let mut program = vec![
            load(KIND, 0),
            Instruction { registers: ACCESS | (KIND << 4), ..op(MOVE_REGISTER, 0, 0) },
            op(AND, KIND, 0xffff),
            op(SHIFT_RIGHT, ACCESS, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        for (pattern, access) in self.exceptions() {
            program.extend(block(pattern, access, !self.default_allow()));
        }
        program.extend(answer(self.default_allow()));
        program
    }
}

/// Answers `allow` if the request meets the exception, and falls through to the next block otherwise.
fn block(pattern: &Pattern, access: Access, allow: bool) -> Vec<Instruction> {
    let kind = match pattern.kind {
        Kind::Block => 1,
        Kind::Char => 2,
    };
    let mut block = vec![op(JUMP_UNLESS_EQUAL, KIND, kind)];
    let numbers = [(MAJOR, pattern.major), (MINOR, pattern.minor)];
    let numbers = numbers.into_iter().filter_map(|(register, number)| Some((register, number?)));
    block.extend(numbers.map(|(register, number)| op(JUMP_UNLESS_EQUAL, register, number.cast_signed())));
    let bits = i32::from(access.bits());
    let all = i32::from(Access::ALL.bits());
    match allow {
        // Allowed is only what the exception covers wholly; one that covers all needs no question.
        true if bits == all => {}
        true => block.push(op(JUMP_IF_ANY, ACCESS, all & !bits)),
        // Denied is what the exception touches: jump over the jump.
        false => block.extend([Instruction { offset: 1, ..op(JUMP_IF_ANY, ACCESS, bits) }, op(JUMP, 0, 0)]),
    }
    block.extend(answer(allow));
    let length = block.len();
    for (index, instruction) in block.iter_mut().enumerate() {
        let is_open =
            instruction.offset == 0 && matches!(instruction.code, JUMP_UNLESS_EQUAL | JUMP_IF_ANY | JUMP);
        if is_open {
            // A block has at most eight instructions.
            instruction.offset = (length - index - 1) as i16;
        }
    }
    block
}

fn answer(allow: bool) -> [Instruction; 2] {
    [op(MOVE, ANSWER, i32::from(allow)), op(EXIT, 0, 0)]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { registers: register | (CONTEXT << 4), offset, ..op(LOAD_WORD, 0, 0) }
}

fn op(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn disassemble(program: &[Instruction]) -> String {
        let line = |(index, i): (usize, &Instruction)| {
            let (to, from) = (i.registers & 15, i.registers >> 4);
            let target = index as i64 + 1 + i64::from(i.offset);
            let (offset, value) = (i.offset, i.immediate);
            let text = match i.code {
                LOAD_WORD => format!("r{to} = ctx[{offset}]"),
                MOVE_REGISTER => format!("r{to} = r{from}"),
                MOVE => format!("r{to} = {value}"),
                AND => format!("r{to} &= {value:#x}"),
                SHIFT_RIGHT => format!("r{to} >>= {value}"),
                JUMP => format!("goto {target}"),
                JUMP_UNLESS_EQUAL => format!("if r{to} != {value} goto {target}"),
                JUMP_IF_ANY => format!("if r{to} & {value} goto {target}"),
                EXIT => "exit".to_owned(),
                other => panic!("unknown opcode {other:#x}"),
            };
            format!("{index}: {text}\n")
        };
        program.iter().enumerate().map(line).collect()
    }

    /// Runs the program as the kernel would.
    fn run(program: &[Instruction], kind: Kind, major: u32, minor: u32, access: Access) -> bool {
        let kind = if kind == Kind::Block { 1 } else { 2 };
        let context = [kind | (u32::from(access.bits()) << 16), major, minor];
        let (mut registers, mut at) = ([0u32; 6], 0usize);
        loop {
            let i = program[at];
            let (to, value) = (usize::from(i.registers & 15), i.immediate.cast_unsigned());
            at += 1;
            let is_taken = match i.code {
                JUMP => true,
                JUMP_UNLESS_EQUAL => registers[to] != value,
                JUMP_IF_ANY => registers[to] & value != 0,
                _ => false,
            };
            match i.code {
                LOAD_WORD => registers[to] = context[usize::try_from(i.offset).unwrap() / 4],
                MOVE_REGISTER => registers[to] = registers[usize::from(i.registers >> 4)],
                MOVE => registers[to] = value,
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                EXIT => return registers[0] == 1,
                _ if is_taken => at += usize::try_from(i.offset).unwrap(),
                _ => {}
            }
        }
    }

    fn policy(json: &str) -> Policy {
        Policy::new(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap()
    }

    #[test]
    fn a_policy_of_exceptions_to_deny() {
        let program = policy("[]").program();
        assert_eq!(program.len(), 60);
        insta::assert_snapshot!(disassemble(&program[..17]), @r"
        0: r2 = ctx[0]
        1: r3 = r2
        2: r2 &= 0xffff
        3: r3 >>= 16
        4: r4 = ctx[4]
        5: r5 = ctx[8]
        6: if r2 != 1 goto 10
        7: if r3 & 6 goto 10
        8: r0 = 1
        9: exit
        10: if r2 != 2 goto 14
        11: if r3 & 6 goto 14
        12: r0 = 1
        13: exit
        14: if r2 != 2 goto 19
        15: if r4 != 1 goto 19
        16: if r5 != 3 goto 19
        ");
    }

    #[test]
    fn a_policy_of_exceptions_to_allow() {
        let json = r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":10,"access":"w"}]"#;
        insta::assert_snapshot!(disassemble(&policy(json).program()[6..]), @r"
        0: if r2 != 2 goto 6
        1: if r4 != 10 goto 6
        2: if r3 & 4 goto 4
        3: goto 6
        4: r0 = 0
        5: exit
        6: r0 = 1
        7: exit
        ");
    }

    fn rule() -> impl Strategy<Value = String> {
        let number = || prop_oneof![Just(-1i64), 0..3i64];
        (any::<bool>(), 0..7usize, number(), number(), "[rwm]{1,3}").prop_map(|(allow, kind, major, minor, access)| {
            let kind = ["a", "b", "b", "b", "c", "c", "c"][kind];
            format!(r#"{{"allow":{allow},"type":"{kind}","major":{major},"minor":{minor},"access":"{access}"}}"#)
        })
    }

    proptest! {
        #[test]
        fn the_program_answers_as_the_policy_does(rules in proptest::collection::vec(rule(), 0..8)) {
            let rules: Vec<_> = serde_json::from_str(&format!("[{}]", rules.join(","))).unwrap();
            let Ok(policy) = Policy::new(&rules) else { return Ok(()) };
            let program = policy.program();
            for access in [Access::READ, Access::WRITE, Access::MKNOD, Access::ALL] {
                for kind in [Kind::Block, Kind::Char] {
                    for (major, minor) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 3), (2, 2), (u32::MAX, 7)] {
                        let expected = policy.allows(kind, major, minor, access);
                        prop_assert_eq!(run(&program, kind, major, minor, access), expected);
                    }
                }
            }
        }
    }
}
