//! System calls by what they do.

use std::fmt;
use std::path::Path;

use nix::libc::{self, user_regs_struct};
use nix::unistd::Pid;

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Those that make something durable.
    Syncs,
    /// Those that write to a file.
    Writes,
    /// Those that may change a file system or a mount.
    Changes,
    /// Those that change a file system, without the ones that only may.
    Steps,
    /// All but those that only wait.
    All,
}

/// A system call that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call(pub i64);

/// Calls that make something durable.
const SYNCS: [(i64, &str); 4] = [
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_syncfs, "syncfs"),
];

/// Calls that change something, or that everything which changes something begins with.
const CHANGES: [(i64, &str); 32] = [
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_creat, "creat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_mknodat, "mknodat"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlink, "symlink"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_truncate, "truncate"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_fsetxattr, "fsetxattr"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_bind, "bind"),
];

/// Calls that change something if they make or write a file.
const OPENS: [(i64, &str); 2] = [(libc::SYS_open, "open"), (libc::SYS_openat, "openat")];
const WRITES: [(i64, &str); 2] = [(libc::SYS_write, "write"), (libc::SYS_pwrite64, "pwrite64")];

/// Calls that only wait.
const WAITS: [i64; 10] = [
    libc::SYS_futex,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
];

impl Calls {
    /// Whether a call is one of them that `process` is about to make.
    pub fn count(self, call: Call, process: Pid, registers: &user_regs_struct) -> bool {
        match self {
            Self::Syncs => call.is_in(&SYNCS),
            Self::All => !WAITS.contains(&call.0),
            Self::Changes if call.is_in(&OPENS) => {
                let flags = if call.0 == libc::SYS_open {
                    registers.rsi
                } else {
                    registers.rdx
                };
                flags & libc::O_CREAT as u64 != 0
            }
            Self::Writes | Self::Changes if call.is_in(&WRITES) => is_file(process, registers.rdi),
            Self::Writes => false,
            Self::Changes => call.is_in(&CHANGES) || call.is_in(&SYNCS),
            Self::Steps => call.0 != libc::SYS_openat2 && Self::Changes.hold(call, process, registers),
        }
    }
}

/// Whether a descriptor is that of a file, and not the log.
fn is_file(process: Pid, descriptor: u64) -> bool {
    let path = std::fs::read_link(format!("/proc/{process}/fd/{descriptor}"));
    descriptor > 2 && path.is_ok_and(|path| path.starts_with(Path::new("/")))
}

impl Call {
    fn is_in(self, named: &[(i64, &str)]) -> bool {
        named.iter().any(|(number, _)| *number == self.0)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = SYNCS.iter().chain(&CHANGES).chain(&OPENS).chain(&WRITES);
        match named.clone().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "system call {}", self.0),
        }
    }
}
