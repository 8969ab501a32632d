//! btrfs subvolumes, which every owner of a directory can make in it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `#define BTRFS_SUBVOL_RDONLY (1ULL << 1)`
const READ_ONLY: u64 = 1 << 1;

nix::ioctl_read!(
    /// `#define BTRFS_IOC_SUBVOL_GETFLAGS _IOR(BTRFS_IOCTL_MAGIC, 25, __u64)`
    get_flags, 0x94, 25, u64);
nix::ioctl_write_ptr!(
    /// `#define BTRFS_IOC_SUBVOL_SETFLAGS _IOW(BTRFS_IOCTL_MAGIC, 26, __u64)`
    set_flags, 0x94, 26, u64);

/// Makes the subvolume writable whose root `fd` refers to. For anything else it is an error.
pub fn make_writable(fd: impl AsFd) -> io::Result<()> {
    let mut flags = 0;
    #[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
    // SAFETY: the kernel writes at most one u64, and the descriptor is open for the call.
    unsafe { get_flags(fd.as_fd().as_raw_fd(), &raw mut flags) }?;
    if flags & READ_ONLY == 0 {
        return Ok(());
    }
    flags &= !READ_ONLY;
    #[expect(unsafe_code, reason = "this ioctl has no safe wrapper")]
    // SAFETY: the kernel reads at most one u64, and the descriptor is open for the call.
    unsafe { set_flags(fd.as_fd().as_raw_fd(), &raw const flags) }?;
    Ok(())
}
