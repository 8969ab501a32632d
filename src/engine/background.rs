//! What runs beside the calls: watching the pool, purging the trash, measuring what is used.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::debug;

use super::Engine;
use super::pool::Pool;
use crate::volume::VolumeId;

/// How often the pool is looked after.
const WATCH: Duration = Duration::from_secs(2);
/// The shortest time between two rounds of measuring.
const MEASURE: Duration = Duration::from_secs(60);
/// Measuring takes at most this share of the time: one part in so many.
const MEASURE_SHARE: u32 = 100;

/// Tells threads to end, and wakes those that wait.
#[derive(Debug, Default)]
pub struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Tells everybody to end.
    pub fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether to end.
    pub fn is_set(&self) -> bool {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a time, or less if told to end. Returns whether to go on.
    pub fn wait(&self, time: Duration) -> bool {
        let held = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, _) = self
            .changed
            .wait_timeout_while(held, time, |set| !*set)
            .unwrap_or_else(PoisonError::into_inner);
        !*set
    }
}

/// The threads beside the calls; dropping it ends them.
#[derive(Debug)]
pub struct Background {
    stop: Arc<Stop>,
    watcher: Option<JoinHandle<()>>,
}

impl Background {
    /// Opens the engine's pool and watches it from then on, with all that an open pool needs.
    pub fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let watched = stop.clone();
        let watcher = thread::Builder::new()
            .name("watch".into())
            .spawn(move || watch(&engine, &watched))?;
        Ok(Self {
            stop,
            watcher: Some(watcher),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(watcher) = self.watcher.take() {
            // A thread that panicked has said so itself.
            let _ = watcher.join();
        }
    }
}

fn watch(engine: &Arc<Engine>, stop: &Stop) {
    let mut workers: Option<Workers> = None;
    engine.open_pool();
    loop {
        let pool = engine.pool().ok();
        let current = workers.as_ref().map(|workers| &workers.pool);
        let same = match (&pool, current) {
            (Some(pool), Some(current)) => Arc::ptr_eq(pool, current),
            (None, None) => true,
            _ => false,
        };
        if !same {
            // The old pool's threads end before the new one's begin.
            drop(workers.take());
            workers = pool.and_then(|pool| Workers::start(pool).ok());
        }
        if !stop.wait(WATCH) {
            return;
        }
        engine.look_after_pool();
    }
}

/// The threads of one open pool.
struct Workers {
    pool: Arc<Pool>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(pool: Arc<Pool>) -> std::io::Result<Self> {
        let mut workers = Self {
            pool,
            stop: Arc::default(),
            threads: Vec::new(),
        };
        workers.spawn("reaper", Pool::reap)?;
        workers.spawn("measure", Pool::measure)?;
        Ok(workers)
    }

    fn spawn(&mut self, name: &str, work: fn(&Pool, &Stop)) -> std::io::Result<()> {
        let (pool, stop) = (self.pool.clone(), self.stop.clone());
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&pool, &stop))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.set();
        self.pool.ring_trash_bell();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Pool {
    /// Measures every volume, round after round, within a small share of the time.
    fn measure(&self, stop: &Stop) {
        while stop.wait(Duration::from_millis(500)) {
            let begin = Instant::now();
            let mut last: Option<VolumeId> = None;
            while let Some(id) = self.next_volume(last.as_ref()) {
                let since = Instant::now();
                if let Err(error) = self.measure_one(&id, stop) {
                    debug!(volume = %id, %error, "not measured");
                }
                // A large volume is followed by a pause as long as itself.
                if !stop.wait(since.elapsed().min(MEASURE)) {
                    return;
                }
                last = Some(id);
            }
            if !stop.wait(MEASURE.max(begin.elapsed() * MEASURE_SHARE)) {
                return;
            }
        }
    }

    fn next_volume(&self, last: Option<&VolumeId>) -> Option<VolumeId> {
        let registry = self.registry();
        let next = registry.after(last).find(|record| record.deletion.is_none());
        next.map(|record| record.id.clone())
    }
}
