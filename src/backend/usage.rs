//! Measuring a directory tree: beneath descriptors, on one file system, past symbolic links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc::dev_t;
use nix::sys::stat::{FileStat, fstat, fstatat};

use super::Usage;
use crate::sys::beneath::open_directory;

/// How deep a tree is followed, which bounds the descriptors in use. What lies deeper is not counted.
const DEEPEST: usize = 256;

/// Adds up everything in the tree whose root is `volume`. Files that vanish meanwhile do not count.
pub fn measure(volume: BorrowedFd<'_>) -> nix::Result<Usage> {
    let root = fstat(volume)?;
    let mut usage = Usage::default();
    add(&mut usage, &root);
    let mut open = vec![read(open_directory(volume, ".")?, root.st_dev)?];
    while let Some(directory) = open.last_mut() {
        let Some(entry) = directory.entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let status = match fstatat(directory.fd.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if status.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR {
            if status.st_dev == directory.device {
                add(&mut usage, &status);
            }
            continue;
        }
        // Not told by the device: a subvolume of btrfs has one of its own, and a mount may have the same.
        match open_directory(directory.fd.as_fd(), name) {
            Ok(child) => {
                add(&mut usage, &status);
                if open.len() < DEEPEST {
                    open.push(read(child, status.st_dev)?);
                }
            }
            // Gone or replaced since it was listed, or a mount.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(usage)
}

struct Open {
    fd: OwnedFd,
    device: dev_t,
    entries: nix::dir::OwningIter,
}

fn read(fd: OwnedFd, device: dev_t) -> nix::Result<Open> {
    let entries = Dir::from_fd(fd.try_clone().map_err(|_| Errno::EMFILE)?)?.into_iter();
    Ok(Open { fd, device, entries })
}

fn add(usage: &mut Usage, status: &FileStat) {
    usage.inodes += 1;
    let blocks = u64::try_from(status.st_blocks).unwrap_or(0);
    usage.bytes = usage.bytes.saturating_add(blocks.saturating_mul(512));
}
