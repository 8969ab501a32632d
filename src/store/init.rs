//! Making a new pool: only in an empty directory, and complete or not at all.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use uuid::Uuid;

use super::durable::{self, Order, Place};
use super::layout::{self, Area};
use super::{Error, PoolInfo, lock, pool_file};
use crate::sys::{beneath, filesystem};

/// Makes a new pool in the empty directory `path`.
///
/// The pool file is written last, so a power cut leaves either a pool or a directory in which
/// `init` works again.
pub fn init(path: &Path) -> Result<PoolInfo, Error> {
    let root = beneath::open_root(path).map_err(|errno| Error::io("open", path, errno))?;
    let root = root.as_fd();
    refuse_content(path, root)?;
    make_directory(path, root, layout::PRIVATE, 0o700)?;
    let _lock = lock(path, root)?;
    // Somebody may have made a pool and let go of the lock between the look and the lock.
    refuse_content(path, root)?;
    make_areas(path, root)?;
    let filesystem =
        filesystem::identify(root).map_err(|error| Error::io("identify the file system of", path, error))?;
    let info = PoolInfo {
        uuid: Uuid::new_v4(),
        filesystem,
        created_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs()),
    };
    write_pool_file(path, root, &info)?;
    Ok(info)
}

fn write_pool_file(path: &Path, root: BorrowedFd<'_>, info: &PoolInfo) -> Result<(), Error> {
    let file = path.join(layout::POOL_FILE);
    let bytes = pool_file::encode(info).map_err(|error| Error::Damaged {
        path: file.clone(),
        problem: error.to_string(),
    })?;
    let staging = beneath::open_directory(root, Area::Staging.path())
        .map_err(|errno| Error::io("open", path.join(Area::Staging.path()), errno))?;
    let private = beneath::open_directory(root, layout::PRIVATE)
        .map_err(|errno| Error::io("open", path.join(layout::PRIVATE), errno))?;
    let temporary = Place {
        directory: staging.as_fd(),
        name: layout::POOL_FILE,
    };
    let place = Place {
        directory: root,
        name: layout::POOL_FILE,
    };
    durable::replace(temporary, place, &bytes, Order::Open(&[private.as_fd(), root]))
        .map_err(|errno| Error::io("write", file, errno))
}

/// Makes the directories that a pool of this version has and an older one may lack.
pub fn make_areas(path: &Path, root: BorrowedFd<'_>) -> Result<(), Error> {
    Area::ALL
        .into_iter()
        .try_for_each(|area| make_directory(path, root, area.path(), area.mode()))
}

fn make_directory(path: &Path, root: BorrowedFd<'_>, name: &str, mode: u32) -> Result<(), Error> {
    match mkdirat(root, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(Error::io("make", path.join(name), errno)),
    }
}

/// Refuses a directory that holds anything but what mkfs or an interrupted `init` leaves.
fn refuse_content(path: &Path, root: BorrowedFd<'_>) -> Result<(), Error> {
    let io = |errno| Error::io("list", path, errno);
    for name in beneath::list(root).map_err(io)? {
        let empty_area = |area: Area| match beneath::open_directory(root, area.path()) {
            Ok(fd) => beneath::is_empty(fd),
            Err(Errno::ENOENT) => Ok(true),
            Err(errno) => Err(errno),
        };
        let harmless = match name.as_str() {
            layout::POOL_FILE => {
                return Err(Error::AlreadyAPool { path: path.to_owned() });
            }
            layout::LOST_AND_FOUND => true,
            layout::PRIVATE => {
                let is_directory = beneath::open(root, name.as_str(), OFlag::O_DIRECTORY | OFlag::O_RDONLY).is_ok();
                is_directory && empty_area(Area::Records).map_err(io)? && empty_area(Area::Trash).map_err(io)?
            }
            "volumes" => empty_area(Area::Volumes).map_err(io)?,
            "by-claim" => empty_area(Area::ByClaim).map_err(io)?,
            _ => false,
        };
        if !harmless {
            return Err(Error::NotEmpty {
                path: path.to_owned(),
                found: name,
            });
        }
    }
    Ok(())
}
