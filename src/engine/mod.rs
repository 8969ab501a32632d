//! The order of steps: what a call does to the store, the data and the mounts, and how an
//! interrupted one is brought to its end.
//!
//! Everything here is synchronous and knows neither gRPC nor Kubernetes. Every change of state is
//! intent, idempotent steps, commit; recovery at start takes the very same steps.

pub mod background;
pub mod capacity;
pub mod error;
pub mod health;
mod keys;
mod pool;
mod provision;
mod publish;
mod reaper;
mod registry;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing::{error, info};
use uuid::Uuid;

pub use crate::backend::Space;
use crate::backend::{Backend, Usage};
use crate::mount::Mounter;
use crate::store;
use crate::volume::{Record, VolumeId};
use background::Stop;
use capacity::Policy;
pub use error::{Error, Kind};
pub use pool::{Pool, Stray};

/// The reason for which there is no pool before the first one was opened.
const OPENING: &str = "PoolOpening";

/// What the engine is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pool's directory.
    pub pool: PathBuf,
    /// Whether to make a new pool if the directory is empty at the start.
    pub init_pool: bool,
    /// How much may be promised.
    pub policy: Policy,
}

/// Why there is no pool to work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One word in CamelCase for machines.
    pub reason: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// The pool, or why there is none, and what mounts from it.
pub struct Engine {
    settings: Settings,
    backend: Arc<dyn Backend>,
    mounter: Arc<dyn Mounter>,
    state: RwLock<Result<Arc<Pool>, Problem>>,
    /// The first pool that was served. The node's label and whoever asked once go by it, so no other
    /// one is taken in its place.
    served: OnceLock<Uuid>,
}

impl Engine {
    /// An engine without a pool until [`Engine::open_pool`]. Without one it still answers.
    pub fn new(settings: Settings, backend: Arc<dyn Backend>, mounter: Arc<dyn Mounter>) -> Self {
        let message = format!("{} is still being opened", settings.pool.display());
        Self {
            settings,
            backend,
            mounter,
            state: RwLock::new(Err(Problem {
                reason: OPENING,
                message,
            })),
            served: OnceLock::new(),
        }
    }

    /// Opens the pool for the first time, and makes it if that was asked for. If there is none, it
    /// is taken as soon as it is there (see [`Engine::look_after_pool`]).
    pub fn open_pool(&self) {
        self.look(true);
    }

    /// Whether the pool is still being opened for the first time.
    pub fn is_opening(&self) -> bool {
        self.pool_or_problem().is_err_and(|problem| problem.reason == OPENING)
    }

    /// The open pool, or an error that says why there is none.
    pub fn pool(&self) -> Result<Arc<Pool>, Error> {
        self.pool_or_problem().map_err(|problem| Error::Pool(problem.message))
    }

    fn pool_or_problem(&self) -> Result<Arc<Pool>, Problem> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pool_path(&self) -> &Path {
        &self.settings.pool
    }

    fn mounter(&self) -> &dyn Mounter {
        &*self.mounter
    }

    /// Lets go of a pool whose disk went away, and opens one that came back.
    ///
    /// A new pool is never made here: an empty directory is now more likely the mount point of a
    /// disk that went away than the place for a first pool.
    pub fn look_after_pool(&self) {
        self.look(false);
    }

    fn look(&self, may_init: bool) {
        let before = self.pool_or_problem();
        let after = match &before {
            Ok(pool) => match pool.store.verify() {
                Err(error @ store::Error::Replaced { .. }) => Err(Problem::from(&error)),
                _ => return,
            },
            Err(_) => self.open(may_init).map(Arc::new).map_err(|error| Problem::from(&error)),
        };
        if let Ok(pool) = &after {
            self.served.get_or_init(|| pool.uuid());
        }
        match (&before, &after) {
            (Err(old), Err(new)) if old == new => return,
            (_, Err(problem)) => error!(reason = problem.reason, "{}", problem.message),
            (_, Ok(_)) => {}
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = after;
        if let Ok(pool) = before {
            pool.retire();
        }
    }

    fn open(&self, may_init: bool) -> Result<Pool, store::Error> {
        let open = || {
            Pool::open(
                &self.settings.pool,
                self.served.get().copied(),
                self.backend.clone(),
                self.mounter.clone(),
                self.settings.policy,
            )
        };
        match open() {
            Err(store::Error::NotAPool { .. }) if may_init && self.settings.init_pool => {
                match store::init(&self.settings.pool) {
                    Ok(info) => info!(pool = %self.settings.pool.display(), uuid = %info.uuid, "new pool made"),
                    // From now on it is a directory without a pool, as later looks see it.
                    Err(error) => error!(%error, "no new pool made"),
                }
                open()
            }
            other => other,
        }
    }
}

/// A volume and what is known about it, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The volume.
    pub record: Arc<Record>,
    /// What it uses, if that was asked for and could be measured before the pool was let go of.
    pub usage: Option<Usage>,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// Where its data is.
    pub path: PathBuf,
    /// Whether its data is there.
    pub present: bool,
}

impl Pool {
    /// The volumes after `last` in the order of their IDs, at most `most`, and whether there are more.
    pub fn page(&self, last: Option<&VolumeId>, most: usize) -> (Vec<Arc<Record>>, bool) {
        let registry = self.registry();
        let mut rest = registry.after(last).filter(|record| record.deletion.is_none());
        let page = rest.by_ref().take(most).cloned().collect();
        (page, rest.next().is_some())
    }

    /// The volume `id` unless it is deleted.
    pub fn volume(&self, id: &str) -> Result<Arc<Record>, Error> {
        self.find(id)
    }

    /// Every volume, those in the trash included, as a person wants to see them.
    pub fn overview(&self, measure: bool) -> Vec<Overview> {
        use std::os::fd::AsFd;

        let records: Vec<_> = self.registry().after(None).cloned().collect();
        let describe = |record: Arc<Record>| {
            let (area, data) = match self.locate(&record) {
                Ok((area, data)) => (area, Some(data)),
                Err(_) => (pool::home(&record), None),
            };
            let directory = data.as_ref().map(|data| data.directory.as_fd());
            Overview {
                usage: directory
                    .filter(|_| measure)
                    .and_then(|directory| self.backend.usage(directory, &mut || !self.is_retired()).ok()?),
                mounts: directory
                    .and_then(|directory| self.mounter.mounts_of(directory).ok())
                    .unwrap_or_default()
                    .into_iter()
                    .map(|mount| mount.path)
                    .collect(),
                path: self.store.path_of(area, record.id.as_str()),
                present: data.is_some(),
                record,
            }
        };
        records.into_iter().map(describe).collect()
    }

    /// How many volumes there are, and how many deleted ones are in the trash.
    pub fn counts(&self) -> (usize, usize) {
        let registry = self.registry();
        (registry.count(), registry.count_deleted())
    }

    /// The sizes of all volumes added up.
    pub fn committed_bytes(&self) -> u64 {
        self.registry().promises(0).committed
    }

    /// Remembers what the volume `id` uses, unless told to stop first.
    fn measure_one(&self, id: &VolumeId, stop: &Stop) -> Result<(), Error> {
        use std::os::fd::AsFd;

        let record = self.find(id.as_str())?;
        let data = self.data(&record)?;
        if let Some(usage) = self.backend.usage(data.directory.as_fd(), &mut || !stop.is_set())? {
            self.registry().measured(id, usage.bytes);
        }
        Ok(())
    }

    fn ring_trash_bell(&self) {
        // Taken and let go, so that a reaper between its check and its wait does not miss the bell.
        drop(self.registry());
        self.trash_bell.notify_all();
    }
}
