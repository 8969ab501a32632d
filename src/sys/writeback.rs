//! sync_file_range(2): file data on its way to the disk without a flush of the journal.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Writes the data of the file `fd` refers to and waits until the file system has completed that.
///
/// Neither the file's metadata nor a cache in the disk is flushed: by itself this makes nothing
/// durable.
#[expect(unsafe_code, reason = "sync_file_range has no safe wrapper")]
pub fn write_back(fd: impl AsFd) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: no memory is handed over, and the descriptor is open for the call.
    let result = unsafe { libc::sync_file_range(fd.as_fd().as_raw_fd(), 0, 0, flags) };
    super::check(result.into()).map(drop)
}
