//! listmount(2) and statmount(2), Linux 6.8: the mount table without parsing text.

use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::libc;

/// `#define __NR_statmount 457`, the same on every architecture.
const SYS_STATMOUNT: libc::c_long = 457;
/// `#define __NR_listmount 458`
const SYS_LISTMOUNT: libc::c_long = 458;
/// `#define LSMT_ROOT 0xffffffffffffffff`: the root of the caller's namespace.
const LSMT_ROOT: u64 = u64::MAX;
/// `STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT`
const MASK: u64 = 0x1 | 0x2 | 0x8 | 0x10;
/// Bytes of `struct statmount` before its strings.
const HEADER: usize = 512;
/// How many IDs one listmount call may return.
const BATCH: usize = 512;

/// `struct mnt_id_req` (linux/mount.h), first version.
#[repr(C)]
struct MntIdReq {
    size: u32,
    spare: u32,
    mnt_id: u64,
    param: u64,
}

impl MntIdReq {
    fn new(mnt_id: u64, param: u64) -> Self {
        Self {
            size: 24,
            spare: 0,
            mnt_id,
            param,
        }
    }
}

/// One mount of this namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// The ID that mountinfo and statx(2) show; the kernel may use it again later.
    pub short_id: u64,
    /// Device number of the file system, major and minor.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
}

/// The ID of the mount that `fd` is on, as mountinfo shows it. Unlike statx(2) this does not ask
/// the file system, which may not answer any more.
pub fn mount_of(fd: impl AsFd) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("fdinfo tells no mount"))
}

/// Lists the IDs of all mounts that can be reached from the root of this process. These IDs are
/// never used again while the machine runs.
///
/// Fails with `ENOSYS` on kernels before 6.8.
#[expect(unsafe_code, reason = "listmount has no safe wrapper")]
pub fn list() -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    let mut batch = [0u64; BATCH];
    loop {
        let request = MntIdReq::new(LSMT_ROOT, ids.last().copied().unwrap_or(0));
        // SAFETY: the request is laid out as linux/mount.h says, and the kernel writes at most
        // BATCH IDs into the batch.
        let count = unsafe {
            libc::syscall(
                SYS_LISTMOUNT,
                &raw const request,
                batch.as_mut_ptr(),
                BATCH,
                0 as libc::c_uint,
            )
        };
        let count = usize::try_from(super::check(count)?).map_err(io::Error::other)?;
        ids.extend(batch.iter().take(count));
        if count < BATCH {
            return Ok(ids);
        }
    }
}

/// Describes the mount `id`; `None` if it is gone.
#[expect(unsafe_code, reason = "statmount has no safe wrapper")]
pub fn describe(id: u64) -> io::Result<Option<MountInfo>> {
    let request = MntIdReq::new(id, MASK);
    let mut words = vec![0u64; 1024 / size_of::<u64>()];
    loop {
        // SAFETY: the request is laid out as linux/mount.h says, and the kernel writes at most the
        // buffer's size, which is handed over with it.
        let result = unsafe {
            libc::syscall(
                SYS_STATMOUNT,
                &raw const request,
                words.as_mut_ptr(),
                words.len() * size_of::<u64>(),
                0 as libc::c_uint,
            )
        };
        match super::check(result) {
            Ok(_) => break,
            Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => {
                words.resize(words.len() * 2, 0);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    decode(&bytes)
        .map(Some)
        .ok_or_else(|| io::Error::other("statmount: the kernel's answer is too short"))
}

/// Reads `struct statmount`: offsets as in linux/mount.h.
fn decode(bytes: &[u8]) -> Option<MountInfo> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let text = |at: usize| {
        let start = HEADER.checked_add(word(at)? as usize)?;
        let string = CStr::from_bytes_until_nul(bytes.get(start..)?).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(string.to_bytes())))
    };
    Some(MountInfo {
        device: (word(16)?, word(20)?),
        short_id: word(56)?.into(),
        root: text(104)?,
        mount_point: text(108)?,
    })
}
