//! An open pool: its store, what is in it, and the steps that bring it into order at start.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use tracing::{info, warn};
use uuid::Uuid;

use super::capacity::{self, Policy};
use super::error::{Error, Kind};
use super::keys::KeyLocks;
use super::registry::Registry;
use crate::backend::{Backend, Data, Space};
use crate::mount::Mounter;
use crate::store::layout::Area;
use crate::store::{self, Quarantined, Store};
use crate::volume::{Capacity, Record, VolumeId, VolumeName};

/// How many IDs of a name are held against a new volume when their records are quarantined. A
/// volume gets the n-th only while n deleted ones of its name are in the trash.
const LIKELY_IDS: u32 = 32;
/// A call that takes longer than this waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pool that this process owns.
pub struct Pool {
    pub(super) store: Store,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) mounter: Arc<dyn Mounter>,
    pub(super) keys: KeyLocks,
    pub(super) policy: Policy,
    registry: Mutex<Registry>,
    /// Rung when the trash gets something to do.
    pub(super) trash_bell: Condvar,
    quarantined: BTreeMap<VolumeId, Quarantined>,
    strays: Vec<Stray>,
    /// How the disk refused the last change, if it did.
    refusal: Mutex<Option<String>>,
    retired: AtomicBool,
}

/// Something in the pool that no record explains. Berth reports it and leaves it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stray {
    /// A file among the records that is not one, or not to be trusted.
    Record(Quarantined),
    /// Data without a record.
    Orphan(PathBuf),
}

impl Pool {
    /// Opens the pool, and if `only` names one, no other, and brings it into order: the very steps
    /// that calls take, taken again for whatever was interrupted. What cannot be tidied now, on a
    /// read-only disk above all, waits for the next start.
    pub fn open(
        path: &Path,
        only: Option<Uuid>,
        backend: Arc<dyn Backend>,
        mounter: Arc<dyn Mounter>,
        policy: Policy,
    ) -> Result<Self, store::Error> {
        let store = Store::open_only(path, only)?;
        let contents = store.load()?;
        if let Err(error) = store.clear_staging() {
            warn!(%error, "temporary files not removed");
        }
        let mut pool = Self {
            store,
            backend,
            mounter,
            keys: KeyLocks::default(),
            policy,
            registry: Mutex::default(),
            trash_bell: Condvar::new(),
            quarantined: BTreeMap::new(),
            strays: Vec::new(),
            refusal: Mutex::default(),
            retired: AtomicBool::new(false),
        };
        for found in contents.quarantined {
            warn!(path = %found.path.display(), problem = found.problem, "record set aside, left as it is");
            match &found.id {
                Some(id) => {
                    pool.quarantined.insert(id.clone(), found);
                }
                None => pool.strays.push(Stray::Record(found)),
            }
        }
        pool.recover(contents.records)?;
        Ok(pool)
    }

    fn recover(&mut self, mut records: Vec<Record>) -> Result<(), store::Error> {
        // Of several volumes of one claim the latest is what the claim's link leads to.
        records.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        for record in &records {
            // One volume that cannot be helped now must not keep the others from being served.
            // What is to be done with it next takes the same step again, and tells why it fails.
            if let Err(error) = self.settle(record) {
                warn!(volume = %record.id, %error, "volume not brought into order");
            }
        }
        let homes: HashMap<_, _> = records.iter().map(|record| (record.id.clone(), home(record))).collect();
        for area in [Area::Staging, Area::Volumes, Area::Trash] {
            for name in self.store.list(area)? {
                if !self.explain(area, &name, &homes) {
                    let path = self.store.path_of(area, &name);
                    warn!(path = %path.display(), "data without a record, left as it is");
                    self.strays.push(Stray::Orphan(path));
                }
            }
        }
        let mut registry = self.registry();
        for record in records {
            registry.put(Arc::new(record), None);
        }
        info!(
            pool = %self.store.path().display(),
            uuid = %self.store.info().uuid,
            volumes = registry.count(),
            deleted = registry.count_deleted(),
            quarantined = self.quarantined.len(),
            strays = self.strays.len(),
            "pool open"
        );
        Ok(())
    }

