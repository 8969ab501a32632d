//! Opening things beneath a held directory, never through a symbolic link (openat2(2)).

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

/// The largest file Berth reads into memory: its own are below 4 KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// Opens the directory at `path`, which a person configured and may well be a symbolic link.
pub fn open_root(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// Opens `path` beneath `root` with `flags`, through no symbolic link. Mounts may be crossed.
pub fn open_across_mounts<P: NixPath + ?Sized>(root: impl AsFd, path: &P, flags: OFlag) -> nix::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlag::empty())
}

/// Opens `path` beneath `root` with `flags`, through no symbolic link and onto no other mount.
pub fn open<P: NixPath + ?Sized>(root: impl AsFd, path: &P, flags: OFlag) -> nix::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlag::RESOLVE_NO_XDEV)
}

/// Opens the directory `path` beneath `root` like [`open`].
pub fn open_directory<P: NixPath + ?Sized>(root: impl AsFd, path: &P) -> nix::Result<OwnedFd> {
    open(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

fn resolve<P: NixPath + ?Sized>(root: impl AsFd, path: &P, flags: OFlag, further: ResolveFlag) -> nix::Result<OwnedFd> {
    let always = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(always | further);
    openat2(root.as_fd(), path, how)
}

/// Reads the regular file `path` beneath `root`. A file larger than Berth writes is `EFBIG`.
pub fn read_file(root: BorrowedFd<'_>, path: &str) -> nix::Result<Vec<u8>> {
    // Without O_NONBLOCK a planted fifo would block the open for ever.
    let file = File::from(open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    let mut bytes = Vec::new();
    let error = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    if !file.metadata().map_err(error)?.is_file() {
        return Err(Errno::EINVAL);
    }
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Errno::EFBIG);
    }
    Ok(bytes)
}

/// The names in the directory `fd`, but `.` and `..`.
pub fn list(fd: BorrowedFd<'_>) -> nix::Result<Vec<String>> {
    let entries = entries(fd, usize::MAX)?;
    let text = |(name, _): (CString, _)| String::from_utf8_lossy(name.to_bytes()).into_owned();
    Ok(entries.into_iter().map(text).collect())
}

/// Up to `most` entries of the directory `fd`, but `.` and `..`, with their types where the file
/// system tells them.
pub fn entries(fd: impl AsFd, most: usize) -> nix::Result<Vec<(CString, Option<Type>)>> {
    let mut found = Vec::new();
    for entry in Dir::from_fd(open_directory(fd, ".")?)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
            if found.len() == most {
                break;
            }
        }
    }
    Ok(found)
}

/// Whether the directory `fd` is empty.
pub fn is_empty(fd: impl AsFd) -> nix::Result<bool> {
    Ok(entries(fd, 1)?.is_empty())
}
