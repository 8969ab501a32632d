//! Mounting volumes for pods. The mount table is the truth about what is published; nothing about
//! it is remembered, so nothing goes stale.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;

use super::Engine;
use super::error::{Error, Kind};
use super::keys::KeyGuard;
use super::pool::{Pool, no_volume};
use crate::backend::{Data, Space};
use crate::mount::{Occupant, Sighting, TargetPath};
use crate::volume::{AccessMode, Capability, MountOption, Record, shorten};

/// What is at a target that somebody wrote into while nothing was mounted there.
const NOT_EMPTY: &str = "a directory with files of its own";
/// What a mount shows whose file system does not answer any more.
const GONE: &str = "a disk that is gone";
/// How many mounts are taken off one target before something is wrong.
const MOST_STACKED: usize = 16;

impl Pool {
    /// Mounts the volume at the kubelet's staging path.
    pub fn stage(&self, id: &str, staging: &TargetPath, capability: &Capability) -> Result<(), Error> {
        let _keys = self.lock_with(id, staging)?;
        let record = self.find(id)?;
        self.store.verify()?;
        let data = self.data(&record)?;
        // Read-only is a matter of each publish; two pods may differ in it.
        let options: Vec<_> = without_read_only(&capability.options);
        self.mount_once(&record, &data, staging, &options)
    }

    /// Mounts the volume at a pod's target path.
    pub fn publish(
        &self,
        id: &str,
        staging: &TargetPath,
        target: &TargetPath,
        capability: &Capability,
        read_only: bool,
    ) -> Result<(), Error> {
        let _keys = self.lock_with(id, target)?;
        let record = self.find(id)?;
        self.store.verify()?;
        let data = self.data(&record)?;
        self.require_staged(&record, &data, staging)?;
        let mut options = without_read_only(&capability.options);
        let asked_read_only = read_only || capability.options.contains(&MountOption::ReadOnly);
        if asked_read_only || capability.mode == AccessMode::SingleNodeReaderOnly {
            options.insert(0, MountOption::ReadOnly);
        }
        if needs_single_target(&record, capability) {
            self.refuse_second_target(&record, &data, staging, target)?;
        }
        self.mount_once(&record, &data, target, &options)
    }

    /// Takes the volume and the path at which it is mounted: two volumes must not find the same path
    /// free, and none may lose the directory that was just made for it.
    fn lock_with(&self, id: &str, target: &TargetPath) -> Result<[KeyGuard; 2], Error> {
        Ok([self.keys.lock(id)?, self.keys.lock(&target.path().to_string_lossy())?])
    }

    fn require_staged(&self, record: &Record, data: &Data, staging: &TargetPath) -> Result<(), Error> {
        let message = match self.mounter.inspect(staging)? {
            Occupant::Mount(mounted) if mounted.directory == data.identity => return Ok(()),
            // The kubelet does not stage again while a pod on this node has the volume.
            Occupant::Mount(_) => stale(record, staging, "something else, as after its disk was replaced"),
            Occupant::DeadMount => stale(record, staging, GONE),
            _ => format!(
                "volume {} is not staged at {}: NodeStageVolume comes first",
                record.id,
                staging.path().display()
            ),
        };
        Err(Error::new(Kind::Precondition, message))
    }

    fn refuse_second_target(
        &self,
        record: &Record,
        data: &Data,
        staging: &TargetPath,
        target: &TargetPath,
    ) -> Result<(), Error> {
        let mounts = self.mounter.mounts_of(data.directory.as_fd())?;
        let other = mounts
            .iter()
            .find(|mount| mount.whole && mount.path != staging.path() && mount.path != target.path());
        match other {
            None => Ok(()),
            Some(mount) => {
                let message = format!(
                    "volume {} is for a single pod and mounted at {} already",
                    record.id,
                    mount.path.display()
                );
                Err(Error::new(Kind::Precondition, message))
            }
        }
    }

