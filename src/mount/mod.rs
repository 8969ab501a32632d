//! Where volumes are mounted: the port to the mount table of this node.

#[cfg(test)]
pub mod fake;
mod linux;
mod table;
mod target;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

pub use linux::LinuxMounter;
pub use target::{KubeletDir, TargetPath};

use crate::sys::stat::Identity;
use crate::volume::MountOption;

/// Mounts directories at paths beneath the kubelet's directory and tells what is mounted there.
pub trait Mounter: Send + Sync {
    /// What is at `target` now.
    fn inspect(&self, target: &TargetPath) -> Result<Occupant, Error>;

    /// Whether the directory at `target` has nothing in it.
    fn is_empty(&self, target: &TargetPath) -> Result<bool, Error>;

    /// Makes the directory `target`. It is no error if it exists.
    fn make_target(&self, target: &TargetPath) -> Result<(), Error>;

    /// Removes the directory `target` if it is there and empty; anything else in it is an error.
    fn remove_target(&self, target: &TargetPath) -> Result<(), Error>;

    /// Mounts the directory `source` at the existing directory `target`, in one step, with nodev
    /// and `options`.
    fn bind(&self, source: BorrowedFd<'_>, target: &TargetPath, options: &[MountOption]) -> Result<(), Error>;

    /// Takes the topmost mount off `target`.
    fn unmount(&self, target: &TargetPath) -> Result<(), Error>;

    /// The options that a mount of `source` made with `options` shows: those of the mount that
    /// `source` lies on stay where `options` does not say otherwise. Sorted.
    fn effective(&self, source: BorrowedFd<'_>, options: &[MountOption]) -> Result<Vec<MountOption>, Error>;

    /// Where in this namespace `directory`, or something beneath it, is mounted.
    fn mounts_of(&self, directory: BorrowedFd<'_>) -> Result<Vec<Sighting>, Error>;

    /// The directory of its file system that the topmost mount at `target` shows.
    fn root_of(&self, target: &TargetPath) -> Result<Option<PathBuf>, Error>;
}

/// What is found at a target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nothing,
    /// A directory on which nothing is mounted.
    Directory,
    /// No directory; the words say what.
    Foreign(&'static str),
    /// The root of a mount.
    Mount(Mounted),
    /// The root of a mount whose file system does not answer any more.
    DeadMount,
}

/// A mount at a target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The directory that is mounted.
    pub directory: Identity,
    /// The options it has, as far as a mount of its own carries them: sorted.
    pub options: Vec<MountOption>,
}

/// A place where a directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The mount point.
    pub path: PathBuf,
    /// Whether the directory itself is mounted there, not only something beneath it.
    pub whole: bool,
}

/// A mount operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// A path is none that the kubelet may ask for.
    #[error("path {path:?} {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    fn io(operation: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }

    /// The errno behind the error, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Path { .. } => None,
        }
    }
}
