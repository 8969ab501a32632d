//! Which file system a directory is on.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC};

/// What identifies a file system across reboots and machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemId {
    /// Short name: `xfs`, `ext4`, `btrfs`, `tmpfs`, `overlay`, or the magic number in hexadecimal.
    pub kind: String,
    /// `uuid:<hex>` from the superblock, or `fsid:<hex>` of statfs(2) where the kernel tells no
    /// UUID; empty when the file system has neither.
    pub id: String,
}

impl FilesystemId {
    /// Whether both name the same file system. On ext4 a kernel that tells no UUID (before Linux
    /// 6.9) tells a number made of it, so that a pool survives the upgrade of the kernel.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.id == other.id || self.folded() == other.id || self.id == other.folded())
    }

    /// `uuid_to_fsid` (linux/statfs.h): the two halves of the UUID, as little-endian numbers.
    fn folded(&self) -> String {
        let number = |hex: &str| u64::from_str_radix(hex, 16).map(u64::swap_bytes);
        let halves = self.id.strip_prefix("uuid:").and_then(|uuid| uuid.split_at_checked(16));
        match halves.map(|(first, second)| (number(first), number(second))) {
            Some((Ok(first), Ok(second))) if self.kind == "ext4" => {
                let (words, low) = (first ^ second, u64::from(u32::MAX));
                format!("fsid:{:08x}{:08x}", words & low, words >> 32)
            }
            _ => self.id.clone(),
        }
    }

    /// Whether a durable change makes every earlier change of metadata durable too.
    ///
    /// XFS writes metadata through one log: syncing a file forces the log up to the file's own last
    /// change, and with it all that was done before. That includes the size of a file whose data
    /// was written back, and the log's flush takes that data along (not on a realtime device).
    /// btrfs logs single files and directories, and ext4 may have no journal at all, so there each
    /// has to be synced by itself.
    pub fn journals_in_order(&self) -> bool {
        self.kind == "xfs"
    }
}

/// `struct fsuuid2 { __u8 len; __u8 uuid[16]; }`
#[repr(C)]
struct FsUuid2 {
    len: u8,
    uuid: [u8; 16],
}

/// `#define FS_IOC_GETFSUUID _IOR(0x15, 0, struct fsuuid2)` (Linux 6.9)
const FS_IOC_GETFSUUID: libc::c_ulong = 0x8011_1500;

/// `struct xfs_fsop_geom_v1` (xfs/xfs_fs.h)
#[repr(C)]
struct XfsGeometryV1 {
    sizes: [u32; 7],
    pad: u32,
    counts: [u64; 4],
    uuid: [u8; 16],
    sunit: [u32; 7],
    pad2: u32,
}

/// `#define XFS_IOC_FSGEOMETRY_V1 _IOR('X', 100, struct xfs_fsop_geom_v1)`
const XFS_IOC_FSGEOMETRY_V1: libc::c_ulong = 0x8070_5864;

/// `struct btrfs_ioctl_fs_info_args` (linux/btrfs.h)
#[repr(C)]
struct BtrfsFsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

/// `#define BTRFS_IOC_FS_INFO _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)`
const BTRFS_IOC_FS_INFO: libc::c_ulong = 0x8400_941f;

/// Identifies the file system that the open directory `fd` is on. The identity does not depend on
/// the kernel's version: each way of asking for the UUID gives the superblock's.
pub fn identify(fd: impl AsFd) -> io::Result<FilesystemId> {
    let statfs = nix::sys::statfs::fstatfs(fd.as_fd())?;
    let magic = statfs.filesystem_type();
    let kind = match magic {
        XFS_SUPER_MAGIC => "xfs".to_owned(),
        EXT4_SUPER_MAGIC => "ext4".to_owned(),
        BTRFS_SUPER_MAGIC => "btrfs".to_owned(),
        TMPFS_MAGIC => "tmpfs".to_owned(),
        OVERLAYFS_SUPER_MAGIC => "overlay".to_owned(),
        other => format!("{:#x}", other.0),
    };
    let uuid = match magic {
        XFS_SUPER_MAGIC => Some(xfs_uuid(&fd)?),
        BTRFS_SUPER_MAGIC => Some(btrfs_uuid(&fd)?),
        // tmpfs and overlay invent a UUID at each mount on some kernels only.
        TMPFS_MAGIC | OVERLAYFS_SUPER_MAGIC => None,
        _ => generic_uuid(&fd)?,
    };
    let id = match uuid {
        Some(uuid) => format!("uuid:{}", hex(&uuid)),
        None => fsid(&fd)?,
    };
    Ok(FilesystemId { kind, id })
}

