//! Space set aside so that a deletion can be recorded on a full disk.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat};
use nix::sys::stat::Mode;

use super::layout::{BALLAST, BALLAST_BYTES};
use crate::sys::beneath;

/// What a change gets of it first: enough for a directory to grow by a few blocks. Whoever filled
/// the disk takes what is set free and not used at once, so no more is set free than it takes.
const SHARE: u64 = 32 << 10;

/// The file that takes the space.
#[derive(Debug, Default)]
pub struct Ballast {
    whole: AtomicBool,
}

impl Ballast {
    /// Makes a change in the pool `root`; where a full disk refuses it, a share of the ballast
    /// gives way to it.
    pub fn give_way(&self, root: BorrowedFd<'_>, change: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
        let mut share = SHARE;
        loop {
            match change() {
                Err(Errno::ENOSPC | Errno::EDQUOT) if shrink(root, share).is_ok_and(|shrunk| shrunk) => {
                    self.whole.store(false, Ordering::Relaxed);
                    share *= 2;
                }
                other => return other,
            }
        }
    }

    /// Sets aside what was given away; without space for it the next start or purge tries again.
    pub fn restore(&self, root: BorrowedFd<'_>) {
        if self.whole.swap(true, Ordering::Relaxed) {
            return;
        }
        // Without O_NONBLOCK a planted fifo would block the open for ever.
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mode = Mode::from_bits_truncate(0o600);
        let restored = openat(root, BALLAST, flags, mode)
            .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES));
        if restored.is_err() {
            self.whole.store(false, Ordering::Relaxed);
        }
    }
}

/// Takes so many bytes off the ballast, or what is left of it; `false` if nothing was.
fn shrink(root: BorrowedFd<'_>, bytes: u64) -> std::io::Result<bool> {
    let file = File::from(beneath::open(root, BALLAST, OFlag::O_WRONLY | OFlag::O_NONBLOCK)?);
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(bytes))?;
    Ok(length > 0)
}
