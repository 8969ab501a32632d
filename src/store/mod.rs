//! The pool on disk: its layout, its identity, and one durable record per volume.
//!
//! The format is described in `docs/on-disk-format.md`. A record is never edited in place; what
//! cannot be read is set aside and left untouched.

mod ballast;
mod claims;
mod durable;
mod envelope;
mod error;
mod init;
pub mod layout;
mod load;
mod name;
mod pool_file;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat, renameat2};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use uuid::Uuid;

pub use error::Error;
pub use init::init;
pub use load::{Contents, Quarantined};
pub use pool_file::PoolInfo;

use crate::sys::stat::{Identity, stat, stat_path};
use crate::sys::{beneath, filesystem, inode_flags};
use crate::volume::{Deletion, Record, VolumeId};
use ballast::Ballast;
use durable::{Order, Place};
use envelope::Problem;
use layout::Area;

/// An open pool, held with a lock: every path in it is reached from descriptors opened here.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    root: OwnedFd,
    /// The root and the mount that it is on.
    origin: (Identity, u64),
    areas: [OwnedFd; Area::ALL.len()],
    info: PoolInfo,
    /// Held while links of claims change: a namespace's directory goes with its last link.
    claim_links: Mutex<()>,
    ballast: Ballast,
    _lock: File,
}