fn xfs_uuid(fd: &impl AsFd) -> io::Result<[u8; 16]> {
    Ok(read_ioctl::<XfsGeometryV1>(fd, XFS_IOC_FSGEOMETRY_V1)?.uuid)
}

fn btrfs_uuid(fd: &impl AsFd) -> io::Result<[u8; 16]> {
    Ok(read_ioctl::<BtrfsFsInfo>(fd, BTRFS_IOC_FS_INFO)?.fsid)
}

fn generic_uuid(fd: &impl AsFd) -> io::Result<Option<[u8; 16]>> {
    match read_ioctl::<FsUuid2>(fd, FS_IOC_GETFSUUID) {
        Ok(answer) if answer.len == 16 && answer.uuid != [0; 16] => Ok(Some(answer.uuid)),
        Ok(_) => Ok(None),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOTTY | libc::EINVAL | libc::EOPNOTSUPP)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a structure of plain integers with an `_IOR` ioctl.
#[expect(unsafe_code, reason = "these ioctls have no safe wrapper")]
fn read_ioctl<T>(fd: &impl AsFd, request: libc::c_ulong) -> io::Result<T> {
    let mut answer = MaybeUninit::<T>::zeroed();
    // SAFETY: each request above carries the size of the structure it is used with, T is made of
    // integers only, and the descriptor is open for the call.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, answer.as_mut_ptr()) };
    super::check(result.into())?;
    // SAFETY: zeroed integers are valid, and the kernel wrote over them.
    Ok(unsafe { answer.assume_init() })
}

/// `f_fsid` of statfs(2): ext4 folds its UUID into it, others a device number.
#[expect(unsafe_code, reason = "nix keeps the two words of f_fsid to itself")]
fn fsid(fd: &impl AsFd) -> io::Result<String> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one `struct statfs`, and the descriptor is open for the call.
    let result = unsafe { libc::fstatfs(fd.as_fd().as_raw_fd(), answer.as_mut_ptr()) };
    super::check(result.into())?;
    // SAFETY: the buffer was zeroed and then filled; `fsid_t` is two plain integers.
    let words: [u32; 2] = unsafe { std::mem::transmute(answer.assume_init().f_fsid) };
    Ok(match words {
        [0, 0] => String::new(),
        [low, high] => format!("fsid:{low:08x}{high:08x}"),
    })
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn a_pool_on_ext4_is_the_same_before_and_after_the_kernel_tells_its_uuid() {
        let ext4 = |id: &str| FilesystemId {
            kind: "ext4".to_owned(),
            id: id.to_owned(),
        };
        let uuid = ext4("uuid:000102030405060708090a0b0c0d0e0f");
        assert!(uuid.is_same(&ext4("fsid:0808080808080808")));
        assert!(ext4("fsid:0808080808080808").is_same(&uuid));
        assert!(!uuid.is_same(&ext4("fsid:0808080808080809")));
        assert!(!uuid.is_same(&ext4("uuid:08090a0b0c0d0e0f0001020304050607")));
        let xfs = FilesystemId {
            kind: "xfs".to_owned(),
            ..uuid.clone()
        };
        assert!(!uuid.is_same(&xfs));
        assert!(!xfs.is_same(&FilesystemId {
            id: "fsid:0808080808080808".to_owned(),
            ..xfs.clone()
        }));
        // The kernel itself folds it so.
        let here = std::fs::File::open("/tmp").unwrap();
        let found = identify(&here).unwrap();
        if found.kind == "ext4" && found.id.starts_with("uuid:") {
            assert_eq!(found.folded(), fsid(&here).unwrap());
        }
    }

    /// The size of the argument stands in bits 16 to 29 of an ioctl's number.
    #[test]
    fn ioctl_numbers_carry_the_size_of_their_structure() {
        let size = |request: libc::c_ulong| (request >> 16 & 0x3fff) as usize;
        assert_eq!(size(FS_IOC_GETFSUUID), size_of::<FsUuid2>());
        assert_eq!(size(XFS_IOC_FSGEOMETRY_V1), size_of::<XfsGeometryV1>());
        assert_eq!(size(BTRFS_IOC_FS_INFO), size_of::<BtrfsFsInfo>());
    }
}
