//! Where a volume's data lives: the port behind which kinds of volumes differ.

mod directory;
#[cfg(test)]
pub mod fake;
mod purge;
mod usage;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use directory::DirectoryBackend;

use crate::sys::stat::Identity;
use crate::volume::{Attributes, VolumeId};

/// Makes, opens, measures and removes the data of volumes.
///
/// Every method takes the directory in which the volume lies and reaches nothing outside it.
pub trait Backend: Send + Sync {
    /// Makes the empty volume `id` in the directory `parent`, complete with owner and mode. What an
    /// interrupted attempt left there, empty, is replaced; anything else is `EEXIST`.
    fn create(&self, parent: BorrowedFd<'_>, id: &VolumeId, attributes: &Attributes) -> Result<Data, Error>;

    /// Opens the data of volume `id` in the directory `parent`. Fails if it is not a directory on
    /// the same file system: a symbolic link or a mount in its place is not the volume.
    fn open(&self, parent: BorrowedFd<'_>, id: &VolumeId) -> Result<Data, Error>;

    /// What may still be written to the data that `volume` refers to, and what is.
    fn space(&self, volume: BorrowedFd<'_>) -> Result<Space, Error>;

    /// Measures what the volume itself uses. This may read all its directories, so it calls `pace` at
    /// every entry; `None` when `pace` returned `false`.
    fn usage(&self, volume: BorrowedFd<'_>, pace: &mut dyn FnMut() -> bool) -> Result<Option<Usage>, Error>;

    /// Removes the volume `id` from the directory `trash`, calling `pace` between steps. When
    /// `pace` returns `false` it stops with [`Purge::Stopped`]; a later call goes on.
    fn purge(&self, trash: BorrowedFd<'_>, id: &VolumeId, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error>;
}

/// The open data of a volume.
#[derive(Debug)]
pub struct Data {
    /// Its directory.
    pub directory: OwnedFd,
    /// What makes it the same directory wherever it is mounted.
    pub identity: Identity,
}

/// How far a purge came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Nothing of the volume is left.
    Done,
    /// It was told to stop before the end.
    Stopped,
}

/// The space of a file system as seen from a directory (statvfs(3)). Where a quota limits the
/// directory, the kernel shows the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that an unprivileged writer can still use.
    pub available_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Inodes in all; 0 where the file system makes them without bound.
    pub total_inodes: u64,
    /// Inodes that can still be made.
    pub available_inodes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
    /// Whether the file system is mounted read-only.
    pub read_only: bool,
}

/// What one volume uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated on disk.
    pub bytes: u64,
    /// Files, directories and everything else, the volume's own directory included.
    pub inodes: u64,
}

/// A system call on a volume's data failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}: {source}")]
pub struct Error {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// What it was tried on: a volume ID or a path in it.
    pub object: String,
    /// The errno.
    pub source: io::Error,
}

impl Error {
    /// Wraps an errno with what was tried on which object.
    pub fn new(operation: &'static str, object: impl ToString, source: impl Into<io::Error>) -> Self {
        Self {
            operation,
            object: object.to_string(),
            source: source.into(),
        }
    }

    /// The errno.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}
