//! A failure at each step of each call: nothing is left behind, a new start knows the same, and
//! the next try succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::errno::Errno;

use super::*;
use crate::engine::background::Stop;
use crate::engine::pool::now;
use crate::faults::{Fault, Faults, When};

type Step = (&'static str, fn(&Bench, &Engine) -> Result<(), Error>);

/// A life of two volumes, with every call that changes something.
const LIFE: [Step; 12] = [
    ("create a", |_, engine| {
        engine.pool()?.create(kept("a"), exactly(GIB)).map(drop)
    }),
    ("create b", |_, engine| {
        engine.pool()?.create(spec("b"), exactly(GIB)).map(drop)
    }),
    ("stage", |bench, engine| {
        let writer = capability(AccessMode::SingleNodeWriter);
        engine
            .pool()?
            .stage(id_of("a").as_str(), &bench.target("staging"), &writer)
    }),
    ("publish", |bench, engine| {
        let single = capability(AccessMode::SingleNodeSingleWriter);
        let (staging, target) = (bench.target("staging"), bench.target("target"));
        engine
            .pool()?
            .publish(id_of("a").as_str(), &staging, &target, &single, true)
    }),
    ("stats", |bench, engine| {
        engine
            .pool()?
            .stats(id_of("a").as_str(), &bench.target("target"))
            .map(drop)
    }),
    ("unpublish", |bench, engine| {
        engine.unpublish(id_of("a").as_str(), &bench.target("target"))
    }),
    ("unstage", |bench, engine| {
        engine.unstage(id_of("a").as_str(), &bench.target("staging"))
    }),
    ("delete a", |_, engine| engine.pool()?.delete(id_of("a").as_str())),
    ("undelete a", |_, engine| {
        engine.pool()?.undelete(id_of("a").as_str()).map(drop)
    }),
    ("measure a", |_, engine| {
        engine.pool()?.measure_one(&id_of("a"), &Stop::default())
    }),
    ("delete b", |_, engine| engine.pool()?.delete(id_of("b").as_str())),
    ("purge b", |_, engine| {
        engine.pool()?.purge(&id_of("b"), &Stop::default())
    }),
];

const PORTS: [fn(&Bench) -> &Faults; 2] = [|bench| &bench.backend.faults, |bench| &bench.mounter.faults];

/// Lives through it, tries again what fails, and returns which steps failed and which calls of
/// either port they took.
fn live(bench: &Bench) -> (Vec<&'static str>, [BTreeMap<&'static str, usize>; 2]) {
    bench.backend.set_usage(0);
    let mut engine = bench.engine(false);
    let mut failed = Vec::new();
    for (name, step) in LIFE {
        if let Err(error) = step(bench, &engine) {
            failed.push(name);
            let pool = engine.pool().unwrap();
            assert_consistent(bench, &pool);
            let before = snapshot(&pool);
            drop((pool, engine));
            engine = bench.engine(false);
            assert_eq!(snapshot(&engine.pool().unwrap()), before, "{name} failed: {error}");
            step(bench, &engine).unwrap_or_else(|again| panic!("{name} failed: {error}; and again: {again}"));
        }
        assert!(bench.mounter.depth(bench.target("staging").path()) <= 1);
        assert!(bench.mounter.depth(bench.target("target").path()) <= 1);
    }
    let calls = PORTS.map(|port| port(bench).all_calls());
    let pool = engine.pool().unwrap();
    assert_consistent(bench, &pool);
    assert_eq!(pool.counts(), (1, 0));
    assert_eq!(pool.available().unwrap(), DISK - GIB);
    assert!(!bench.mounter.exists(bench.target("target").path()));
    (failed, calls)
}

