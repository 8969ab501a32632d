//! A record that cannot be trusted: its volume is there, and nobody touches it.

use std::fs;

use super::*;
use crate::engine::Stray;

/// Makes the volume of a record useless and returns the bytes that must stay as they are.
fn tear(bench: &Bench, id: &VolumeId) -> Vec<u8> {
    let path = bench.record_path(id);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&path, &bytes).unwrap();
    bytes
}

#[test]
fn a_torn_record_is_refused_and_untouched_and_the_rest_is_served() {
    let bench = Bench::new();
    let pool = bench.open();
    for name in ["a", "b"] {
        bench.write(&pool.create(spec(name), exactly(GIB)).unwrap().id);
    }
    drop(pool);
    let id = id_of("a");
    let torn = tear(&bench, &id);
    let pool = bench.open();
    let (target, writer) = (bench.target("a"), capability(AccessMode::SingleNodeWriter));
    assert_eq!(kind(pool.create(spec("a"), exactly(GIB))), Kind::Precondition);
    assert_eq!(kind(pool.volume(id.as_str())), Kind::Precondition);
    assert_eq!(kind(pool.delete(id.as_str())), Kind::Precondition);
    assert_eq!(kind(pool.undelete(id.as_str())), Kind::Precondition);
    assert_eq!(kind(pool.stage(id.as_str(), &target, &writer)), Kind::Precondition);
    assert_eq!(
        kind(pool.publish(id.as_str(), &target, &target, &writer, false)),
        Kind::Precondition
    );
    assert_eq!(kind(pool.stats(id.as_str(), &target)), Kind::Precondition);
    assert_eq!(pool.page(None, 10).0.len(), 1);
    assert_eq!((pool.quarantined_count(), pool.orphan_count()), (1, 0));
    let (found, _) = pool.quarantined().next().unwrap();
    assert_eq!(*found, id);
    assert_eq!(fs::read(bench.record_path(&id)).unwrap(), torn);
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    // The other volume lives on.
    pool.stage(id_of("b").as_str(), &target, &writer).unwrap();
    assert_eq!(bench.names(&format!("volumes/{}", id_of("b"))), ["data"]);
}

/// A volume of a name may have another ID than the first, and that ID is free to nobody either.
#[test]
fn a_torn_record_of_a_second_id_is_not_written_over() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(GIB)).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    let second = pool.create(spec("a"), exactly(GIB)).unwrap().id.clone();
    drop(pool);
    let torn = tear(&bench, &second);
    let pool = bench.open();
    assert_eq!(kind(pool.create(spec("a"), exactly(GIB))), Kind::Precondition);
    assert_eq!(fs::read(bench.record_path(&second)).unwrap(), torn);
    assert_eq!(bench.names("volumes"), [second.as_str()]);
    // Nor is the name free when the trash has given up what had the first ID.
    pool.registry().remove(&id_of("a"));
    assert_eq!(kind(pool.create(spec("a"), exactly(GIB))), Kind::Precondition);
    assert_eq!(kind(pool.undelete(second.as_str())), Kind::Precondition);
    assert_eq!(pool.committed_bytes(), 0);
}

#[test]
fn a_volume_is_found_by_its_name_though_an_earlier_one_is_quarantined() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(GIB)).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    let second = pool.create(spec("a"), exactly(GIB)).unwrap();
    let tombstone = record_name(&pool.registry().get(id_of("a").as_str()).unwrap());
    drop(pool);
    fs::write(bench.path(".berth/records").join(tombstone), "{").unwrap();
    let pool = bench.open();
    assert_eq!(pool.quarantined_count(), 1);
    assert_eq!(*pool.create(spec("a"), exactly(GIB)).unwrap(), *second);
    pool.delete(second.id.as_str()).unwrap();
    assert_eq!(kind(pool.create(spec("a"), exactly(GIB))), Kind::Precondition);
    assert_eq!(bench.names(".berth/trash").len(), 2);
}

#[test]
fn a_record_that_speaks_of_another_volume_is_not_believed() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    drop(pool);
    fs::copy(bench.record_path(&id_of("a")), bench.record_path(&id_of("b"))).unwrap();
    let pool = bench.open();
    assert_eq!(kind(pool.volume(id_of("b").as_str())), Kind::Precondition);
    assert!(pool.volume(id_of("a").as_str()).is_ok());
    let (_, found) = pool.quarantined().next().unwrap();
    assert!(found.problem.contains(id_of("a").as_str()), "{}", found.problem);
}

#[test]
fn files_among_the_records_that_are_none_are_reported_and_left() {
    let bench = Bench::new();
    let unknown = ["README", "a.json.bak", ".json", "UPPER.json", "-.json"];
    for name in unknown {
        fs::write(bench.path(".berth/records").join(name), "text").unwrap();
    }
    let pool = bench.open();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    assert_eq!(pool.quarantined_count(), unknown.len());
    assert!(
        pool.strays()
            .iter()
            .all(|stray| matches!(stray, Stray::Record(found) if found.id.is_none()))
    );
    for name in unknown {
        assert_eq!(
            fs::read_to_string(bench.path(".berth/records").join(name)).unwrap(),
            "text"
        );
    }
}

#[test]
fn a_quarantined_volume_can_be_taken_off_its_targets() {
    let bench = Bench::new();
    let engine = bench.engine(false);
    let id = id_of("a");
    let (staging, target) = (bench.target("staging"), bench.target("target"));
    let writer = capability(AccessMode::SingleNodeWriter);
    let pool = engine.pool().unwrap();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    pool.stage(id.as_str(), &staging, &writer).unwrap();
    pool.publish(id.as_str(), &staging, &target, &writer, false).unwrap();
    drop((pool, engine));
    tear(&bench, &id);
    let engine = bench.engine(false);
    assert_eq!(kind(engine.unpublish(id_of("b").as_str(), &target)), Kind::Precondition);
    engine.unpublish(id.as_str(), &target).unwrap();
    engine.unstage(id.as_str(), &staging).unwrap();
    assert_eq!(bench.mounter.depth(staging.path()), 0);
}

#[test]
fn health_names_the_record_and_what_to_do() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    pool.create(spec("b"), exactly(GIB)).unwrap();
    pool.create(spec("c"), exactly(GIB)).unwrap();
    drop(pool);
    tear(&bench, &id_of("a"));
    fs::remove_dir(bench.path("volumes").join(id_of("b").as_str())).unwrap();
    let engine = bench.engine(false);
    let reasons = |name: &str| -> Vec<_> {
        let found = engine.volume_health(id_of(name).as_str()).unwrap();
        found.iter().map(|condition| condition.reason).collect()
    };
    assert_eq!(reasons("a"), ["RecordQuarantined"]);
    assert_eq!(reasons("b"), ["DirectoryMissing"]);
    assert!(reasons("c").is_empty());
    assert_eq!(kind(engine.volume_health("unknown")), Kind::NotFound);
    let sick: Vec<_> = engine.unhealthy_volumes().unwrap().into_keys().collect();
    let mut expected = [id_of("a").to_string(), id_of("b").to_string()];
    expected.sort();
    assert_eq!(sick, expected);
    assert!(engine.storage_health().is_empty());
    assert_eq!(engine.diagnose().len(), 2);
}
