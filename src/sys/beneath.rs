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
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The largest file Berth reads into memory: its own are below 4 KiB.
const LARGEST_FILE: u64 = 1 << 20;
/// What holds of every path.
const ALWAYS: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

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

/// Opens `path` beneath `root` like [`open`], and makes it with `mode` if it is not there.
pub fn create(root: impl AsFd, path: &str, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CREAT | OFlag::O_CLOEXEC)
        .mode(mode)
        .resolve(ALWAYS | ResolveFlag::RESOLVE_NO_XDEV);
    openat2(root.as_fd(), path, how)
}

/// Makes the directory `path` beneath `root`, through no symbolic link and on no other mount.
pub fn make_directory(root: BorrowedFd<'_>, path: &str, mode: Mode) -> nix::Result<()> {
    let (parent, name) = parent(root, path)?;
    mkdirat(parent, name, mode)
}

/// Removes the file `path` beneath `root`, through no symbolic link and from no other mount.
pub fn unlink(root: BorrowedFd<'_>, path: &str) -> nix::Result<()> {
    let (parent, name) = parent(root, path)?;
    unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)
}

/// Opens what the last component of `path` is in.
fn parent<'a>(root: BorrowedFd<'_>, path: &'a str) -> nix::Result<(OwnedFd, &'a str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((open_directory(root, parent)?, name))
}

/// Opens the directory `path` beneath `root` like [`open`].
pub fn open_directory<P: NixPath + ?Sized>(root: impl AsFd, path: &P) -> nix::Result<OwnedFd> {
    open(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

fn resolve<P: NixPath + ?Sized>(root: impl AsFd, path: &P, flags: OFlag, further: ResolveFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ALWAYS | further);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root, and beside it something that must not be reached.
    fn outside() -> (tempfile::TempDir, OwnedFd) {
        let home = tempfile::tempdir().unwrap();
        for path in ["root/inner", "canary/inner"] {
            std::fs::create_dir_all(home.path().join(path)).unwrap();
        }
        std::fs::write(home.path().join("canary/file"), "sings").unwrap();
        symlink("../canary", home.path().join("root/link")).unwrap();
        symlink("inner", home.path().join("root/alias")).unwrap();
        let root = open_root(&home.path().join("root")).unwrap();
        (home, root)
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (home, root) = outside();
        let absolute = home.path().join("root/inner");
        for (path, errno) in [
            ("..", Errno::EXDEV),
            ("inner/../..", Errno::EXDEV),
            ("../root/inner", Errno::EXDEV),
            (absolute.to_str().unwrap(), Errno::EXDEV),
            ("link", Errno::ELOOP),
            ("link/inner", Errno::ELOOP),
            ("alias", Errno::ELOOP),
        ] {
            for flags in [OFlag::O_RDONLY, OFlag::O_PATH] {
                assert_eq!(open(&root, path, flags).unwrap_err(), errno, "{path}");
                assert_eq!(open_across_mounts(&root, path, flags).unwrap_err(), errno, "{path}");
            }
        }
        assert!(open(&root, "inner", OFlag::O_PATH).is_ok());
        let processes = open_root(Path::new("/proc/self")).unwrap();
        assert_eq!(
            open_across_mounts(&processes, "cwd/.", OFlag::O_PATH).unwrap_err(),
            Errno::ELOOP
        );
    }

    #[test]
    fn nothing_is_made_or_removed_through_a_link() {
        let (home, root) = outside();
        let mode = Mode::S_IRWXU;
        for path in ["link/file", "link/new", "link", "../canary/file"] {
            assert!(create(&root, path, OFlag::O_WRONLY, mode).is_err(), "{path}");
            assert!(
                path == "link" || make_directory(root.as_fd(), path, mode).is_err(),
                "{path}"
            );
            assert!(path == "link" || unlink(root.as_fd(), path).is_err(), "{path}");
        }
        let names: Vec<_> = std::fs::read_dir(home.path().join("canary")).unwrap().collect();
        assert_eq!(names.len(), 2, "{names:?}");
        create(&root, "inner/new", OFlag::O_WRONLY, mode).unwrap();
        make_directory(root.as_fd(), "inner/directory", mode).unwrap();
        unlink(root.as_fd(), "inner/new").unwrap();
        assert!(home.path().join("root/inner/directory").is_dir());
    }

    /// /proc is another file system than the root everywhere.
    #[test]
    fn another_mount_is_entered_only_where_that_is_meant() {
        let root = open_root(Path::new("/")).unwrap();
        assert_eq!(open(&root, "proc/self", OFlag::O_PATH).unwrap_err(), Errno::EXDEV);
        assert!(open_across_mounts(&root, "proc/sys", OFlag::O_PATH).is_ok());
        let (flags, mode) = (OFlag::O_RDONLY, Mode::empty());
        assert_eq!(create(&root, "proc/uptime", flags, mode).unwrap_err(), Errno::EXDEV);
    }
}
