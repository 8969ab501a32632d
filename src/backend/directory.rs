//! Volumes that are plain directories.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::{Backend, Data, Error, Purge, Space, Usage, purge, usage};
use crate::sys::beneath::open_directory;
use crate::sys::stat::stat;
use crate::volume::{Attributes, VolumeId};

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// Makes a directory per volume. Its size is promised by capacity accounting, not enforced.
#[derive(Debug, Default)]
pub struct DirectoryBackend;

impl Backend for DirectoryBackend {
    fn create(&self, parent: BorrowedFd<'_>, id: &VolumeId, attributes: &Attributes) -> Result<Data, Error> {
        let fail = |operation| move |errno: Errno| Error::new(operation, id, errno);
        make_directory(parent, id.as_str(), attributes.mode).map_err(fail("make the directory of volume"))?;
        let directory = open_directory(parent, id.as_str()).map_err(fail("open the new directory of volume"))?;
        let status = stat(&directory).map_err(|error| Error::new("examine the new directory of volume", id, error))?;
        if attributes.uid.is_some() || attributes.gid.is_some() {
            let (uid, gid) = (attributes.uid.map(Uid::from_raw), attributes.gid.map(Gid::from_raw));
            fchown(&directory, uid, gid).map_err(fail("set the owner of volume"))?;
        }
        // After the owner: chown(2) clears the set-group-ID bit.
        let mode = Mode::from_bits_truncate(attributes.mode);
        if status.mode & PERMISSIONS != attributes.mode || attributes.uid.is_some() || attributes.gid.is_some() {
            fchmod(&directory, mode).map_err(fail("set the mode of volume"))?;
        }
        Ok(Data {
            directory,
            identity: status.identity,
        })
    }

    fn open(&self, parent: BorrowedFd<'_>, id: &VolumeId) -> Result<Data, Error> {
        let directory = open_directory(parent, id.as_str())
            .map_err(|errno| Error::new("open the directory of volume", id, errno))?;
        let status = stat(&directory).map_err(|error| Error::new("examine the directory of volume", id, error))?;
        Ok(Data {
            directory,
            identity: status.identity,
        })
    }

    fn space(&self, volume: BorrowedFd<'_>) -> Result<Space, Error> {
        let vfs = fstatvfs(volume).map_err(|errno| Error::new("read the space of", "the pool", errno))?;
        let block = vfs.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        Ok(Space {
            total_bytes: bytes(vfs.blocks()),
            available_bytes: bytes(vfs.blocks_available()),
            used_bytes: bytes(vfs.blocks().saturating_sub(vfs.blocks_free())),
            total_inodes: vfs.files(),
            available_inodes: vfs.files_available(),
            used_inodes: vfs.files().saturating_sub(vfs.files_free()),
            read_only: vfs.flags().contains(FsFlags::ST_RDONLY),
        })
    }

    fn usage(&self, volume: BorrowedFd<'_>, pace: &mut dyn FnMut() -> bool) -> Result<Option<Usage>, Error> {
        usage::measure(volume, pace).map_err(|errno| Error::new("measure", "the volume", errno))
    }

    fn purge(&self, trash: BorrowedFd<'_>, id: &VolumeId, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
        purge::purge(trash, id.as_str(), pace)
    }
}

/// Nobody else can walk into a directory whose owner and mode are not right yet: its parent is
/// root's alone.
fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> nix::Result<()> {
    let make = || mkdirat(parent, name, Mode::from_bits_truncate(mode & 0o777));
    match make() {
        Err(Errno::EEXIST) => match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => make(),
            Err(_) => Err(Errno::EEXIST),
        },
        other => other,
    }
}
