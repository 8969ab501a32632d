//! What can go wrong with the pool on disk.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// An error of the store, with the path it is about and what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// A file is not what Berth wrote.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A file was written by a newer Berth.
    #[error(
        "{} has format {format}, but this Berth knows formats up to {known}: run the newer Berth that wrote it",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format version.
        format: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The directory holds no pool.
    #[error(
        "{} is not a pool: it has no berth.json. If the disk is not mounted there, mount it; \
         to make a new pool run `berth init` on an empty directory",
        path.display()
    )]
    NotAPool {
        /// The directory.
        path: PathBuf,
    },
    /// The pool file was made on another file system.
    #[error(
        "{} is on the wrong file system: the pool was made on {expected}, this is {found}. \
         Mount the pool's own disk there; nothing was touched",
        path.display()
    )]
    WrongFilesystem {
        /// The pool directory.
        path: PathBuf,
        /// What the pool file says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The path leads to something else than the pool that was opened there.
    #[error(
        "{} no longer leads to the pool that was opened: something else is mounted there or it was unmounted. \
         Mount the pool's own disk there; nothing was touched",
        path.display()
    )]
    Replaced {
        /// The pool directory.
        path: PathBuf,
    },
    /// Another pool is at the path of the one that was served. What that one's name was given to, the
    /// node's label above all, still stands.
    #[error(
        "{} holds pool {found}, and this agent serves pool {served}. Mount the disk of pool {served} there, or restart \
         the agent to serve pool {found}; nothing was touched",
        path.display()
    )]
    AnotherPool {
        /// The pool directory.
        path: PathBuf,
        /// The pool that was served.
        served: Uuid,
        /// The pool that is there.
        found: Uuid,
    },
    /// A new pool was asked for where there is something.
    #[error("{} is not empty (it holds {found:?}): a new pool is made only in an empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// There is a pool already.
    #[error("{} is a pool already; nothing was changed", path.display())]
    AlreadyAPool {
        /// The directory.
        path: PathBuf,
    },
    /// Another process owns the pool.
    #[error("{} is in use by another process: an agent runs on this pool already", path.display())]
    Locked {
        /// The pool directory.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps an errno with what was tried on which path.
    pub fn io(operation: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
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
            _ => None,
        }
    }

    /// Whether the disk had no room for it.
    pub fn is_full_disk(&self) -> bool {
        matches!(self.errno(), Some(nix::libc::ENOSPC | nix::libc::EDQUOT))
    }
}
