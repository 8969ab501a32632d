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
///
/// A walk can take hours and holds its pool for as long: it ends with `None` as soon as `pace` says so.
pub fn measure(volume: BorrowedFd<'_>, pace: &mut dyn FnMut() -> bool) -> nix::Result<Option<Usage>> {
    let root = fstat(volume)?;
    let mut usage = Usage::default();
    add(&mut usage, &root);
    let mut open = vec![read(open_directory(volume, ".")?, root.st_dev)?];
    while let Some(directory) = open.last_mut() {
        if !pace() {
            return Ok(None);
        }
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
    Ok(Some(usage))
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_walk_ends_at_the_very_entry_at_which_it_is_told_to() {
        let root = tempfile::tempdir().expect("temp");
        for directory in ["a/b/c", "d"] {
            fs::create_dir_all(root.path().join(directory)).expect("mkdir");
            for file in 0..20 {
                fs::write(root.path().join(directory).join(file.to_string()), "data").expect("write");
            }
        }
        let volume = File::open(root.path()).expect("open");
        let walk = |until: u32| {
            let mut asked = 0;
            let mut pace = || {
                asked += 1;
                asked < until
            };
            let usage = measure(volume.as_fd(), &mut pace).expect("measure");
            (usage.map(|usage| usage.inodes), asked)
        };
        let (inodes, asked) = walk(u32::MAX);
        assert_eq!(inodes, Some(1 + 4 + 40));
        assert!(asked >= 4 + 40, "asked {asked} times");
        for until in 1..=asked {
            assert_eq!(walk(until), (None, until));
        }
    }
}