    /// Makes the mount depth of `target` 1: mounts where nothing is, accepts what is as it should
    /// be, and refuses everything else.
    fn mount_once(
        &self,
        record: &Record,
        data: &Data,
        target: &TargetPath,
        options: &[MountOption],
    ) -> Result<(), Error> {
        let source = data.directory.as_fd();
        match self.mounter.inspect(target)? {
            Occupant::Nothing => self.mounter.make_target(target)?,
            Occupant::Directory if self.mounter.is_empty(target)? => {}
            // What is in it would be hidden, and then keep the target from being removed.
            Occupant::Directory => return Err(foreign(target, NOT_EMPTY)),
            Occupant::Foreign(what) => return Err(foreign(target, what)),
            Occupant::DeadMount => return Err(Error::new(Kind::Precondition, stale(record, target, GONE))),
            Occupant::Mount(mounted) => {
                let different = if mounted.directory != data.identity {
                    "something else is mounted there"
                } else if mounted.options != self.mounter.effective(source, options)? {
                    "the volume is mounted there with other options"
                } else {
                    return Ok(());
                };
                let message = format!(
                    "{} is taken for volume {}: {different}",
                    target.path().display(),
                    record.id
                );
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        Ok(self.mounter.bind(source, target, options)?)
    }

    /// The space of the volume, asked through a path at which it is mounted.
    pub fn stats(&self, id: &str, target: &TargetPath) -> Result<Space, Error> {
        let record = self.find(id)?;
        let data = match self.data(&record) {
            Err(_) if !self.is_current(&record) => return Err(no_volume(id)),
            other => other?,
        };
        match self.mounter.inspect(target)? {
            Occupant::Mount(mounted) if mounted.directory == data.identity => {
                Ok(self.backend.space(data.directory.as_fd())?)
            }
            _ => {
                let message = format!("volume {id} is not mounted at {}", target.path().display());
                Err(Error::new(Kind::NotFound, message))
            }
        }
    }

    /// Where in this namespace the volume is mounted, its staging path included.
    pub fn mounts(&self, record: &Record) -> Result<Vec<Sighting>, Error> {
        Ok(self.mounter.mounts_of(self.data(record)?.directory.as_fd())?)
    }
}

impl Engine {
    /// Takes the volume off a staging path. The directory stays: it is the kubelet's.
    pub fn unstage(&self, id: &str, staging: &TargetPath) -> Result<(), Error> {
        let pool = self.pool().ok();
        let _keys = pool.as_ref().map(|pool| pool.lock_with(id, staging)).transpose()?;
        self.unmount_all(pool.as_deref(), id, staging).map(drop)
    }

    /// Takes the volume off a pod's target path and removes the target.
    pub fn unpublish(&self, id: &str, target: &TargetPath) -> Result<(), Error> {
        let pool = self.pool().ok();
        let _keys = pool.as_ref().map(|pool| pool.lock_with(id, target)).transpose()?;
        match self.unmount_all(pool.as_deref(), id, target)? {
            Occupant::Nothing => Ok(()),
            Occupant::Foreign(what) => Err(foreign(target, what)),
            Occupant::Directory | Occupant::Mount(_) | Occupant::DeadMount => {
                match self.mounter().remove_target(target) {
                    Err(error) if error.errno() == Some(Errno::ENOTEMPTY as i32) => Err(foreign(target, NOT_EMPTY)),
                    other => Ok(other?),
                }
            }
        }
    }

    /// Returns what is at the target when nothing is mounted there any more. Works without the pool
    /// too: a pod must be able to end while its disk is away.
    fn unmount_all(&self, pool: Option<&Pool>, id: &str, target: &TargetPath) -> Result<Occupant, Error> {
        for _ in 0..MOST_STACKED {
            let mounted = match self.mounter().inspect(target)? {
                Occupant::Mount(mounted) => Some(mounted.directory),
                Occupant::DeadMount => None,
                other => return Ok(other),
            };
            let data = pool.and_then(|pool| pool.data(pool.find(id).ok()?.as_ref()).ok());
            // A disk that has failed, or is another device since it came back, tells no identity.
            let known = matches!((mounted, data), (Some(mounted), Some(data)) if mounted == data.identity);
            if !known && !self.is_named(target, id)? {
                let message = format!("{} is not a mount of volume {}", target.path().display(), shorten(id));
                return Err(Error::new(Kind::Precondition, message));
            }
            self.mounter().unmount(target)?;
        }
        let message = format!("{} is mounted over again and again", target.path().display());
        Err(Error::new(Kind::Internal, message))
    }

    /// Whether the directory that is mounted has the name of the volume. That tells when the volume
    /// is not known, or when its directory is another one by now: the disk came back as another
    /// device, or a backup was put in its place.
    fn is_named(&self, target: &TargetPath, id: &str) -> Result<bool, Error> {
        let root = self.mounter().root_of(target)?;
        Ok(root.is_some_and(|root| root.file_name() == Some(OsStr::new(id))))
    }
}

fn needs_single_target(record: &Arc<Record>, capability: &Capability) -> bool {
    let single = |capability: &Capability| capability.mode == AccessMode::SingleNodeSingleWriter;
    single(capability) || record.spec.capabilities.iter().all(single)
}

fn without_read_only(options: &[MountOption]) -> Vec<MountOption> {
    options
        .iter()
        .copied()
        .filter(|option| *option != MountOption::ReadOnly)
        .collect()
}

fn stale(record: &Record, target: &TargetPath, what: &str) -> String {
    format!(
        "{} does not show volume {} but {what}: stop all pods that use the volume on this node, then start them again",
        target.path().display(),
        record.id
    )
}

fn foreign(target: &TargetPath, what: &str) -> Error {
    let message = format!(
        "{} is {what}: it is left as it is; move it away",
        target.path().display()
    );
    Error::new(Kind::Precondition, message)
}
