//! A walk through a large volume keeps neither the pool from being taken up again nor the agent from ending.

use std::fs;
use std::thread;
use std::time::Instant;

use super::*;
use crate::engine::background::Background;

/// How long a walk takes that nobody ends.
const WALK: Duration = Duration::from_secs(40);
/// How long it may take to notice anything: the watcher looks every two seconds.
const SOON: Duration = Duration::from_secs(15);

fn eventually(what: &str, done: impl Fn() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < SOON, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A disk that is unmounted lazily and mounted again: descriptors of before still work.
struct Away<'a>(&'a Bench);

impl<'a> Away<'a> {
    fn take(bench: &'a Bench) -> Self {
        fs::rename(bench.pool_path(), bench.home.path().join("away")).unwrap();
        Self(bench)
    }

    fn bring_back(self) {
        fs::rename(self.0.home.path().join("away"), self.0.pool_path()).unwrap();
    }
}

/// An engine with one volume, at which its thread that measures has begun a long walk.
fn measuring(bench: &Bench) -> (Arc<Engine>, Background) {
    bench.backend.set_walk(WALK);
    let engine = Arc::new(bench.engine(false));
    engine.pool().unwrap().create(spec("a"), exactly(GIB)).unwrap();
    let background = Background::start(engine.clone()).unwrap();
    eventually("a measurement begins", || bench.backend.faults.calls("usage") == 1);
    (engine, background)
}

#[test]
fn a_disk_that_comes_back_is_taken_up_in_the_middle_of_a_measurement() {
    let bench = Bench::new();
    let (engine, _background) = measuring(&bench);
    let away = Away::take(&bench);
    eventually("the pool is let go of", || engine.pool().is_err());
    away.bring_back();
    eventually("the pool is taken up", || engine.pool().is_ok());
    // Its own thread goes on where the other was.
    eventually("a measurement begins", || bench.backend.faults.calls("usage") == 2);
}

#[test]
fn a_measurement_does_not_hold_up_the_end() {
    let bench = Bench::new();
    bench.backend.set_space(DISK, GIB);
    bench.backend.set_usage(GIB);
    let (engine, background) = measuring(&bench);
    let before = engine.pool().unwrap().available().unwrap();
    let since = Instant::now();
    drop(background);
    assert!(since.elapsed() < SOON, "it took {:?}", since.elapsed());
    // Nothing is known of what was not measured to its end.
    assert_eq!(engine.pool().unwrap().available().unwrap(), before);
}

#[test]
fn undelete_lets_go_of_a_pool_whose_disk_went_away_and_changes_nothing() {
    let bench = Bench::new();
    let engine = bench.engine(false);
    let pool = engine.pool().unwrap();
    let id = pool.create(kept("a"), exactly(GIB)).unwrap().id.clone();
    bench.write(&id);
    pool.delete(id.as_str()).unwrap();
    let (before, on_disk) = (snapshot(&pool), bench.on_disk());
    let gate = bench.backend.faults.hold_next("usage");
    let undeleted = id.clone();
    let call = thread::spawn(move || pool.undelete(undeleted.as_str()).map(drop));
    gate.meet();
    let away = Away::take(&bench);
    engine.look_after_pool();
    away.bring_back();
    gate.meet();
    let error = call.join().unwrap().expect_err("refused");
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(bench.on_disk(), on_disk);
    // Nobody holds its lock any more.
    engine.look_after_pool();
    let pool = engine.pool().unwrap();
    assert_eq!(snapshot(&pool), before);
    pool.undelete(id.as_str()).unwrap();
    assert_consistent(&bench, &pool);
}

#[test]
fn undelete_looks_at_the_end_of_its_walk_whether_the_disk_is_still_there() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(kept("a"), exactly(GIB)).unwrap().id.clone();
    bench.write(&id);
    pool.delete(id.as_str()).unwrap();
    let (before, on_disk) = (snapshot(&pool), bench.on_disk());
    let gate = bench.backend.faults.hold_next("usage");
    thread::scope(|scope| {
        let call = scope.spawn(|| pool.undelete(id.as_str()).map(drop));
        gate.meet();
        let away = Away::take(&bench);
        gate.meet();
        let error = call.join().unwrap().expect_err("refused");
        assert!(
            matches!(error, Error::Store(store::Error::Replaced { .. })),
            "it failed for another reason: {error}"
        );
        away.bring_back();
    });
    assert_eq!(bench.on_disk(), on_disk);
    assert_eq!(snapshot(&pool), before);
    pool.undelete(id.as_str()).unwrap();
    assert_consistent(&bench, &pool);
}

#[test]
fn an_overview_lets_go_of_a_pool_whose_disk_went_away() {
    let bench = Bench::new();
    let engine = bench.engine(false);
    let pool = engine.pool().unwrap();
    for name in ["a", "b", "c"] {
        pool.create(spec(name), exactly(GIB)).unwrap();
    }
    assert!(pool.overview(true).iter().all(|volume| volume.usage.is_some()));
    let gate = bench.backend.faults.hold_next("usage");
    let call = thread::spawn(move || pool.overview(true));
    gate.meet();
    let away = Away::take(&bench);
    engine.look_after_pool();
    away.bring_back();
    gate.meet();
    let overview = call.join().unwrap();
    assert_eq!(overview.len(), 3);
    assert!(overview.iter().all(|volume| volume.present && volume.usage.is_none()));
    engine.look_after_pool();
    assert!(engine.pool().unwrap().overview(true)[0].usage.is_some());
}
