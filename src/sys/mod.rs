//! System calls: the only place with `unsafe`, for those that no safe crate wraps.
//!
//! Functions take borrowed descriptors, return owned ones, and turn every errno into
//! [`std::io::Error`] at once. Constants carry the C definition they stand for.

pub mod allocator;
pub mod beneath;
pub mod capabilities;
pub mod filesystem;
pub mod inode_flags;
pub mod mount;
pub mod mount_table;
pub mod seccomp;
pub mod stat;
pub mod subvolume;
pub mod writeback;

use std::io;

/// Turns the return value of a raw system call into a result.
fn check(value: nix::libc::c_long) -> io::Result<nix::libc::c_long> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}
