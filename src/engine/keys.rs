//! One operation at a time per volume, and per path of the kubelet: a second one is told so at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Error, Kind};
use crate::volume::shorten;

/// The keys that are being worked on, and since when; `None` for work that may well take long.
#[derive(Debug, Clone, Default)]
pub struct KeyLocks(Arc<Mutex<HashMap<Box<str>, Option<Instant>>>>);

/// Holds a key until it is dropped. It belongs to the thread that does the work, so a caller that
/// goes away does not free the key before the work ends.
#[derive(Debug)]
pub struct KeyGuard {
    locks: KeyLocks,
    key: Box<str>,
}

impl KeyLocks {
    /// Takes `key`, or fails with [`Kind::Busy`] if somebody has it.
    pub fn lock(&self, key: &str) -> Result<KeyGuard, Error> {
        let mut held = self.held();
        if held.contains_key(key) {
            let message = format!("{} is being worked on by an earlier call; try again", shorten(key));
            return Err(Error::new(Kind::Busy, message));
        }
        held.insert(key.into(), Some(Instant::now()));
        Ok(KeyGuard {
            locks: self.clone(),
            key: key.into(),
        })
    }

    /// The key that has been held longest by work that ought to be short, and for how long.
    pub fn oldest(&self) -> Option<(String, Duration)> {
        let held = self.held();
        let short = held.iter().filter_map(|(key, since)| Some((key, (*since)?)));
        let (key, since) = short.min_by_key(|(_, since)| *since)?;
        Some((key.to_string(), since.elapsed()))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyGuard {
    /// Does work whose length tells nothing about the disk, such as walking through a volume.
    pub fn unhurried<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set(None);
        let done = work();
        self.set(Some(Instant::now()));
        done
    }

    fn set(&self, since: Option<Instant>) {
        self.locks.held().insert(self.key.clone(), since);
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.locks.held().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_holder_until_it_lets_go() {
        let locks = KeyLocks::default();
        let held = locks.lock("a").expect("free");
        assert_eq!(locks.lock("a").expect_err("held").kind(), Kind::Busy);
        assert!(locks.lock("b").is_ok());
        assert_eq!(locks.oldest().expect("held").0, "a");
        held.unhurried(|| {
            assert!(locks.oldest().is_none());
            assert_eq!(locks.lock("a").expect_err("held").kind(), Kind::Busy);
        });
        assert_eq!(locks.oldest().expect("held").0, "a");
        drop(held);
        assert!(locks.oldest().is_none());
        assert!(locks.lock("a").is_ok());
    }
}
