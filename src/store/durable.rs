//! Files that are either there in full or not at all, also after a power cut.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

/// A directory and a name in it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub directory: BorrowedFd<'a>,
    /// The file's name.
    pub name: &'a str,
}

/// Writes `bytes` to `temporary`, makes them durable, calls `before_rename`, puts the file in
/// `place` and makes that durable too. When it fails before the rename, `place` is as it was.
///
/// `before_rename` is where things are made durable that the file speaks of: once the file's own
/// bytes are on disk, syncing what was changed before it costs little on a journaling file system.
pub fn replace(
    temporary: Place<'_>,
    place: Place<'_>,
    bytes: &[u8],
    before_rename: impl FnOnce() -> nix::Result<()>,
) -> nix::Result<()> {
    let written = write_temporary(temporary, bytes)
        .and_then(|()| before_rename())
        .and_then(|()| renameat(temporary.directory, temporary.name, place.directory, place.name));
    if let Err(error) = written {
        // The first error is the one to tell; staging is emptied at the next start in any case.
        let _ = unlinkat(temporary.directory, temporary.name, UnlinkatFlags::NoRemoveDir);
        return Err(error);
    }
    fsync(place.directory)
}

fn write_temporary(place: Place<'_>, bytes: &[u8]) -> nix::Result<()> {
    let mut file = create(place)?;
    file.write_all(bytes).map_err(errno)?;
    fsync(file.as_fd())
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
