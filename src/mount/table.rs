//! The mount table of this namespace, kept current without reading it anew for every question.

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
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
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

/// Reads `/proc/self/mountinfo` (proc(5)); a line that does not have its form is passed over.
pub fn parse(text: &str) -> impl Iterator<Item = MountInfo> + '_ {
    text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let short_id = fields.next()?.parse().ok()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some(MountInfo {
            short_id,
            device: (major.parse().ok()?, minor.parse().ok()?),
            root: unescape(fields.next()?),
            mount_point: unescape(fields.next()?),
        })
    })
}

/// Undoes the octal escapes of white space and backslashes in mountinfo.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;

    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\nnonsense\n\
                    37 35 0:44 / / rw - xfs /dev/sda rw\n";
        let mounts: Vec<_> = parse(text).collect();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].mount_point, Path::new("/mnt 2"));
        assert_eq!(mounts[0].device, (98, 0));
        assert_eq!(mounts[1].root, Path::new("/"));
    }

    /// Both ways of reading agree about this very namespace.
    #[test]
    fn listmount_and_mountinfo_tell_the_same() {
        let mut fast = Mounts::default();
        if mount_table::list().is_err() {
            // Kernels before 6.8 have one way only, so there is nothing to compare.
            return;
        }
        fast.refresh().expect("listmount");
        let mut slow = Mounts::default();
        slow.refresh_from_text().expect("mountinfo");
        let sorted = |state: &Mounts| {
            let mut all: Vec<_> = state
                .by_id
                .values()
                .map(|m| (m.mount_point.clone(), m.root.clone(), m.device))
                .collect();
            all.sort();
            all
        };
        assert_eq!(sorted(&fast), sorted(&slow));
        assert!(!fast.by_id.is_empty());
    }
}
