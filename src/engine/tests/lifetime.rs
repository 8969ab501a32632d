//! A pool that is not there yet, goes away, comes back, or is another one.

use std::fs;

use super::*;

fn reason(engine: &Engine) -> &'static str {
    engine.storage_health().first().map_or("", |condition| condition.reason)
}

#[test]
fn the_engine_takes_a_pool_as_soon_as_there_is_one() {
    let bench = Bench::without_pool();
    let engine = bench.engine(false);
    assert_eq!(kind(engine.pool().map(drop)), Kind::Precondition);
    assert_eq!(reason(&engine), "PoolUnreadable");
    fs::create_dir(bench.pool_path()).unwrap();
    engine.look_after_pool();
    assert_eq!(reason(&engine), "PoolWrongDisk");
    assert_eq!(
        fs::read_dir(bench.pool_path()).unwrap().count(),
        0,
        "nothing is made uninvited"
    );
    store::init(&bench.pool_path()).unwrap();
    engine.look_after_pool();
    engine.pool().unwrap().create(spec("a"), exactly(GIB)).unwrap();
    assert_eq!(reason(&engine), "");
}

#[test]
fn a_new_pool_is_made_at_the_start_where_there_is_nothing() {
    let bench = Bench::without_pool();
    fs::create_dir(bench.pool_path()).unwrap();
    fs::write(bench.path("precious"), "bytes").unwrap();
    let engine = bench.engine(true);
    assert_eq!(reason(&engine), "PoolWrongDisk");
    fs::remove_file(bench.path("precious")).unwrap();
    engine.look_after_pool();
    assert!(engine.pool().is_err());
    assert!(names(&bench.pool_path()).is_empty());
    let uuid = bench.engine(true).pool().unwrap().uuid();
    assert_eq!(bench.engine(true).pool().unwrap().uuid(), uuid);
}

/// The directory beneath an unmounted disk is as empty as a new disk.
#[test]
fn no_new_pool_is_made_in_the_place_of_one_that_went_away() {
    let bench = Bench::without_pool();
    fs::create_dir(bench.pool_path()).unwrap();
    let engine = bench.engine(true);
    let pool = engine.pool().unwrap();
    let id = pool.create(spec("a"), exactly(GIB)).unwrap().id.clone();
    let away = bench.home.path().join("away");
    fs::rename(bench.pool_path(), &away).unwrap();
    fs::create_dir(bench.pool_path()).unwrap();
    // Whoever still holds the pool does nothing with it.
    assert_eq!(kind(pool.create(spec("b"), exactly(GIB))), Kind::Precondition);
    assert_eq!(kind(pool.delete(id.as_str())), Kind::Precondition);
    let (target, writer) = (bench.target("a"), capability(AccessMode::SingleNodeWriter));
    assert_eq!(kind(pool.stage(id.as_str(), &target, &writer)), Kind::Precondition);
    assert_eq!(kind(pool.undelete(id.as_str())), Kind::Precondition);
    assert_eq!(reason(&engine), "PoolWrongDisk");
    drop(pool);
    for _ in 0..3 {
        engine.look_after_pool();
        assert!(engine.pool().is_err());
        assert_eq!(reason(&engine), "PoolWrongDisk");
    }
    assert_eq!(fs::read_dir(bench.pool_path()).unwrap().count(), 0);
    fs::remove_dir(bench.pool_path()).unwrap();
    engine.look_after_pool();
    fs::rename(&away, bench.pool_path()).unwrap();
    engine.look_after_pool();
    engine.pool().unwrap().volume(id.as_str()).unwrap();
}

/// What the node and the cluster were told is the first pool's.
#[test]
fn a_running_engine_takes_no_other_pool_than_its_first() {
    let bench = Bench::new();
    let engine = bench.engine(true);
    let first = engine.pool().unwrap().uuid();
    engine.pool().unwrap().create(spec("a"), exactly(GIB)).unwrap();
    let away = bench.home.path().join("away");
    fs::rename(bench.pool_path(), &away).unwrap();
    fs::create_dir(bench.pool_path()).unwrap();
    let second = store::init(&bench.pool_path()).unwrap().uuid;
    fs::write(bench.path(".berth/staging/temporary"), "").unwrap();
    // Lets go of the first.
    engine.look_after_pool();
    for _ in 0..3 {
        engine.look_after_pool();
        let error = engine.pool().map(drop).unwrap_err();
        assert_eq!((reason(&engine), error.kind()), ("PoolWrongDisk", Kind::Precondition));
        for said in [first.to_string(), second.to_string(), "restart the agent".to_owned()] {
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
    assert_eq!(
        bench.names(".berth/staging"),
        ["temporary"],
        "the other pool was changed"
    );
    // The other one is free for an agent of its own.
    assert_eq!(bench.engine(false).pool().unwrap().uuid(), second);
    fs::rename(bench.pool_path(), bench.home.path().join("second")).unwrap();
    fs::rename(&away, bench.pool_path()).unwrap();
    engine.look_after_pool();
    let pool = engine.pool().unwrap();
    assert_eq!(pool.uuid(), first);
    pool.volume(id_of("a").as_str()).unwrap();
}

#[test]
fn each_trouble_with_the_pool_has_a_reason_of_its_own() {
    let bench = Bench::new();
    let held = bench.open();
    assert_eq!(reason(&bench.engine(false)), "PoolLocked");
    drop(held);
    let file = bench.path("berth.json");
    let good = fs::read_to_string(&file).unwrap();
    for (bytes, expected) in [
        ("{\"format\":9}", "PoolTooNew"),
        ("{\"format\":1", "PoolDamaged"),
        (&good.replace("created_at", "crated_at!"), "PoolDamaged"),
        (&good, ""),
    ] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(reason(&bench.engine(true)), expected);
    }
    fs::remove_file(&file).unwrap();
    // There is no pool file, but there is what a pool holds.
    fs::create_dir(bench.path("volumes/x")).unwrap();
    assert_eq!(reason(&bench.engine(true)), "PoolWrongDisk");
    assert!(!file.exists());
}

#[test]
fn a_pool_that_is_nearly_full_says_so() {
    let bench = Bench::new();
    let engine = bench.engine(false);
    bench.backend.set_space(DISK, 94 * GIB);
    assert_eq!(reason(&engine), "");
    bench.backend.set_space(DISK, 96 * GIB);
    assert_eq!(reason(&engine), "PoolNearlyFull");
}
