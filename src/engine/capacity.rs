//! How much may still be promised: pure arithmetic.

use crate::backend::Space;

/// How much of the pool is kept back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reserve {
    /// A fixed number of bytes.
    Bytes(u64),
    /// A share of the pool, from 0 to 1.
    Share(f64),
}

/// The operator's rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// What is never promised.
    pub reserve: Reserve,
    /// How often the same byte may be promised: 1 promises only what is there.
    pub overcommit: f64,
}

/// What has been promised to volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promises {
    /// The sizes of all volumes added up.
    pub committed: u64,
    /// How much of that has not been written yet.
    pub unwritten: u64,
}

/// The bytes that may still be promised on a pool with this space.
///
/// Two bounds hold at once. What is free now must be enough for all that was promised and not yet
/// written: others may fill the file system. And all promises together must fit the pool: writers
/// may delete what they wrote and write it again.
pub fn available(space: &Space, promises: Promises, policy: &Policy) -> u64 {
    let reserve = match policy.reserve {
        Reserve::Bytes(bytes) => bytes,
        Reserve::Share(share) => scale(space.total_bytes, share.clamp(0.0, 1.0)),
    };
    let overcommit = policy.overcommit.max(0.0);
    let free = scale(space.available_bytes, overcommit).saturating_sub(promises.unwritten);
    let unpromised = scale(space.total_bytes, overcommit)
        .saturating_sub(promises.committed)
        .saturating_sub(reserve);
    // CSI counts in int64.
    free.min(unpromised).min(i64::MAX as u64)
}

/// `bytes` times a factor that is not negative; exact for the factor 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a float to integer cast saturates, and a share of a disk needs no exact bytes"
)]
fn scale(bytes: u64, factor: f64) -> u64 {
    if factor == 1.0 {
        bytes
    } else {
        (bytes as f64 * factor) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(total: u64, free: u64) -> Space {
        Space {
            total_bytes: total * GIB,
            available_bytes: free * GIB,
            ..Space::default()
        }
    }

    fn promised(committed: u64, unwritten: u64) -> Promises {
        Promises {
            committed: committed * GIB,
            unwritten: unwritten * GIB,
        }
    }

    const EXACT: Policy = Policy {
        reserve: Reserve::Bytes(0),
        overcommit: 1.0,
    };

    #[test]
    fn the_smaller_of_both_bounds_holds() {
        // An empty pool.
        assert_eq!(available(&space(100, 100), promised(0, 0), &EXACT), 100 * GIB);
        // Written in full: what is free is what is left.
        assert_eq!(available(&space(100, 40), promised(60, 0), &EXACT), 40 * GIB);
        // Nothing written: the promises count.
        assert_eq!(available(&space(100, 100), promised(60, 60), &EXACT), 40 * GIB);
        // Somebody else filled the disk.
        assert_eq!(available(&space(100, 10), promised(60, 5), &EXACT), 5 * GIB);
        // More was promised than is there.
        assert_eq!(available(&space(100, 10), promised(120, 80), &EXACT), 0);
    }

    #[test]
    fn the_reserve_and_the_ratio_shift_the_bound() {
        let reserve = Policy {
            reserve: Reserve::Share(0.1),
            ..EXACT
        };
        assert_eq!(available(&space(100, 100), promised(60, 60), &reserve), 30 * GIB);
        let twice = Policy {
            overcommit: 2.0,
            ..EXACT
        };
        assert_eq!(available(&space(100, 100), promised(60, 60), &twice), 140 * GIB);
        let absurd = Policy {
            overcommit: 1e30,
            ..EXACT
        };
        assert_eq!(available(&space(100, 100), promised(0, 0), &absurd), i64::MAX as u64);
    }
}
