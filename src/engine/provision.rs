//! Making, deleting and bringing back volumes.

use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use tracing::info;

use super::error::{Error, Kind};
use super::pool::{Pool, now};
use crate::store::layout::Area;
use crate::volume::{CapacityRange, Deletion, Record, VolumeId, VolumeSpec, shorten};

impl Pool {
    /// Makes the volume that `spec` describes, or finds the one that an earlier call made.
    ///
    /// Make the directory, commit the record: until the record is durable nothing counts, and what
    /// an interrupted call left is an empty directory, which the next call or start replaces.
    pub fn create(&self, spec: VolumeSpec, range: CapacityRange) -> Result<Arc<Record>, Error> {
        let first = VolumeId::for_name(&spec.name, 0);
        let _key = self.keys.lock(first.as_str())?;
        self.store.verify()?;
        let (existing, id) = {
            let registry = self.registry();
            (registry.by_name(&spec.name), registry.free_id(&spec.name))
        };
        if let Some(existing) = existing {
            return check_same(&existing, &spec, range).map(|()| existing);
        }
        self.refuse_quarantined_name(&spec.name)?;
        self.refuse_quarantined(id.as_str())?;
        let _second_key = match id == first {
            true => None,
            false => Some(self.keys.lock(id.as_str())?),
        };
        let record = Arc::new(Record {
            id,
            capacity: range.choose(),
            created_at: now(),
            deletion: None,
            spec,
        });
        let reservation = self.reserve(record.capacity, 0)?;
        if let Err(error) = self.noted(self.materialise(&record)) {
            // The same step that recovery takes: what is empty and has no record goes.
            let _ = self.store.forget(&record);
            let _ = self.store.remove_empty(Area::Volumes, record.id.as_str());
            return Err(error);
        }
        reservation.commit(record.clone(), 0);
        self.settle(&record)?;
        let claim = record.spec.claim.as_ref().map(tracing::field::display);
        info!(volume = %record.id, claim, bytes = record.capacity.bytes(), "volume made");
        Ok(record)
    }

    fn materialise(&self, record: &Record) -> Result<(), Error> {
        let id = &record.id;
        let data = match self.backend.create(self.volumes(), id, &record.spec.attributes) {
            Err(error) if error.errno() == Some(Errno::EEXIST as i32) => {
                let path = self.store.path_of(Area::Volumes, id.as_str());
                let message = format!(
                    "{} is there and no record explains it; it is left as it is. Run `berth doctor`",
                    path.display()
                );
                return Err(Error::new(Kind::Precondition, message));
            }
            other => other?,
        };
        Ok(self.store.commit(record, &[data.directory.as_fd(), self.volumes()])?)
    }

