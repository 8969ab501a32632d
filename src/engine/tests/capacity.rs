//! What is promised: never more than there is, and exactly what was answered.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::*;
use crate::engine::background::Stop;
use crate::faults::{Fault, When};

#[test]
fn twenty_threads_at_once_are_promised_no_more_than_there_is() {
    let bench = Bench::new();
    let pool = bench.open();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let (pool, made) = (&pool, &made);
            scope.spawn(move || {
                for at in 0..3 {
                    match pool.create(spec(&format!("{thread} {at}")), exactly(7 * GIB)) {
                        Ok(_) => made.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            assert_eq!(error.kind(), Kind::Exhausted, "{error}");
                            0
                        }
                    };
                    assert!(pool.committed_bytes() <= DISK);
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 14);
    assert_eq!(pool.available().unwrap(), 2 * GIB);
    assert_consistent(&bench, &pool);
}

#[test]
fn sums_stay_exact_when_calls_fail_among_others() {
    let bench = Bench::new();
    let pool = bench.open();
    for nth in [2, 9] {
        for (operation, when) in [
            ("create", When::Before),
            ("create", When::After),
            ("open", When::Before),
            ("space", When::Before),
        ] {
            let nth = if when == When::After { nth + 1 } else { nth };
            let errno = Errno::EIO;
            bench.backend.faults.order(Fault {
                operation,
                nth,
                when,
                errno,
            });
        }
    }
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let pool = &pool;
            scope.spawn(move || {
                let name = format!("{thread}");
                let made = pool.create(spec(&name), exactly(GIB));
                if thread % 2 == 0 && made.is_ok() {
                    let _ = pool.delete(id_of(&name).as_str());
                }
            });
        }
    });
    assert_consistent(&bench, &pool);
    let before = snapshot(&pool);
    assert!(before.counts.0 > 0);
    drop(pool);
    assert_eq!(snapshot(&bench.open()), before);
}

#[test]
fn a_deleted_volume_promises_nothing_and_what_it_holds_is_not_free() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(60 * GIB)).unwrap();
    bench.backend.set_space(DISK, 50 * GIB);
    bench.backend.set_usage(50 * GIB);
    pool.measure_one(&id_of("a"), &Stop::default()).unwrap();
    assert_eq!(pool.available().unwrap(), 40 * GIB);
    pool.delete(id_of("a").as_str()).unwrap();
    assert_eq!(pool.committed_bytes(), 0);
    assert_eq!(pool.available().unwrap(), 50 * GIB);
    // It comes back only where what it may still write has room.
    pool.create(spec("b"), exactly(41 * GIB)).unwrap();
    assert_eq!(kind(pool.undelete(id_of("a").as_str())), Kind::Exhausted);
    pool.delete(id_of("b").as_str()).unwrap();
    pool.create(spec("c"), exactly(40 * GIB)).unwrap();
    pool.undelete(id_of("a").as_str()).unwrap();
    assert_eq!(pool.committed_bytes(), 100 * GIB);
    assert_eq!(pool.available().unwrap(), 0);
}

#[test]
fn what_is_measured_feeds_what_can_be_promised() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(spec("a"), exactly(60 * GIB)).unwrap().id.clone();
    assert_eq!(pool.available().unwrap(), 40 * GIB);
    // 50 GiB are in use: as long as nobody measures, they are somebody else's.
    bench.backend.set_space(DISK, 50 * GIB);
    assert_eq!(pool.available().unwrap(), 0);
    bench.backend.set_usage(50 * GIB);
    pool.measure_one(&id, &Stop::default()).unwrap();
    assert_eq!(pool.available().unwrap(), 40 * GIB);
    // Somebody else fills the disk.
    bench.backend.set_space(DISK, 70 * GIB);
    assert_eq!(pool.available().unwrap(), 20 * GIB);
    drop(pool);
    // Not measured yet, the volume counts as holding what nobody else is known to hold.
    let pool = bench.open();
    assert_eq!(pool.available().unwrap(), 30 * GIB);
    pool.measure_one(&id, &Stop::default()).unwrap();
    assert_eq!(pool.available().unwrap(), 20 * GIB);
}

#[test]
fn a_volume_that_fails_gives_its_promise_back() {
    let bench = Bench::new();
    let pool = bench.open();
    for errno in [Errno::ENOSPC, Errno::EIO, Errno::EROFS] {
        bench.backend.faults.fail_next("create", errno);
        let expected = match errno {
            Errno::ENOSPC => Kind::Exhausted,
            Errno::EROFS => Kind::Precondition,
            _ => Kind::Internal,
        };
        assert_eq!(kind(pool.create(spec("a"), exactly(DISK))), expected);
        assert_eq!(pool.available().unwrap(), DISK);
    }
    pool.create(spec("a"), exactly(DISK)).unwrap();
}
