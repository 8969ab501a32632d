//! A filter of system calls that this process puts on itself (seccomp(2)).

use std::io;
use std::mem::offset_of;

use nix::errno::Errno;
use nix::libc;
use nix::libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    sock_filter, sock_fprog,
};

/// `#define AUDIT_ARCH_X86_64 (EM_X86_64|__AUDIT_ARCH_64BIT|__AUDIT_ARCH_LE)`
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// `#define AUDIT_ARCH_AARCH64 (EM_AARCH64|__AUDIT_ARCH_64BIT|__AUDIT_ARCH_LE)`
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// `#define __X32_SYSCALL_BIT 0x40000000`: the second set of numbers that x86-64 has.
const X32: u32 = 0x4000_0000;

/// Refuses the system calls `denied` with `EPERM` from now on, to this thread and to those it starts,
/// and with them whatever starts a process. There is no way back.
///
/// clone(2) makes threads only. clone3(2), whose flags a filter cannot see, is there no more (`ENOSYS`):
/// the C library then takes clone(2).
pub fn deny(denied: &[libc::c_long]) -> io::Result<()> {
    let mut program = program(denied)?;
    let filter = sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call, its length is handed over with it, and the kernel copies it.
    #[expect(unsafe_code, reason = "seccomp has no safe wrapper")]
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    super::check(result)?;
    Ok(())
}

/// Every jump goes to the very next instruction or skips one: with a few dozen calls there is no need to
/// count distances.
fn program(denied: &[libc::c_long]) -> io::Result<Vec<sock_filter>> {
    let word = |at: usize| u32::try_from(at).map_err(io::Error::other);
    let number = |call: libc::c_long| u32::try_from(call).map_err(io::Error::other);
    let load = |at| statement(BPF_LD | BPF_W | BPF_ABS, at);
    let refuse = |errno: Errno| statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32);
    let allow = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    let mut program = vec![
        load(word(offset_of!(libc::seccomp_data, arch))?),
        skip_if(BPF_JEQ, ARCHITECTURE),
        refuse(Errno::EPERM),
        load(word(offset_of!(libc::seccomp_data, nr))?),
        unless(BPF_JGE, X32),
        refuse(Errno::EPERM),
        unless(BPF_JEQ, number(libc::SYS_clone3)?),
        refuse(Errno::ENOSYS),
    ];
    for call in denied {
        program.extend([unless(BPF_JEQ, number(*call)?), refuse(Errno::EPERM)]);
    }
    program.extend([
        skip_if(BPF_JEQ, number(libc::SYS_clone)?),
        allow,
        // The lower half of the first argument, on machines that put it first.
        load(word(offset_of!(libc::seccomp_data, args))?),
        skip_if(BPF_JSET, u32::try_from(libc::CLONE_THREAD).map_err(io::Error::other)?),
        refuse(Errno::EPERM),
        allow,
    ]);
    Ok(program)
}

fn statement(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// Skips the next instruction if the test holds.
fn skip_if(test: u32, k: u32) -> sock_filter {
    jump(BPF_JMP | test | BPF_K, k, 1, 0)
}

/// Skips the next instruction unless the test holds.
fn unless(test: u32, k: u32) -> sock_filter {
    jump(BPF_JMP | test | BPF_K, k, 0, 1)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // The codes of BPF are below 256.
    let code = u16::try_from(code).unwrap_or_default();
    sock_filter { code, jt, jf, k }
}