impl Store {
    /// Opens and locks the pool at `path`.
    ///
    /// Refuses a directory without a pool file, a pool on another file system than it was made
    /// on, a newer format, and a pool that another process holds.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_only(path, None)
    }

    /// Opens the pool at `path` like [`Store::open`], and if `only` names one, no other.
    pub fn open_only(path: &Path, only: Option<Uuid>) -> Result<Self, Error> {
        let root = beneath::open_root(path).map_err(|errno| Error::io("open", path, errno))?;
        let info = read_pool_file(path, root.as_fd())?;
        let found =
            filesystem::identify(&root).map_err(|error| Error::io("identify the file system of", path, error))?;
        if !found.is_same(&info.filesystem) {
            return Err(Error::WrongFilesystem {
                path: path.to_owned(),
                expected: format!("{} {}", info.filesystem.kind, info.filesystem.id),
                found: format!("{} {}", found.kind, found.id),
            });
        }
        if let Some(served) = only.filter(|only| *only != info.uuid) {
            return Err(Error::AnotherPool {
                path: path.to_owned(),
                served,
                found: info.uuid,
            });
        }
        let lock = lock(path, root.as_fd())?;
        init::make_areas(path, root.as_fd())?;
        let open = |area: Area| {
            beneath::open_directory(root.as_fd(), area.path())
                .map_err(|errno| Error::io("open", path.join(area.path()), errno))
        };
        let [records, staging, trash, volumes, by_claim] = Area::ALL;
        let areas = [
            open(records)?,
            open(staging)?,
            open(trash)?,
            open(volumes)?,
            open(by_claim)?,
        ];
        let status = stat(&root).map_err(|error| Error::io("examine", path, error))?;
        let store = Self {
            path: path.to_owned(),
            root,
            origin: (status.identity, status.mount_id),
            areas,
            info,
            claim_links: Mutex::new(()),
            ballast: Ballast::default(),
            _lock: lock,
        };
        store.restore_ballast();
        Ok(store)
    }

    /// The pool's identity.
    pub fn info(&self) -> &PoolInfo {
        &self.info
    }

    /// The pool's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root of the pool.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A directory of the pool.
    pub fn area(&self, area: Area) -> BorrowedFd<'_> {
        let [records, staging, trash, volumes, by_claim] = &self.areas;
        match area {
            Area::Records => records,
            Area::Staging => staging,
            Area::Trash => trash,
            Area::Volumes => volumes,
            Area::ByClaim => by_claim,
        }
        .as_fd()
    }

    /// The absolute path of `name` in an area, for messages and for people.
    pub fn path_of(&self, area: Area, name: &str) -> PathBuf {
        self.path.join(area.path()).join(name)
    }

    /// Checks that the pool's path still leads to this pool: a disk may have been unmounted or
    /// another one mounted over it. The same disk on another mount counts as another one: from a
    /// mount that was taken away nothing can be mounted any more.
    pub fn verify(&self) -> Result<(), Error> {
        let replaced = || Error::Replaced {
            path: self.path.clone(),
        };
        let now = match stat_path(&self.path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Err(replaced()),
            other => other.map_err(|error| Error::io("examine", &self.path, error))?,
        };
        match (now.identity, now.mount_id) == self.origin {
            true => Ok(()),
            false => Err(replaced()),
        }
    }

    /// Checks that files can be opened for writing; nothing is written. A file system that the
    /// kernel made read-only after an error, or shut down, may show it in no other way (ext4 since
    /// Linux 6.15).
    pub fn check_writable(&self) -> Result<(), Error> {
        // Without O_NONBLOCK a planted fifo would block the open for ever.
        beneath::open(self.root(), layout::LOCK, OFlag::O_WRONLY | OFlag::O_NONBLOCK)
            .map(drop)
            .map_err(|errno| Error::io("write to", self.path.join(layout::LOCK), errno))
    }

    /// Makes the record of a new volume durable, together with what was changed before in the
    /// directories `synced`: that is durable before the record can be seen.
    pub fn commit(&self, record: &Record, synced: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let name = name::format(&record.id, record.deletion);
        let path = self.path_of(Area::Records, &name);
        let bytes = record::encode(record).map_err(|error| Error::Damaged {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        let temporary = Place {
            directory: self.area(Area::Staging),
            name: &name,
        };
        let place = Place {
            directory: self.area(Area::Records),
            name: &name,
        };
        let order = match self.info.filesystem.journals_in_order() {
            true => Order::Kept,
            false => Order::Open(synced),
        };
        durable::replace(temporary, place, &bytes, order).map_err(|errno| Error::io("write the record", path, errno))
    }

    /// Makes durable that the deletion of a volume is as far as `to` says, together with what was
    /// changed before in the directories `synced`. One rename does it, so it needs no space to
    /// speak of; where a full disk refuses even that, the ballast gives way.
    ///
    /// A call that failed may have renamed the record all the same, and a stale name of the volume
    /// may have come back after a power cut: neither keeps the next call from its end.
    pub fn commit_deletion(
        &self,
        record: &Record,
        to: Option<Deletion>,
        synced: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        let (from, to) = (name::format(&record.id, record.deletion), name::format(&record.id, to));
        let records = self.area(Area::Records);
        let rename = |from: &str, to: &str| match renameat(records, from, records, to) {
            Err(Errno::ENOENT) if beneath::open(records, to, OFlag::O_PATH).is_ok() => Ok(()),
            other => other,
        };
        let attempt = || {
            rename(&from, &to)?;
            // The name goes back after a failure: the next try may want to give it another one.
            fsync(records).inspect_err(|_| {
                let _ = rename(&to, &from);
            })
        };
        self.sync_all(synced)
            .and_then(|()| self.ballast.give_way(self.root(), attempt))
            .map_err(|errno| Error::io("rename the record", self.path_of(Area::Records, &from), errno))
    }

    /// Syncs directories, where the file system does not keep the order of changes by itself (see
    /// [`filesystem::FilesystemId::journals_in_order`]).
    fn sync_all(&self, directories: &[BorrowedFd<'_>]) -> nix::Result<()> {
        match self.info.filesystem.journals_in_order() {
            true => Ok(()),
            false => directories.iter().try_for_each(fsync),
        }
    }

    /// Sets the ballast aside again if it was spent.
    pub fn restore_ballast(&self) {
        self.ballast.restore(self.root());
    }

    /// Removes the record of a volume whose data is gone. It is not made durable: a record that comes
    /// back after a power cut is a tombstone, and purging it again does nothing. Data that comes back
    /// without its record would stay for ever, so where the file system does not keep the order of
    /// changes, that the data is gone is made durable first.
    pub fn forget(&self, record: &Record) -> Result<(), Error> {
        let name = name::format(&record.id, record.deletion);
        let fail = |errno| Error::io("remove the record", self.path_of(Area::Records, &name), errno);
        self.sync_all(&[self.area(Area::Volumes), self.area(Area::Trash)])
            .map_err(fail)?;
        match unlinkat(self.area(Area::Records), name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(fail(errno)),
        }
    }

    /// Moves a volume's directory from one area to another. Fails with `ENOENT` if it is not in
    /// the first and with `EEXIST` if something of its name is in the second.
    ///
    /// The immutable and append-only flags, which a pod may have set on the root of its volume,
    /// do not survive the move.
    pub fn relocate(&self, id: &VolumeId, from: Area, to: Area) -> Result<(), Error> {
        let name = id.as_str();
        let rename = || {
            let (from, to) = (self.area(from), self.area(to));
            self.ballast.give_way(self.root(), || {
                renameat2(from, name, to, name, RenameFlags::RENAME_NOREPLACE)
            })
        };
        let moved = match rename() {
            Err(Errno::EPERM) => {
                // If that does not work, the second try tells why.
                let _ = beneath::open_directory(self.area(from), name).map(inode_flags::unprotect);
                rename()
            }
            other => other,
        };
        moved.map_err(|errno| Error::io("move", self.path_of(from, name), errno))
    }

    /// Removes the directory `name` from an area if it is empty. Returns whether it is gone.
    pub fn remove_empty(&self, area: Area, name: &str) -> Result<bool, Error> {
        match unlinkat(self.area(area), name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EBUSY) => Ok(false),
            Err(errno) => Err(Error::io("remove", self.path_of(area, name), errno)),
        }
    }

    /// Empties the staging directory: files and empty directories are all that is ever there. What
    /// cannot be removed keeps nothing else from it, and the first failure is told.
    pub fn clear_staging(&self) -> Result<(), Error> {
        let remove = |name: &str| match unlinkat(self.area(Area::Staging), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR) => self.remove_empty(Area::Staging, name).map(drop),
            Err(errno) => Err(Error::io("remove", self.path_of(Area::Staging, name), errno)),
        };
        let mut done = Ok(());
        for name in self.list(Area::Staging)? {
            done = done.and(remove(&name));
        }
        done
    }

    /// Whether nothing of this name is in an area.
    pub fn is_absent(&self, area: Area, name: &str) -> bool {
        beneath::open(self.area(area), name, OFlag::O_PATH).is_err_and(|errno| errno == Errno::ENOENT)
    }

    /// Whether what is in an area holds no data: it is empty, or a temporary file.
    pub fn is_void(&self, area: Area, name: &str) -> bool {
        match beneath::open_directory(self.area(area), name) {
            Ok(directory) => beneath::is_empty(directory).unwrap_or(false),
            Err(Errno::ENOENT) => true,
            Err(Errno::ENOTDIR | Errno::ELOOP) => area == Area::Staging,
            Err(_) => false,
        }
    }

    /// The names in an area, in no order. A name that is not UTF-8 is shown with `�` and so never
    /// matches a volume.
    pub fn list(&self, area: Area) -> Result<Vec<String>, Error> {
        beneath::list(self.area(area)).map_err(|errno| Error::io("list", self.path.join(area.path()), errno))
    }
}

fn read_pool_file(path: &Path, root: BorrowedFd<'_>) -> Result<PoolInfo, Error> {
    let file = path.join(layout::POOL_FILE);
    let bytes = match beneath::read_file(root, layout::POOL_FILE) {
        Err(Errno::ENOENT) => return Err(Error::NotAPool { path: path.to_owned() }),
        other => other.map_err(|errno| Error::io("read", &file, errno))?,
    };
    pool_file::decode(&bytes).map_err(|problem| match problem {
        Problem::TooNew(format) => Error::TooNew {
            path: file,
            format,
            known: pool_file::FORMAT,
        },
        Problem::Damaged(problem) => Error::Damaged { path: file, problem },
    })
}

/// Locks the pool with flock(2); closing the file lets go of it.
fn lock(path: &Path, root: BorrowedFd<'_>) -> Result<File, Error> {
    let place = path.join(layout::LOCK);
    // A descriptor for writing would keep the disk from being remounted read-only.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let file = beneath::create(root, layout::LOCK, flags, Mode::from_bits_truncate(0o600))
        .map(File::from)
        .map_err(|errno| Error::io("open", &place, errno))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &place, error)),
    }
}
