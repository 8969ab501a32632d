//! The inode flags of chattr(1) that keep even root from unlinking a file or moving a directory.

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

/// `#define FS_XFLAG_PROJINHERIT 0x00000200`
const PROJECT_INHERITED: u32 = 0x200;

/// `struct fsxattr` (linux/fs.h)
#[repr(C)]
#[derive(Debug, Default)]
pub struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    pad: [u8; 8],
}

nix::ioctl_read!(
    /// `#define FS_IOC_FSGETXATTR _IOR('X', 31, struct fsxattr)`
    get_attributes, b'X', 31, Attributes);
nix::ioctl_write_ptr!(
    /// `#define FS_IOC_FSSETXATTR _IOW('X', 32, struct fsxattr)`
    set_attributes, b'X', 32, Attributes);

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

/// Lets the directory `fd` refers to take in what belongs to another project (XFS and ext4: one that
/// hands its project down refuses that with `EXDEV`). Returns whether it did not before.
pub fn admit_all_projects(fd: impl AsFd) -> io::Result<bool> {
    let mut attributes = Attributes::default();
    // Not by FS_IOC_SETFLAGS, which knows this flag on newer kernels only.
    #[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
    // SAFETY: the kernel writes at most one `struct fsxattr`, and the descriptor is open for the call.
    unsafe { get_attributes(fd.as_fd().as_raw_fd(), &raw mut attributes) }?;
    if attributes.flags & PROJECT_INHERITED == 0 {
        return Ok(false);
    }
    attributes.flags &= !PROJECT_INHERITED;
    #[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
    // SAFETY: the kernel reads at most one `struct fsxattr`, and the descriptor is open for the call.
    unsafe { set_attributes(fd.as_fd().as_raw_fd(), &raw const attributes) }?;
    Ok(true)
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
