//! The mount table of this namespace, kept current without reading it anew for every question.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::mount_table::{self, MountInfo};

/// The mounts of this namespace.
///
/// Where the kernel has listmount(2), IDs are never used again, so only mounts that are new since
/// the last question are described. On older kernels `mountinfo` is read again when poll(2) says
/// that it changed (proc(5)).
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Mutex<Mounts>,
}

/// What was last read of the table.
#[derive(Debug, Default)]
pub struct Mounts {
    by_id: HashMap<u64, MountInfo>,
    text: Option<std::fs::File>,
}

impl MountTable {
    /// The mounts there are now.
    pub fn current(&self) -> io::Result<MutexGuard<'_, Mounts>> {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.refresh()?;
        Ok(mounts)
    }
}

impl Mounts {
    /// Every mount, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &MountInfo> {
        self.by_id.values()
    }

    fn refresh(&mut self) -> io::Result<()> {
        if self.text.is_some() {
            return self.refresh_from_text();
        }
        match mount_table::list() {
            Ok(ids) => self.refresh_from_list(&ids),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => self.refresh_from_text(),
            Err(error) => Err(error),
        }
    }

    fn refresh_from_list(&mut self, ids: &[u64]) -> io::Result<()> {
        let mut current = HashMap::with_capacity(ids.len());
        for &id in ids {
            let known = self.by_id.remove(&id);
            let info = match known {
                Some(info) => Some(info),
                None => mount_table::describe(id)?,
            };
            if let Some(info) = info {
                current.insert(id, info);
            }
        }
        self.by_id = current;
        Ok(())
    }

    fn refresh_from_text(&mut self) -> io::Result<()> {
        use std::io::{Read, Seek};

        let mut file = match self.text.take() {
            Some(file) if !changed(&file)? => {
                self.text = Some(file);
                return Ok(());
            }
            Some(file) => file,
            None => {
                let file = std::fs::File::open("/proc/self/mountinfo")?;
                // The first poll after the open marks the point from which changes count.
                changed(&file)?;
                file
            }
        };
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        self.by_id = parse(&text).map(|info| (info.short_id, info)).collect();
        self.text = Some(file);
        Ok(())
    }
}

fn changed(file: &std::fs::File) -> io::Result<bool> {
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    poll(&mut polled, PollTimeout::ZERO)?;
    let [polled] = polled;
    Ok(polled
        .revents()
        .is_none_or(|events| events.intersects(PollFlags::POLLPRI | PollFlags::POLLERR)))
}

/// Reads `/proc/self/mountinfo` (proc(5)); a line that does not have its form is passed over. Paths are
/// bytes: whoever may mount something somewhere can put any into the table.
fn parse(text: &[u8]) -> impl Iterator<Item = MountInfo> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let short_id = number(fields.next()?)?;
        let (major, minor) = std::str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
        Some(MountInfo {
            short_id,
            device: (major.parse().ok()?, minor.parse().ok()?),
            root: unescape(fields.next()?),
            mount_point: unescape(fields.next()?),
        })
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the octal escapes of white space and backslashes in mountinfo.
fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;

    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail.first_chunk().copied().and_then(octal)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let value = |sum: Option<u16>, digit: u8| Some(sum? * 8 + u16::from(digit.checked_sub(b'0').filter(|n| *n < 8)?));
    u8::try_from(digits.into_iter().fold(Some(0), value)?).ok()
}
