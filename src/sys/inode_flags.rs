//! The inode flags of chattr(1) that keep even root from unlinking a file.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// `#define FS_IMMUTABLE_FL 0x00000010`, `#define FS_APPEND_FL 0x00000020`
const PROTECTED: libc::c_long = 0x10 | 0x20;

nix::ioctl_read_bad!(
    /// `#define FS_IOC_GETFLAGS _IOR('f', 1, long)`
    get_flags, libc::FS_IOC_GETFLAGS, libc::c_long);
nix::ioctl_write_ptr_bad!(
    /// `#define FS_IOC_SETFLAGS _IOW('f', 2, long)`
    set_flags, libc::FS_IOC_SETFLAGS, libc::c_long);

/// Takes the immutable and append-only flags off the file `fd` refers to. Returns whether there
/// was one.
#[expect(unsafe_code, reason = "these ioctls have no safe wrapper")]
pub fn unprotect(fd: impl AsFd) -> io::Result<bool> {
    let raw = fd.as_fd().as_raw_fd();
    let mut flags: libc::c_long = 0;
    // SAFETY: the kernel writes at most one long, and the descriptor is open for the call.
    unsafe { get_flags(raw, &raw mut flags) }?;
    if flags & PROTECTED == 0 {
        return Ok(false);
    }
    flags &= !PROTECTED;
    // SAFETY: the kernel reads at most one long, and the descriptor is open for the call.
    unsafe { set_flags(raw, &raw const flags) }?;
    Ok(true)
}
