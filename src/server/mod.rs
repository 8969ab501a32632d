//! The unix sockets: who may call, what is counted, and how serving ends.

pub mod authority;
mod crowd;
mod observe;
mod running;
mod socket;

use std::io;
use std::path::{Path, PathBuf};

pub use crowd::{Admitted, Crowd};
pub use observe::Observe;
pub use running::Running;
pub use socket::{Socket, told};

/// Why the agent cannot serve on a socket.
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
    /// A live agent serves there.
    #[error("socket {} is owned by another agent that runs: stop it first", path.display())]
    Owned {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken.
    #[error("{} is there and no socket: it is left as it is; move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Others could put a socket of their own in place.
    #[error(
        "the directory {} of the socket may be written by others (mode {mode:04o}): narrow it or choose another",
        path.display()
    )]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Error {
    fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}