#[test]
fn a_failure_at_any_step_of_any_call_converges() {
    let (failed, calls) = live(&Bench::new());
    assert!(failed.is_empty());
    let mut hit = BTreeSet::new();
    for (port, calls) in PORTS.into_iter().zip(calls) {
        for (operation, count) in calls {
            for (nth, when) in (1..=count).flat_map(|nth| [(nth, When::Before), (nth, When::After)]) {
                let bench = Bench::new();
                let errno = Errno::EIO;
                let fault = Fault {
                    operation,
                    nth,
                    when,
                    errno,
                };
                port(&bench).order(fault);
                let (failed, _) = live(&bench);
                assert!(port(&bench).calls(operation) >= nth, "{fault:?} was not met");
                // Taking a volume off its target works without its data.
                let survived = failed.is_empty() && operation == "open";
                assert!(failed.len() == 1 || survived, "{fault:?}: {failed:?}");
                hit.extend(failed);
            }
        }
    }
    // Every call that touches a port was made to fail at least once.
    assert_eq!(hit.len(), LIFE.len(), "{hit:?}");
}

/// Does what fails as long as there are directories in the places of `obstacles`, and then works.
fn blocked(bench: &Bench, pool: &Pool, obstacles: &[PathBuf], call: &dyn Fn() -> Result<(), Error>) {
    let before = snapshot(pool);
    for obstacle in obstacles {
        fs::create_dir(obstacle).unwrap();
    }
    assert!(call().is_err());
    for obstacle in obstacles {
        fs::remove_dir(obstacle).unwrap();
    }
    assert_eq!(snapshot(pool), before);
    assert_consistent(bench, pool);
    call().unwrap();
    assert_consistent(bench, pool);
}

/// Obstacles on the disk itself, for the steps that the store takes.
#[test]
fn a_record_that_cannot_be_written_leaves_everything_as_it_was() {
    let bench = Bench::new();
    let pool = bench.open();
    bench.backend.set_usage(0);
    let id = id_of("a");
    let record = |state: &str| bench.path(format!(".berth/records/{id}.{state}"));
    let create = |name: &str| pool.create(kept(name), exactly(GIB)).map(drop);
    let temporary = bench.path(format!(".berth/staging/{id}.json"));
    blocked(&bench, &pool, &[temporary], &|| create("a"));
    let other = bench.record_path(&id_of("b"));
    blocked(&bench, &pool, &[other], &|| create("b"));
    // Every name that a tombstone made in the next minute can get.
    let untils = now() + HOUR.as_secs()..now() + HOUR.as_secs() + 60;
    let tombstones: Vec<_> = untils.map(|until| record(&format!("deleted.{until}"))).collect();
    blocked(&bench, &pool, &tombstones, &|| pool.delete(id.as_str()));
    blocked(&bench, &pool, &[record("json")], &|| {
        pool.undelete(id.as_str()).map(drop)
    });
    pool.delete(id.as_str()).unwrap();
    blocked(&bench, &pool, &[record("purging")], &|| {
        pool.purge(&id, &Stop::default())
    });
    assert_eq!(pool.counts(), (1, 0));
}

#[test]
fn data_that_cannot_be_moved_is_moved_by_the_next_try() {
    let bench = Bench::new();
    let pool = bench.open();
    bench.backend.set_usage(0);
    let id = id_of("a");
    pool.create(kept("a"), exactly(GIB)).unwrap();
    bench.write(&id);
    let in_trash = bench.path(format!(".berth/trash/{id}"));
    fs::create_dir_all(in_trash.join("in the way")).unwrap();
    // The tombstone is durable: it is deleted, though the data is not where it belongs yet.
    assert_eq!(kind(pool.delete(id.as_str())), Kind::Precondition);
    assert_eq!(kind(pool.volume(id.as_str())), Kind::NotFound);
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    fs::remove_dir_all(&in_trash).unwrap();
    pool.delete(id.as_str()).unwrap();
    assert_eq!(bench.names(&format!(".berth/trash/{id}")), ["data"]);
    assert_consistent(&bench, &pool);

    let in_volumes = bench.path(format!("volumes/{id}"));
    fs::create_dir_all(in_volumes.join("in the way")).unwrap();
    assert_eq!(kind(pool.undelete(id.as_str())), Kind::Precondition);
    assert_eq!(pool.counts(), (0, 1));
    assert_eq!(bench.names(&format!(".berth/trash/{id}")), ["data"]);
    fs::remove_dir_all(&in_volumes).unwrap();
    pool.undelete(id.as_str()).unwrap();
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    assert_consistent(&bench, &pool);
}