    /// Whether a record says that `name` is in `area`, or something is done about it: what is empty
    /// goes, and the data of a volume that is not deleted comes back from the trash.
    fn explain(&self, area: Area, name: &str, homes: &HashMap<VolumeId, Area>) -> bool {
        if let Ok(id) = VolumeId::parse(name)
            && area != Area::Staging
        {
            let home = homes.get(&id);
            if home == Some(&area) || self.quarantined.contains_key(&id) {
                return true;
            }
            // A call that failed may have made its record durable all the same.
            if home == Some(&Area::Volumes) && self.store.relocate(&id, area, Area::Volumes).is_ok() {
                return true;
            }
            // All that there is of the volume, wherever it is: that of a deleted one may have found no
            // way into the trash, and is as good there.
            if let Some(home) = home
                && self.store.is_absent(*home, name)
            {
                return *home == Area::Trash;
            }
        }
        // A name that is not UTF-8 is not shown as it is, so nothing can be done by it.
        !name.contains(char::REPLACEMENT_CHARACTER)
            && self.store.remove_empty(area, name).unwrap_or_else(|error| {
                warn!(%error, "not removed");
                self.store.is_void(area, name)
            })
    }

    /// Brings what is on disk into line with a record that is durable: the data of a deleted
    /// volume into the trash, the claim's link to where it points.
    ///
    /// Returns where the data is then: where a full disk has no room for one more name in the trash,
    /// it stays, and is purged from there.
    pub(super) fn settle(&self, record: &Record) -> Result<Area, store::Error> {
        let mut place = home(record);
        if record.deletion.is_some() {
            match self.store.relocate(&record.id, Area::Volumes, Area::Trash) {
                Ok(()) => {}
                Err(error) if error.errno() == Some(Errno::ENOENT as i32) => {}
                Err(error) if error.is_full_disk() => {
                    place = Area::Volumes;
                    warn!(volume = %record.id, %error, "deleted, but still in its place");
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(claim) = &record.spec.claim {
            let linked = match record.deletion {
                None => self.store.link_claim(claim, &record.id),
                Some(_) => self.store.unlink_claim(claim, &record.id),
            };
            if let Err(error) = linked {
                // The links are for people; a volume without one works.
                warn!(volume = %record.id, %error, "claim link not updated");
            }
        }
        Ok(place)
    }

    /// The registry, locked.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's UUID, made once with it: the topology of every volume in it.
    pub fn uuid(&self) -> Uuid {
        self.store.info().uuid
    }

    /// The short name of the pool's file system, as in fstab(5).
    pub fn filesystem(&self) -> &str {
        &self.store.info().filesystem.kind
    }

    /// The pool's directory.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Checks that the pool can be worked with: its path still leads to it, and its disk answers.
    pub fn verify(&self) -> Result<(), Error> {
        self.store.verify()?;
        match self.hang() {
            None => Ok(()),
            Some(message) => Err(Error::new(Kind::Precondition, message)),
        }
    }

    /// Ends every walk through a volume: whoever walks holds the pool's lock, and until it is free
    /// nobody can open the pool again.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether the engine has let go of the pool.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Remembers whether the disk took a change: some file systems tell in no other way that they
    /// take none any more. One that says that it is read-only says so again when asked.
    pub(super) fn noted<T>(&self, change: Result<T, Error>) -> Result<T, Error> {
        // Asked before the lock is taken: whoever wants to know must not wait for the disk.
        let now = match &change {
            Ok(_) => None,
            Err(error) if error.is_refusal_of_disk() && self.store.check_writable().is_ok() => Some(error.to_string()),
            Err(_) => return change,
        };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = now;
        change
    }

    /// How the disk refused the last change, if it did.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What waits for the disk when it seems to hang.
    pub(super) fn hang(&self) -> Option<String> {
        let (id, time) = self.keys.oldest().filter(|(_, time)| *time >= PATIENCE)?;
        let path = self.store.path().display();
        let id = crate::volume::shorten(&id);
        Some(format!(
            "{path} does not answer: a call about {id} has been waiting for {} s",
            time.as_secs()
        ))
    }

    /// Where the data of a volume is while it is not deleted, for a person.
    pub fn volume_path(&self, id: &VolumeId) -> PathBuf {
        self.store.path_of(Area::Volumes, id.as_str())
    }

    /// Volumes whose record cannot be read.
    pub fn quarantined(&self) -> impl Iterator<Item = (&VolumeId, &Quarantined)> {
        self.quarantined.iter()
    }

    /// What no record explains.
    pub fn strays(&self) -> &[Stray] {
        &self.strays
    }

    /// How many files among the records cannot be read.
    pub fn quarantined_count(&self) -> usize {
        self.quarantined.len() + self.strays.len() - self.orphan_count()
    }

    /// How many directories no record explains.
    pub fn orphan_count(&self) -> usize {
        let orphan = |stray: &&Stray| matches!(stray, Stray::Orphan(_));
        self.strays.iter().filter(orphan).count()
    }

    /// The volume `id` unless it is deleted. A volume whose record is quarantined is there, and
    /// nothing can be done with it.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Record>, Error> {
        if let Some(found) = self.quarantined.get(id) {
            return Err(quarantine_error(found));
        }
        self.registry().active(id).ok_or_else(|| no_volume(id))
    }

    /// Whether this is still how the volume is. Who looks at its data without its lock, and misses
    /// it, looks at a volume that was deleted meanwhile.
    pub(super) fn is_current(&self, record: &Record) -> bool {
        let now = self.registry().active(record.id.as_str());
        now.is_some_and(|now| std::ptr::eq(&*now, record))
    }

    /// Fails if the record of `id` is quarantined.
    pub(super) fn refuse_quarantined(&self, id: &str) -> Result<(), Error> {
        self.quarantined
            .get(id)
            .map_or(Ok(()), |found| Err(quarantine_error(found)))
    }

    /// Fails if a quarantined record may be that of the volume `name`.
    pub(super) fn refuse_quarantined_name(&self, name: &VolumeName) -> Result<(), Error> {
        if self.quarantined.is_empty() {
            return Ok(());
        }
        (0..LIKELY_IDS).try_for_each(|attempt| self.refuse_quarantined(VolumeId::for_name(name, attempt).as_str()))
    }

    /// The data of a volume.
    pub(super) fn data(&self, record: &Record) -> Result<Data, Error> {
        self.locate(record).map(|(_, data)| data)
    }

    /// The data of a volume, and where it is.
    pub(super) fn locate(&self, record: &Record) -> Result<(Area, Data), Error> {
        let open = |area| Ok((area, self.backend.open(self.store.area(area), &record.id)?));
        match open(home(record)) {
            // It may not have found a way into the trash.
            Err(Error::Backend(error)) if record.deletion.is_some() && error.errno() == Some(Errno::ENOENT as i32) => {
                open(Area::Volumes)
            }
            other => other,
        }
    }

    /// The space of the pool's file system.
    pub fn space(&self) -> Result<Space, Error> {
        Ok(self.backend.space(self.store.root().as_fd())?)
    }

    /// The bytes that may still be promised.
    pub fn available(&self) -> Result<u64, Error> {
        let space = self.space()?;
        let promises = self.registry().promises(space.used_bytes);
        Ok(capacity::available(&space, promises, &self.policy))
    }

    /// Promises `size`, or fails with [`Kind::Exhausted`]. `written` of it is on the disk already.
    pub(super) fn reserve(&self, size: Capacity, written: u64) -> Result<Reservation<'_>, Error> {
        let space = self.space()?;
        let mut registry = self.registry();
        let promises = registry.promises(space.used_bytes);
        let available = capacity::available(&space, promises, &self.policy);
        if size.bytes().saturating_sub(written) > available {
            let message = format!(
                "pool {} has {available} bytes left to promise, {size} were asked for: {} bytes are free, {} are promised",
                self.store.path().display(),
                space.available_bytes,
                promises.committed,
            );
            return Err(Error::new(Kind::Exhausted, message));
        }
        registry.reserve(size.bytes());
        Ok(Reservation {
            pool: self,
            bytes: size.bytes(),
        })
    }

    /// The directory of the pool's volumes.
    pub(super) fn volumes(&self) -> BorrowedFd<'_> {
        self.store.area(Area::Volumes)
    }
}

/// Space that is promised to a volume in the making.
pub(super) struct Reservation<'a> {
    pool: &'a Pool,
    bytes: u64,
}

impl Reservation<'_> {
    /// Hands the promise over to the record: at no moment is it counted twice or not at all.
    pub(super) fn commit(self, record: Arc<Record>, used: u64) {
        let mut registry = self.pool.registry();
        registry.put(record, Some(used));
        registry.release(self.bytes);
        drop(registry);
        std::mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.pool.registry().release(self.bytes);
    }
}

/// Where the data of a volume belongs.
pub(super) fn home(record: &Record) -> Area {
    match record.deletion {
        None => Area::Volumes,
        Some(_) => Area::Trash,
    }
}

/// The error about an ID that no volume has.
pub(super) fn no_volume(id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("there is no volume {:?}", crate::volume::shorten(id)),
    )
}

fn quarantine_error(found: &Quarantined) -> Error {
    let message = format!(
        "the record {} is damaged ({}); the data is untouched. Run `berth doctor`",
        found.path.display(),
        found.problem
    );
    Error::new(Kind::Precondition, message)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
