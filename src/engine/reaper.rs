//! The reaper: gives up what the trash has kept long enough, without hurry.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::background::Stop;
use super::error::Error;
use super::pool::{Pool, now};
use crate::backend::Purge;
use crate::store::layout::Area;
use crate::volume::{Deletion, Record, VolumeId};

/// How long a volume that could not be purged waits for the next try.
const RETRY: Duration = Duration::from_secs(60);
/// The longest nap while nothing is due; a bell ends it early.
const NAP: Duration = Duration::from_secs(30);
/// Unlinks between two pauses. Each pause lasts as long as the work before it, so that a large
/// deletion takes at most half of what the disk can do.
const STEPS: u32 = 64;

impl Pool {
    /// Purges what is due until told to stop. Runs on a thread of its own.
    pub(super) fn reap(&self, stop: &Stop) {
        let mut failed: HashMap<VolumeId, Instant> = HashMap::new();
        while let Some(id) = self.next_due(stop, &failed) {
            match self.purge(&id, stop) {
                Ok(()) => {
                    failed.remove(&id);
                }
                Err(error) => {
                    warn!(volume = %id, %error, "not purged from the trash, will try again");
                    failed.insert(id, Instant::now());
                }
            }
        }
    }

    /// Waits for a volume whose time in the trash is over; `None` when told to stop.
    fn next_due(&self, stop: &Stop, failed: &HashMap<VolumeId, Instant>) -> Option<VolumeId> {
        let mut registry = self.registry();
        while !stop.is_set() {
            let time = now();
            let waits = |id: &VolumeId| failed.get(id).is_some_and(|at| at.elapsed() < RETRY);
            let due = registry
                .purges()
                .take_while(|(at, _)| *at <= time)
                .find(|(_, id)| !waits(id));
            if let Some((_, id)) = due {
                return Some(id.clone());
            }
            let soonest = registry.purges().map(|(at, _)| *at).find(|at| *at > time);
            let nap = soonest.map_or(NAP, |at| Duration::from_secs(at - time).min(NAP));
            registry = self
                .trash_bell
                .wait_timeout(registry, nap)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        None
    }

    fn purge(&self, id: &VolumeId, stop: &Stop) -> Result<(), Error> {
        let Ok(_key) = self.keys.lock(id.as_str()) else {
            // A call that works on it rings the bell or leaves it as it is.
            stop.wait(Duration::from_millis(10));
            return Ok(());
        };
        let Some(record) = self.registry().get(id.as_str()) else {
            return Ok(());
        };
        let Some(deletion) = record.deletion else {
            return Ok(());
        };
        self.store.verify()?;
        if !deletion.purging {
            // From here on nothing may bring the volume back: its data is no longer whole.
            let purging = Record {
                deletion: Some(Deletion {
                    purging: true,
                    ..deletion
                }),
                ..Record::clone(&record)
            };
            self.store.commit_deletion(&purging)?;
            self.registry().put(purging.into(), None);
        }
        self.settle(&record)?;
        let mut pace = Pace::new(stop);
        match self
            .backend
            .purge(self.store.area(Area::Trash), id, &mut || pace.step())?
        {
            Purge::Stopped => return Ok(()),
            Purge::Done => {}
        }
        self.store.forget(id)?;
        self.registry().remove(id);
        self.store.restore_ballast();
        debug!(volume = %id, "purged from the trash");
        Ok(())
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
