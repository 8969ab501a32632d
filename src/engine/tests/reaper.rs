//! Giving up what the trash has kept long enough.

use std::fs;
use std::time::Instant;

use nix::errno::Errno;

use super::*;
use crate::engine::background::Stop;

/// Runs the reaper beside `work`.
fn with_reaper(pool: &Pool, work: impl FnOnce()) {
    let stop = Stop::default();
    std::thread::scope(|scope| {
        scope.spawn(|| pool.reap(&stop));
        // The thread ends with the scope, also when the work fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.set();
        pool.ring_trash_bell();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn make_and_delete(bench: &Bench, pool: &Pool, spec: VolumeSpec) -> VolumeId {
    let id = pool.create(spec, exactly(GIB)).unwrap().id.clone();
    bench.write(&id);
    pool.delete(id.as_str()).unwrap();
    id
}

#[test]
fn what_is_due_goes_at_once_and_what_is_kept_stays() {
    let bench = Bench::new();
    let pool = bench.open();
    with_reaper(&pool, || {
        let kept = make_and_delete(&bench, &pool, kept("kept"));
        let due = make_and_delete(&bench, &pool, spec("due"));
        wait_for("the purge", || pool.registry().get(due.as_str()).is_none());
        assert_eq!(bench.names(".berth/trash"), [kept.as_str()]);
        assert_eq!(bench.names(&format!(".berth/trash/{kept}")), ["data"]);
        let mut soon = spec("soon");
        soon.attributes.trash_retention = Duration::from_secs(2);
        let soon = make_and_delete(&bench, &pool, soon);
        std::thread::sleep(Duration::from_millis(500));
        assert!(pool.registry().get(soon.as_str()).is_some());
        wait_for("the later purge", || pool.registry().get(soon.as_str()).is_none());
    });
    assert_eq!(pool.counts(), (0, 1));
    assert_consistent(&bench, &pool);
}

#[test]
fn a_purge_that_was_interrupted_goes_on_after_a_start() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(spec("a"), exactly(GIB)).unwrap().id.clone();
    for at in 0..200 {
        fs::create_dir_all(bench.path(format!("volumes/{id}/{at}/inner"))).unwrap();
    }
    pool.delete(id.as_str()).unwrap();
    let stopped = Stop::default();
    stopped.set();
    pool.purge(&id, &stopped).unwrap();
    assert_eq!(pool.counts(), (0, 1));
    assert!(!bench.names(&format!(".berth/trash/{id}")).is_empty());
    drop(pool);
    let pool = bench.open();
    assert_eq!(kind(pool.undelete(id.as_str())), Kind::Precondition);
    with_reaper(&pool, || wait_for("the purge", || pool.counts() == (0, 0)));
    assert_consistent(&bench, &pool);
}

#[test]
fn one_that_cannot_be_purged_waits_while_others_go() {
    let bench = Bench::new();
    let pool = bench.open();
    bench.backend.faults.fail_next("purge", Errno::EBUSY);
    for name in ["a", "b", "c", "d"] {
        make_and_delete(&bench, &pool, spec(name));
    }
    with_reaper(&pool, || {
        wait_for("the purge of the others", || pool.counts() == (0, 1));
        make_and_delete(&bench, &pool, spec("later"));
        wait_for("the purge of a later one", || bench.backend.faults.calls("purge") == 5);
        wait_for("its end", || pool.counts() == (0, 1));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(
            bench.backend.faults.calls("purge"),
            5,
            "the failed one was tried again at once"
        );
    });
    // A start tries everything again.
    drop(pool);
    let pool = bench.open();
    with_reaper(&pool, || wait_for("the purge", || pool.counts() == (0, 0)));
    assert_consistent(&bench, &pool);
}

/// The point of no return is durable before the first unlink.
#[test]
fn what_is_being_purged_cannot_come_back() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = make_and_delete(&bench, &pool, kept("a"));
    let gate = bench.backend.faults.hold_next("purge");
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| pool.purge(&id, &Stop::default()));
        gate.meet();
        assert_eq!(kind(pool.undelete(id.as_str())), Kind::Precondition);
        // No call has to wait for it: a new volume of the name gets an ID of its own.
        let new = pool.create(spec("a"), exactly(GIB)).unwrap();
        assert_ne!(new.id, id);
        pool.delete(id.as_str()).unwrap();
        assert_eq!(pool.create(spec("a"), exactly(GIB)).unwrap(), new);
        gate.meet();
        purging.join().unwrap().unwrap();
    });
    assert_eq!(pool.counts(), (1, 0));
    assert_ne!(pool.create(spec("a"), exactly(GIB)).unwrap().id, id);
    assert_consistent(&bench, &pool);
    drop(pool);
    assert_ne!(bench.open().create(spec("a"), exactly(GIB)).unwrap().id, id);
}

#[test]
fn what_came_back_is_not_purged() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = make_and_delete(&bench, &pool, kept("a"));
    bench.backend.set_usage(0);
    let gate = bench.backend.faults.hold_next("usage");
    std::thread::scope(|scope| {
        let undeleting = scope.spawn(|| pool.undelete(id.as_str()));
        gate.meet();
        // The reaper chose the volume just before: it is told to come again.
        assert_eq!(kind(pool.purge(&id, &Stop::default())), Kind::Busy);
        gate.meet();
        undeleting.join().unwrap().unwrap();
    });
    pool.purge(&id, &Stop::default()).unwrap();
    assert_eq!(bench.backend.faults.calls("purge"), 0);
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    assert_consistent(&bench, &pool);
}

#[test]
fn a_thousand_undeletes_against_the_reaper_leave_each_volume_whole_or_gone() {
    let bench = Bench::new();
    let pool = bench.open();
    bench.backend.set_usage(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bench, pool) = (&bench, &pool);
            scope.spawn(move || {
                for at in 0..10 {
                    let id = make_and_delete(bench, pool, kept(&format!("{thread} {at}")));
                    let purge = scope.spawn({
                        let id = id.clone();
                        move || pool.purge(&id, &Stop::default())
                    });
                    let back = pool.undelete(id.as_str());
                    let purged = purge.join().unwrap();
                    let there = pool.volume(id.as_str()).is_ok();
                    assert_eq!(back.is_ok(), there, "{back:?} {purged:?}");
                    if there {
                        assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
                    }
                }
            });
        }
    });
    for record in snapshot(&pool)
        .records
        .iter()
        .filter(|record| record.deletion.is_some())
    {
        pool.purge(&record.id, &Stop::default()).unwrap();
    }
    assert_consistent(&bench, &pool);
}
