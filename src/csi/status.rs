//! The one table from engine errors to gRPC codes.

use tonic::{Code, Status};

use crate::engine::{Error, Kind};
use crate::volume::shorten_to;

/// The longest message, in characters. It travels in a header, in which each byte may take three,
/// and clients take 16 KiB of headers; no name, ID or path may make them miss the code.
const LONGEST: usize = 1000;

/// The code of each kind (CSI 1.13, "Error Scheme", and design section 5).
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => Code::AlreadyExists,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::Busy | Kind::StaleToken => Code::Aborted,
        Kind::Internal => Code::Internal,
    }
}

/// The status that a caller gets for an error.
pub fn of(error: Error) -> Status {
    Status::new(code(error.kind()), shorten_to(LONGEST, &error.to_string()))
}

/// The status of a request that is wrong in itself.
pub fn invalid(error: impl ToString) -> Status {
    Status::invalid_argument(shorten_to(LONGEST, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nix::libc;

    use super::*;
    use crate::{backend, store};

    fn store_io(errno: i32) -> Error {
        Error::Store(store::Error::Io {
            operation: "write",
            path: PathBuf::from("/mnt/data"),
            source: std::io::Error::from_raw_os_error(errno),
        })
    }

    fn backend_io(errno: i32) -> Error {
        Error::Backend(backend::Error::new(
            "make",
            "a",
            std::io::Error::from_raw_os_error(errno),
        ))
    }

    #[test]
    fn every_row_of_the_table() {
        let path = || PathBuf::from("/mnt/data");
        let another_pool = store::Error::AnotherPool {
            path: path(),
            served: uuid::Uuid::from_u128(1),
            found: uuid::Uuid::from_u128(2),
        };
        let refused = |kind| Error::new(kind, "because");
        let rows = [
            (refused(Kind::Invalid), Code::InvalidArgument),
            (refused(Kind::NotFound), Code::NotFound),
            (refused(Kind::Conflict), Code::AlreadyExists),
            (refused(Kind::OutOfRange), Code::OutOfRange),
            (refused(Kind::Exhausted), Code::ResourceExhausted),
            (refused(Kind::Precondition), Code::FailedPrecondition),
            (refused(Kind::Busy), Code::Aborted),
            (refused(Kind::StaleToken), Code::Aborted),
            (refused(Kind::Internal), Code::Internal),
            (Error::Pool("no disk".into()), Code::FailedPrecondition),
            (store_io(libc::ENOSPC), Code::ResourceExhausted),
            (store_io(libc::EDQUOT), Code::ResourceExhausted),
            (store_io(libc::EROFS), Code::FailedPrecondition),
            (store_io(libc::EIO), Code::Internal),
            (store_io(libc::EMFILE), Code::Internal),
            (backend_io(libc::ENOSPC), Code::ResourceExhausted),
            (backend_io(libc::ENOENT), Code::FailedPrecondition),
            (backend_io(libc::EXDEV), Code::FailedPrecondition),
            (backend_io(libc::EACCES), Code::Internal),
            (store::Error::NotAPool { path: path() }.into(), Code::FailedPrecondition),
            (store::Error::Replaced { path: path() }.into(), Code::FailedPrecondition),
            (another_pool.into(), Code::FailedPrecondition),
            (store::Error::Locked { path: path() }.into(), Code::FailedPrecondition),
        ];
        for (error, expected) in rows {
            let text = error.to_string();
            let status = of(error);
            assert_eq!(status.code(), expected, "{text}");
            assert_eq!(status.message(), text);
        }
    }
}
