//! Files that are either there in full or not at all, also after a power cut.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::sys::writeback::write_back;

/// A directory and a name in it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub directory: BorrowedFd<'a>,
    /// The file's name.
    pub name: &'a str,
}

/// What has to be synced for a file that speaks of changes made before it.
#[derive(Clone, Copy)]
pub enum Order<'a> {
    /// The file system keeps the order of changes (see
    /// [`crate::sys::filesystem::FilesystemId::journals_in_order`]): one sync after the rename
    /// makes everything before it durable.
    Kept,
    /// It does not: the file and these directories are synced before the rename.
    Open(&'a [BorrowedFd<'a>]),
}

/// Writes `bytes` to `temporary`, puts the file in `place` and makes it durable. At no time is
/// there anything but the whole file in `place`, and nothing that it speaks of is less durable
/// than the file. When it fails before the rename, `place` is as it was.
pub fn replace(temporary: Place<'_>, place: Place<'_>, bytes: &[u8], order: Order<'_>) -> nix::Result<()> {
    let written = write_temporary(temporary, bytes, order)
        .and_then(|()| renameat(temporary.directory, temporary.name, place.directory, place.name));
    if let Err(error) = written {
        // The first error is the one to tell; staging is emptied at the next start in any case.
        let _ = unlinkat(temporary.directory, temporary.name, UnlinkatFlags::NoRemoveDir);
        return Err(error);
    }
    fsync(place.directory)
}

fn write_temporary(place: Place<'_>, bytes: &[u8], order: Order<'_>) -> nix::Result<()> {
    let mut file = create(place)?;
    file.write_all(bytes).map_err(errno)?;
    match order {
        // The file's new size is logged when its data has reached the disk: ahead of the rename.
        Order::Kept => write_back(&file).map_err(errno),
        Order::Open(directories) => {
            fsync(file.as_fd())?;
            directories.iter().try_for_each(fsync)
        }
    }
}

fn create(place: Place<'_>) -> nix::Result<File> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let open = || openat(place.directory, place.name, flags, Mode::from_bits_truncate(0o600));
    let fd = match open() {
        Err(Errno::EEXIST) => {
            unlinkat(place.directory, place.name, UnlinkatFlags::NoRemoveDir)?;
            open()?
        }
        other => other?,
    };
    Ok(File::from(fd))
}

/// The errno in an error of the standard library.
pub fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
