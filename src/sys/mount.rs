//! The mount API of Linux 5.12: detached clones, attributes, and attaching by descriptor.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

/// Per-mount attributes (mount_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
}

/// `#define MOUNT_ATTR_RDONLY 0x00000001`
pub const READ_ONLY: u64 = 0x1;
/// `#define MOUNT_ATTR_NOSUID 0x00000002`
pub const NO_SUID: u64 = 0x2;
/// `#define MOUNT_ATTR_NODEV 0x00000004`
pub const NO_DEV: u64 = 0x4;
/// `#define MOUNT_ATTR_NOEXEC 0x00000008`
pub const NO_EXEC: u64 = 0x8;
/// `#define MOUNT_ATTR__ATIME 0x00000070`, the field that NOATIME is a value of.
pub const ATIME: u64 = 0x70;
/// `#define MOUNT_ATTR_NOATIME 0x00000010`
pub const NO_ATIME: u64 = 0x10;
/// `#define MOUNT_ATTR_NODIRATIME 0x00000080`
pub const NO_DIR_ATIME: u64 = 0x80;

/// `#define OPEN_TREE_CLONE 1`
const OPEN_TREE_CLONE: libc::c_uint = 1;
/// `#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004`
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
/// `#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040`
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

/// `struct mount_attr` (linux/mount.h)
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Makes a detached mount of the directory `fd` refers to (open_tree(2)), without what is mounted
/// beneath it. It goes away with the descriptor unless it is attached.
#[expect(unsafe_code, reason = "open_tree has no safe wrapper")]
pub fn clone_tree(fd: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_EMPTY_PATH as libc::c_uint;
    // SAFETY: the descriptor is open for the call and the path is a constant that ends in NUL.
    let raw = unsafe { libc::syscall(libc::SYS_open_tree, fd.as_fd().as_raw_fd(), c"".as_ptr(), flags) };
    let raw = super::check(raw)?;
    let raw = libc::c_int::try_from(raw).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sets attributes of the detached mount `tree` and makes its propagation private
/// (mount_setattr(2)), before anybody can see it: there is no moment at which a read-only mount is
/// writable.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
pub fn set_attributes(tree: impl AsFd, attributes: Attributes) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the structure is laid out as linux/mount.h says and outlives the call, its size is
    // handed over with it, and the path is a constant that ends in NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    super::check(result)?;
    Ok(())
}

/// Attaches the detached mount `tree` on the directory `target` refers to (move_mount(2)).
#[expect(unsafe_code, reason = "move_mount has no safe wrapper")]
pub fn attach(tree: impl AsFd, target: impl AsFd) -> io::Result<()> {
    // SAFETY: both descriptors are open for the call and the paths are constants that end in NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            target.as_fd().as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    super::check(result)?;
    Ok(())
}
