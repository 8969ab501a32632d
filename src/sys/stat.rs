//! statx(2): what a path is, which mount it is on, and whether it is that mount's root.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// What statx(2) tells about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The file's identity on this machine.
    pub identity: Identity,
    /// Whether the file is the root of a mount (Linux 5.8).
    pub mount_root: bool,
    /// The mount the file is on, as in mountinfo (Linux 5.8).
    pub mount_id: u64,
}

/// Device and inode number: equal for two descriptors only if they are the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
}

impl Stat {
    /// Whether the file is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// Examines what `fd` refers to.
pub fn stat(fd: impl AsFd) -> io::Result<Stat> {
    call(fd, c"", libc::AT_EMPTY_PATH)
}

/// Examines the file at an absolute `path`, following symbolic links.
pub fn stat_path(path: &Path) -> io::Result<Stat> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // An absolute path leaves the directory without a meaning.
    call(nix::fcntl::AT_FDCWD, &path, 0)
}

#[expect(unsafe_code, reason = "statx has no safe wrapper")]
fn call(fd: impl AsFd, name: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    let mut buffer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the descriptor is open for the call, the name ends in NUL, and the kernel writes at
    // most one `struct statx` into the buffer.
    let result = unsafe {
        libc::statx(
            fd.as_fd().as_raw_fd(),
            name.as_ptr(),
            flags | libc::AT_NO_AUTOMOUNT,
            libc::STATX_BASIC_STATS | libc::STATX_MNT_ID,
            buffer.as_mut_ptr(),
        )
    };
    super::check(result.into())?;
    // SAFETY: the buffer was zeroed, which is a valid statx, and then filled by the kernel.
    let stx = unsafe { buffer.assume_init() };
    Ok(Stat {
        mode: stx.stx_mode.into(),
        uid: stx.stx_uid,
        gid: stx.stx_gid,
        identity: Identity {
            device: (stx.stx_dev_major, stx.stx_dev_minor),
            inode: stx.stx_ino,
        },
        mount_root: stx.stx_attributes & (libc::STATX_ATTR_MOUNT_ROOT as u64) != 0,
        mount_id: stx.stx_mnt_id,
    })
}
