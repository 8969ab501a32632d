//! What the agent keeps itself from doing, whatever was given to it.
//!
//! Kubernetes lets only a privileged container make mounts that the host sees, and gives such a one every
//! capability and no filter of system calls. So the agent gives up itself what it does not use, once,
//! before its first thread. `docs/security.md` says what is left and why.

use std::io;

use nix::libc;
use tracing::warn;

use crate::sys::capabilities::{self, Capabilities};
use crate::sys::seccomp;

/// What the agent uses. Without any one of them a call fails: `tests/privileged_confinement` says which.
const KEPT: [u32; 6] = [
    // The owner of a volume (`berth.dev/uid`, `berth.dev/gid`).
    capabilities::CHOWN,
    // Into directories that their owners closed: to measure and to delete them.
    capabilities::DAC_OVERRIDE,
    // The mode of a volume that belongs to somebody else, and deletion from sticky directories.
    capabilities::FOWNER,
    // The set-group-ID bit of a volume of another group.
    capabilities::FSETID,
    // Deletion of what a pod made immutable.
    capabilities::LINUX_IMMUTABLE,
    // Mounts.
    capabilities::SYS_ADMIN,
];

/// System calls that the agent has no use for and an intruder would: programs, other processes, kernel
/// modules, other namespaces, devices, file systems of one's own, files by handle, the clock.
const DENIED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Confines this process. To be called before its first thread starts, and after what needs more.
pub fn confine() -> io::Result<()> {
    capabilities::keep_only(Capabilities::of(&KEPT))?;
    nix::sys::prctl::set_no_new_privs()?;
    // A kernel that is built without filters is no reason to leave pods without their volumes.
    if let Err(error) = seccomp::deny(DENIED) {
        warn!(%error, "the kernel takes no filter of system calls; going on without one");
    }
    Ok(())
}
