//! The reaper: gives up what the trash has kept long enough, without hurry.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::background::Stop;
use super::error::{Error, Kind};
use super::pool::{Pool, now};
use crate::backend::Purge;
use crate::store::layout::Area;
use crate::volume::{Deletion, Record, VolumeId};

/// How long a volume that could not be purged waits for the next try.
const RETRY: Duration = Duration::from_secs(60);
/// How long it waits when a call was at work on it.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The longest nap while nothing is due; a bell ends it early.
const NAP: Duration = Duration::from_secs(30);
/// Unlinks between two pauses. Each pause lasts as long as the work before it, so that a large
/// deletion takes at most half of what the disk can do.
const STEPS: u32 = 64;

impl Pool {
    /// Purges what is due until told to stop. Runs on a thread of its own.
    pub(super) fn reap(&self, stop: &Stop) {
        let mut not_before: HashMap<VolumeId, Instant> = HashMap::new();
        while let Some(id) = self.next_due(stop, &not_before) {
            match self.purge(&id, stop) {
                Ok(()) => {
                    not_before.remove(&id);
                }
                Err(error) if error.kind() == Kind::Busy => {
                    not_before.insert(id, Instant::now() + BUSY_RETRY);
                }
                Err(error) => {
                    warn!(volume = %id, %error, "not purged from the trash, will try again");
                    not_before.insert(id, Instant::now() + RETRY);
                }
            }
        }
    }

    /// Waits for a volume whose time in the trash is over; `None` when told to stop.
    fn next_due(&self, stop: &Stop, not_before: &HashMap<VolumeId, Instant>) -> Option<VolumeId> {
        let mut registry = self.registry();
        while !stop.is_set() {
            let time = now();
            let waits = |id: &VolumeId| not_before.get(id).is_some_and(|at| Instant::now() < *at);
            let due = registry
                .purges()
                .take_while(|(at, _)| *at <= time)
                .find(|(_, id)| !waits(id));
            if let Some((_, id)) = due {
                return Some(id.clone());
            }
            let soonest = registry.purges().map(|(at, _)| *at).find(|at| *at > time);
            let again = not_before
                .values()
                .map(|at| at.saturating_duration_since(Instant::now()))
                .min();
            let nap = soonest
                .map_or(NAP, |at| Duration::from_secs(at - time))
                .min(again.map_or(NAP, |again| again.max(BUSY_RETRY)))
                .min(NAP);
            registry = self
                .trash_bell
                .wait_timeout(registry, nap)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        None
    }

    /// Works without the volume's key but for the moment in which the volume passes the point of no
    /// return: from there on no call touches what the trash holds, so none has to wait for it.
    pub(super) fn purge(&self, id: &VolumeId, stop: &Stop) -> Result<(), Error> {
        self.store.verify()?;
        let Some(tombstone) = self.mark_purging(id)? else {
            return Ok(());
        };
        self.settle(&tombstone)?;
        let mut pace = Pace::new(stop);
        // A full disk may have kept it from the trash.
        for area in [Area::Volumes, Area::Trash] {
            match self.backend.purge(self.store.area(area), id, &mut || pace.step())? {
                Purge::Stopped => return Ok(()),
                Purge::Done => {}
            }
        }
        self.store.forget(&tombstone)?;
        self.registry().remove(id);
        self.store.restore_ballast();
        debug!(volume = %id, "purged from the trash");
        Ok(())
    }

    /// Makes durable that nothing may bring the volume back; `None` if it is not deleted any more.
    fn mark_purging(&self, id: &VolumeId) -> Result<Option<Arc<Record>>, Error> {
        let find = || {
            self.registry()
                .get(id.as_str())
                .filter(|record| record.deletion.is_some())
        };
        if let Some(record) = find()
            && record.deletion == Some(Deletion::Purging)
        {
            return Ok(Some(record));
        }
        let _key = self.keys.lock(id.as_str())?;
        let Some(record) = find() else {
            return Ok(None);
        };
        self.store.commit_deletion(&record, Some(Deletion::Purging), &[])?;
        let purging = Arc::new(Record {
            deletion: Some(Deletion::Purging),
            ..Record::clone(&record)
        });
        self.registry().put(purging.clone(), None);
        Ok(Some(purging))
    }
}

/// Makes a long purge leave half of the time to others.
struct Pace<'a> {
    stop: &'a Stop,
    steps: u32,
    since: Instant,
}

impl<'a> Pace<'a> {
    fn new(stop: &'a Stop) -> Self {
        Self {
            stop,
            steps: 0,
            since: Instant::now(),
        }
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS) {
            self.stop.wait(self.since.elapsed());
            self.since = Instant::now();
        }
        !self.stop.is_set()
    }
}
