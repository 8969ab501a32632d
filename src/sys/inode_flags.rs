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

/// What kept a file as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection(libc::c_long);

/// Takes the immutable and append-only flags off the file `fd` refers to. Returns those it had, if any.
pub fn unprotect(fd: impl AsFd) -> io::Result<Option<Protection>> {
    let flags = get(&fd)?;
    if flags & PROTECTED == 0 {
        return Ok(None);
    }
    set(fd, flags & !PROTECTED)?;
    Ok(Some(Protection(flags & PROTECTED)))
}

/// Gives a file back what [`unprotect`] took.
pub fn protect(fd: impl AsFd, Protection(taken): Protection) -> io::Result<()> {
    let flags = get(&fd)?;
    set(fd, flags | taken)
}

#[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
fn get(fd: impl AsFd) -> io::Result<libc::c_long> {
    let mut flags: libc::c_long = 0;
    // SAFETY: the kernel writes at most one long, and the descriptor is open for the call.
    unsafe { get_flags(fd.as_fd().as_raw_fd(), &raw mut flags) }?;
    Ok(flags)
}

#[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
fn set(fd: impl AsFd, flags: libc::c_long) -> io::Result<()> {
    // SAFETY: the kernel reads at most one long, and the descriptor is open for the call.
    unsafe { set_flags(fd.as_fd().as_raw_fd(), &raw const flags) }?;
    Ok(())
}
