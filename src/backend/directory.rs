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

/// Makes a directory per volume. Its size is promised by capacity accounting, not enforced.
#[derive(Debug, Default)]
pub struct DirectoryBackend;

impl Backend for DirectoryBackend {
    fn create(&self, staging: BorrowedFd<'_>, id: &VolumeId, attributes: &Attributes) -> Result<(), Error> {
        let fail = |operation| move |errno: Errno| Error::new(operation, id, errno);
        match unlinkat(staging, id.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(fail("clear the staging directory of volume")(errno)),
        }
        // Nobody can walk into it before its owner and mode are right: staging is root's alone.
        mkdirat(staging, id.as_str(), Mode::from_bits_truncate(0o700)).map_err(fail("make the directory of volume"))?;
        let directory = open_directory(staging, id.as_str()).map_err(fail("open the new directory of volume"))?;
        if attributes.uid.is_some() || attributes.gid.is_some() {
            fchown(
                &directory,
                attributes.uid.map(Uid::from_raw),
                attributes.gid.map(Gid::from_raw),
            )
            .map_err(fail("set the owner of volume"))?;
        }
        // After the owner: chown(2) clears the set-group-ID bit.
        fchmod(&directory, Mode::from_bits_truncate(attributes.mode)).map_err(fail("set the mode of volume"))
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

    fn usage(&self, volume: BorrowedFd<'_>) -> Result<Usage, Error> {
        usage::measure(volume).map_err(|errno| Error::new("measure", "the volume", errno))
    }

    fn purge(&self, trash: BorrowedFd<'_>, id: &VolumeId, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
        purge::purge(trash, id.as_str(), pace)
    }
}
