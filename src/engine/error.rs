//! What the engine answers when it cannot do what was asked, sorted by what the caller can do.

use crate::{backend, mount, store};

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong.
    Invalid,
    /// What the request names does not exist.
    NotFound,
    /// Something of that name exists and is different.
    Conflict,
    /// No size satisfies the request.
    OutOfRange,
    /// There is no space, here or within the asked topology.
    Exhausted,
    /// The state of the volume, the target or the pool does not allow it now.
    Precondition,
    /// The same thing is being worked on.
    Busy,
    /// A page token is none that Berth gave out.
    StaleToken,
    /// A system call failed in a way that nothing else describes.
    Internal,
}

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A failure that the engine itself found.
    #[error("{message}")]
    Refused {
        /// What the caller can do.
        kind: Kind,
        /// What, where, and what to do.
        message: String,
    },
    /// The pool cannot be used.
    #[error("the pool cannot be used: {0}")]
    Pool(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The data of a volume failed.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] mount::Error),
}

impl Error {
    /// A failure of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Refused {
            kind,
            message: message.into(),
        }
    }

    /// Whether a disk refused what was asked of it.
    pub fn is_refusal_of_disk(&self) -> bool {
        use nix::libc::{EIO, EROFS};

        let errno = match self {
            Self::Store(error) => error.errno(),
            Self::Backend(error) => error.errno(),
            _ => None,
        };
        matches!(errno, Some(EIO | EROFS))
    }

    /// The kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Pool(_) => Kind::Precondition,
            Self::Store(error) => match error {
                store::Error::Io { .. } => kind_of(error.errno()),
                _ => Kind::Precondition,
            },
            Self::Backend(error) => kind_of(error.errno()),
            Self::Mount(mount::Error::Path { .. }) => Kind::Invalid,
            Self::Mount(error) => kind_of(error.errno()),
        }
    }
}

/// Sorts an errno: what the state of a disk or a directory explains is not an internal error.
fn kind_of(errno: Option<i32>) -> Kind {
    use nix::libc::{EBUSY, EDQUOT, EEXIST, ELOOP, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EROFS, EXDEV};

    match errno {
        Some(ENOSPC | EDQUOT) => Kind::Exhausted,
        Some(EBUSY | EEXIST | ELOOP | ENOENT | ENOTDIR | ENOTEMPTY | EROFS | EXDEV) => Kind::Precondition,
        _ => Kind::Internal,
    }
}
