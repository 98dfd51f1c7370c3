//! bpf(2), as far as the device filter of a cgroup needs it: load, attach, query, detach.
//!
//! Every function takes and returns descriptors; descriptors that bpf(2) makes are close-on-exec by themselves.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::error::{Result, check};

// From include/uapi/linux/bpf.h; libc does not have them.
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const PROG_QUERY: u32 = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

/// How many programs of one cgroup are looked at; the kernel allows no more (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// One instruction, laid out as `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, operation and source bits.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// Signed offset of a jump or a load.
    pub offset: i16,
    /// The immediate operand.
    pub immediate: i32,
}

#[derive(Default)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[derive(Default)]
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[derive(Default)]
#[repr(C)]
struct ByIdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
}

/// Loads a program that decides about device access in a cgroup (kernel 4.15).
///
/// # Errors
/// `EACCES` or `EINVAL` if the verifier refuses the program, `EPERM` without CAP_BPF or CAP_SYS_ADMIN.
pub fn load_device_filter(program: &[Instruction]) -> Result<OwnedFd> {
    // The licence only matters to helper functions that are GPL-only; the filter calls none.
    let license = c"Apache-2.0";
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        expected_attach_type: ATTACH_CGROUP_DEVICE,
        ..LoadAttr::default()
    };
    attr.prog_name[..6].copy_from_slice(b"rt_dev");
    // SAFETY: `insns` points to `insn_cnt` instructions of the kernel's layout and `license` to a C string; both live
    // until the call returns, and a log is not asked for.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) };
    let fd = check(fd, "bpf", || format!("PROG_LOAD, device filter of {} instructions", program.len()))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches `program` to the cgroup2 directory `cgroup`, next to others, or in the place of `replaced` in one step.
///
/// Replacing needs kernel 5.6.
///
/// # Errors
/// `EBADF` if `cgroup` is not a directory of cgroup2, `EPERM` if an ancestor forbids it.
pub fn attach_device_filter(
    cgroup: impl AsFd,
    program: impl AsFd,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup.as_fd()),
        attach_bpf_fd: number(program.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    if let Some(old) = replaced {
        attr.attach_flags |= F_REPLACE;
        attr.replace_bpf_fd = number(old);
    }
    let args = format!("PROG_ATTACH, cgroup {}, program {}", attr.target_fd, attr.attach_bpf_fd);
    // SAFETY: the attribute holds plain numbers only.
    let ret = unsafe { bpf(PROG_ATTACH, &mut attr) };
    check(ret, "bpf", || args).map(drop)
}

/// Takes `program` off the cgroup2 directory `cgroup`.
///
/// # Errors
/// `ENOENT` if it is not attached there.
pub fn detach_device_filter(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup.as_fd()),
        attach_bpf_fd: number(program.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    let args = format!("PROG_DETACH, cgroup {}, program {}", attr.target_fd, attr.attach_bpf_fd);
    // SAFETY: the attribute holds plain numbers only.
    let ret = unsafe { bpf(PROG_DETACH, &mut attr) };
    check(ret, "bpf", || args).map(drop)
}

/// The device filters attached to the cgroup2 directory `cgroup` itself (not to its ancestors).
///
/// # Errors
/// Those of bpf(2) with `BPF_PROG_QUERY`; a program that vanishes meanwhile is left out.
pub fn device_filters(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: number(cgroup.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        ..QueryAttr::default()
    };
    let args = format!("PROG_QUERY, cgroup {}", attr.target_fd);
    // SAFETY: `prog_ids` points to `prog_cnt` writable numbers that live until the call returns.
    let ret = unsafe { bpf(PROG_QUERY, &mut attr) };
    check(ret, "bpf", || args)?;
    let mut programs = Vec::new();
    for &id in ids.iter().take(attr.prog_cnt as usize) {
        match program_by_id(id) {
            Err(error) if error.is(libc::ENOENT) => {}
            program => programs.push(program?),
        }
    }
    Ok(programs)
}

fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = ByIdAttr { id, ..ByIdAttr::default() };
    // SAFETY: the attribute holds plain numbers only.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) };
    let fd = check(fd, "bpf", || format!("PROG_GET_FD_BY_ID, program {id}"))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// The bare call.
///
/// # Safety
/// `attr` must be the variant of `union bpf_attr` that `command` reads, and each address in it must be good for what the
/// command does with it.
unsafe fn bpf<T>(command: u32, attr: &mut T) -> i64 {
    // SAFETY: the address and the size are those of `attr`; the rest is the caller's promise.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) }
}