    /// Deletes the volume `id`: from the commit of the tombstone on it is gone for everybody, and
    /// its data is the trash's. A volume that is not there is deleted already.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        let Ok(id) = VolumeId::parse(id) else {
            return Ok(());
        };
        let _key = self.keys.lock(id.as_str())?;
        self.refuse_quarantined(id.as_str())?;
        let Some(record) = self.registry().get(id.as_str()) else {
            return Ok(());
        };
        self.store.verify()?;
        if record.deletion.is_some() {
            self.settle(&record)?;
            return Ok(());
        }
        self.refuse_mounted(&record)?;
        let deletion = match record.spec.attributes.trash_retention.as_secs() {
            0 => Deletion::Purging,
            retention => Deletion::Kept {
                until: now().saturating_add(retention),
            },
        };
        let committed = self.store.commit_deletion(&record, Some(deletion), &[]);
        self.noted(committed.map_err(Error::from))?;
        let tombstone = Arc::new(Record {
            deletion: Some(deletion),
            ..Record::clone(&record)
        });
        // Before its data moves: who looks without a lock must not miss the data of a volume that is there.
        self.registry().put(tombstone.clone(), None);
        let settled = self.settle(&tombstone);
        self.trash_bell.notify_all();
        info!(volume = %id, ?deletion, "volume deleted");
        settled?;
        Ok(())
    }

    fn refuse_mounted(&self, record: &Record) -> Result<(), Error> {
        let data = match self.data(record) {
            // No directory, so nothing of it can be mounted.
            Err(Error::Backend(error)) if error.errno() == Some(Errno::ENOENT as i32) => return Ok(()),
            other => other?,
        };
        match self.mounter.mounts_of(data.directory.as_fd())?.first() {
            None => Ok(()),
            Some(mount) => {
                let message = format!("volume {} is in use: mounted at {}", record.id, mount.path.display());
                Err(Error::new(Kind::Precondition, message))
            }
        }
    }

    /// Brings the deleted volume `id` back from the trash.
    pub fn undelete(&self, id: &str) -> Result<Arc<Record>, Error> {
        let key = self.keys.lock(id)?;
        self.refuse_quarantined(id)?;
        self.store.verify()?;
        let missing = || {
            Error::new(
                Kind::NotFound,
                format!("there is no deleted volume {:?} in the trash", shorten(id)),
            )
        };
        let tombstone = self.registry().get(id).ok_or_else(missing)?;
        // A create of its name holds the key of the name's first ID.
        let first = VolumeId::for_name(&tombstone.spec.name, 0);
        let name_key = match first == tombstone.id {
            true => None,
            false => Some(self.keys.lock(first.as_str())?),
        };
        let deletion = tombstone.deletion.ok_or_else(|| {
            let message = format!("volume {id} is not deleted: nothing to bring back");
            Error::new(Kind::Precondition, message)
        })?;
        if deletion.purge_at() <= now() {
            let message = format!("volume {id} is past its retention and being purged: it cannot come back");
            return Err(Error::new(Kind::Precondition, message));
        }
        if let Some(other) = self.registry().by_name(&tombstone.spec.name) {
            let message = format!("volume {} was made under the name of {id} since its deletion", other.id);
            return Err(Error::new(Kind::Conflict, message));
        }
        let data = self.data(&tombstone)?;
        let measure = || self.backend.usage(data.directory.as_fd(), &mut || !self.is_retired());
        let used = key.unhurried(|| name_key.as_ref().map_or_else(measure, |key| key.unhurried(measure)));
        let used = used?.ok_or_else(|| let_go(self, id))?.bytes;
        // The disk may have gone in the time that took.
        self.store.verify()?;
        let reservation = self.reserve(tombstone.capacity, used)?;
        match self.store.relocate(&tombstone.id, Area::Trash, Area::Volumes) {
            // It never found a way into the trash.
            Err(error) if error.errno() == Some(Errno::ENOENT as i32) => {}
            other => other?,
        }
        let record = Arc::new(Record {
            deletion: None,
            ..Record::clone(&tombstone)
        });
        let synced = [self.store.area(Area::Trash), self.volumes()];
        let committed = self.store.commit_deletion(&tombstone, None, &synced);
        if let Err(error) = self.noted(committed.map_err(Error::from)) {
            // The tombstone is still what is durable: the same step as at start.
            let _ = self.settle(&tombstone);
            return Err(error);
        }
        reservation.commit(record.clone(), used);
        self.settle(&record)?;
        info!(volume = id, "volume brought back");
        Ok(record)
    }
}

fn let_go(pool: &Pool, id: &str) -> Error {
    let message = format!(
        "the disk of {} went away while volume {id} was measured; nothing was changed. Try again when it is back",
        pool.path().display()
    );
    Error::new(Kind::Precondition, message)
}

/// Whether a second request for a name asks for what the first one made.
fn check_same(existing: &Record, spec: &VolumeSpec, range: CapacityRange) -> Result<(), Error> {
    let differs = if !range.accepts(existing.capacity) {
        format!("its size is {}", existing.capacity)
    } else if existing.spec.capabilities != spec.capabilities {
        "its capabilities are others".to_owned()
    } else if existing.spec.attributes != spec.attributes {
        "its parameters are others".to_owned()
    } else {
        return Ok(());
    };
    let message = format!("volume {} exists under this name, but {differs}", existing.id);
    Err(Error::new(Kind::Conflict, message))
}
