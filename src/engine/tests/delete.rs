//! Deleting and bringing back: what was answered holds, and nothing else goes.

use std::fs;

use nix::errno::Errno;

use super::*;
use crate::engine::pool::now;
use crate::volume::{Claim, Deletion};

#[test]
fn what_does_not_exist_is_deleted_already() {
    let bench = Bench::new();
    let pool = bench.open();
    for id in [
        "",
        "..",
        "../../etc",
        "UPPER",
        "unknown",
        "a/b",
        "a\0",
        &"x".repeat(5000),
        id_of("a").as_str(),
    ] {
        pool.delete(id).unwrap_or_else(|error| panic!("{id:?}: {error}"));
    }
    pool.create(spec("a"), exactly(GIB)).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    assert_consistent(&bench, &pool);
}

#[test]
fn a_deleted_volume_is_gone_for_everybody_and_its_data_is_in_the_trash() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(kept("a"), exactly(GIB)).unwrap().id.clone();
    bench.write(&id);
    pool.delete(id.as_str()).unwrap();
    assert_eq!(kind(pool.volume(id.as_str())), Kind::NotFound);
    assert!(pool.page(None, 10).0.is_empty());
    let (target, writer) = (bench.target("a"), capability(AccessMode::SingleNodeWriter));
    assert_eq!(kind(pool.stage(id.as_str(), &target, &writer)), Kind::NotFound);
    assert_eq!(bench.names(&format!(".berth/trash/{id}")), ["data"]);
    assert_consistent(&bench, &pool);
    let before = snapshot(&pool);
    drop(pool);
    assert_eq!(snapshot(&bench.open()), before);
}

#[test]
fn a_mounted_volume_is_not_deleted() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(spec("a"), exactly(GIB)).unwrap().id.clone();
    let target = bench.target("a");
    pool.stage(id.as_str(), &target, &capability(AccessMode::SingleNodeWriter))
        .unwrap();
    let before = snapshot(&pool);
    let error = pool.delete(id.as_str()).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("/kubelet/pods/a"), "{error}");
    // Not to know whether it is mounted is no reason to delete it.
    bench.mounter.faults.fail_next("mounts_of", Errno::EIO);
    assert_eq!(kind(pool.delete(id.as_str())), Kind::Internal);
    bench.backend.faults.fail_next("open", Errno::EXDEV);
    assert_eq!(kind(pool.delete(id.as_str())), Kind::Precondition);
    assert_eq!(snapshot(&pool), before);
    assert_consistent(&bench, &pool);
}

#[test]
fn a_volume_whose_directory_is_gone_can_be_deleted() {
    let bench = Bench::new();
    let pool = bench.open();
    let id = pool.create(kept("a"), exactly(GIB)).unwrap().id.clone();
    fs::remove_dir(bench.path("volumes").join(id.as_str())).unwrap();
    pool.delete(id.as_str()).unwrap();
    assert_eq!(pool.counts(), (0, 1));
}

#[test]
fn undelete_brings_back_the_same_volume_with_its_data() {
    let bench = Bench::new();
    let pool = bench.open();
    let made = pool.create(kept("a"), exactly(GIB)).unwrap();
    bench.write(&made.id);
    let before = snapshot(&pool);
    pool.delete(made.id.as_str()).unwrap();
    bench.backend.set_usage(0);
    assert_eq!(pool.undelete(made.id.as_str()).unwrap(), made);
    assert_eq!(snapshot(&pool), before);
    assert_eq!(bench.names(&format!("volumes/{}", made.id)), ["data"]);
    assert_eq!(pool.create(kept("a"), exactly(GIB)).unwrap(), made);
    assert_consistent(&bench, &pool);
    drop(pool);
    assert_eq!(snapshot(&bench.open()), before);
}

#[test]
fn only_what_is_in_the_trash_and_may_stay_there_comes_back() {
    let bench = Bench::new();
    let pool = bench.open();
    assert_eq!(kind(pool.undelete("unknown")), Kind::NotFound);
    assert_eq!(kind(pool.undelete("../x")), Kind::NotFound);
    pool.create(kept("a"), exactly(GIB)).unwrap();
    assert_eq!(kind(pool.undelete(id_of("a").as_str())), Kind::Precondition);
    pool.create(spec("gone at once"), exactly(GIB)).unwrap();
    pool.delete(id_of("gone at once").as_str()).unwrap();
    assert_eq!(kind(pool.undelete(id_of("gone at once").as_str())), Kind::Precondition);
    // A name that has a new volume has no place for the old one.
    pool.delete(id_of("a").as_str()).unwrap();
    let second = pool.create(kept("a"), exactly(GIB)).unwrap();
    assert_ne!(second.id, id_of("a"));
    assert_eq!(kind(pool.undelete(id_of("a").as_str())), Kind::Conflict);
    pool.delete(second.id.as_str()).unwrap();
    pool.undelete(id_of("a").as_str()).unwrap();
    assert_eq!(kind(pool.undelete(second.id.as_str())), Kind::Conflict);
    assert_consistent(&bench, &pool);
}

#[test]
fn a_name_finds_its_volume_of_a_second_id_also_after_a_start() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(GIB)).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    let second = pool.create(kept("a"), exactly(GIB)).unwrap();
    drop(pool);
    let pool = bench.open();
    assert_eq!(*pool.create(kept("a"), exactly(GIB)).unwrap(), *second);
    assert_eq!(kind(pool.create(kept("a"), exactly(2 * GIB))), Kind::Conflict);
    assert_eq!(pool.counts(), (1, 1));
}

/// Both want to be the volume of the name: one of them must wait for the other.
#[test]
fn undelete_and_create_of_one_name_do_not_both_succeed() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(GIB)).unwrap();
    pool.delete(id_of("a").as_str()).unwrap();
    let second = pool.create(kept("a"), exactly(GIB)).unwrap();
    pool.delete(second.id.as_str()).unwrap();
    let gate = bench.backend.faults.hold_next("usage");
    std::thread::scope(|scope| {
        let undeleting = scope.spawn(|| pool.undelete(second.id.as_str()));
        gate.meet();
        // It walks through the volume, which may be a large one: no sign that the disk hangs.
        assert!(pool.keys.oldest().is_none());
        assert_eq!(kind(pool.create(kept("a"), exactly(GIB))), Kind::Busy);
        assert_eq!(kind(pool.undelete(id_of("a").as_str())), Kind::Busy);
        gate.meet();
        undeleting.join().unwrap().unwrap();
    });
    assert_eq!(*pool.create(kept("a"), exactly(GIB)).unwrap(), *second);
    assert_eq!(pool.counts(), (1, 1));
    assert_consistent(&bench, &pool);
}

#[test]
fn retention_runs_from_the_deletion() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(kept("a"), exactly(GIB)).unwrap();
    let mut forever = spec("b");
    forever.attributes.trash_retention = Duration::from_secs(u64::MAX);
    pool.create(forever, exactly(GIB)).unwrap();
    pool.create(spec("c"), exactly(GIB)).unwrap();
    let deleted = |name: &str| {
        pool.delete(id_of(name).as_str()).unwrap();
        pool.registry().get(id_of(name).as_str()).unwrap().deletion
    };
    let earliest = now() + HOUR.as_secs();
    let Some(Deletion::Kept { until }) = deleted("a") else {
        panic!("it is not kept");
    };
    assert!((earliest..=now() + HOUR.as_secs()).contains(&until));
    assert_eq!(deleted("b"), Some(Deletion::Kept { until: u64::MAX }));
    assert_eq!(deleted("c"), Some(Deletion::Purging));
    // What is kept as long as that can be read again.
    let before = snapshot(&pool);
    drop(pool);
    assert_eq!(snapshot(&bench.open()), before);
}

#[test]
fn the_link_of_a_claim_comes_and_goes_with_its_volume() {
    let bench = Bench::new();
    let pool = bench.open();
    let claimed = |name: &str| VolumeSpec {
        claim: Some(Claim::parse("default", "data-0").unwrap()),
        ..kept(name)
    };
    let link = bench.path("by-claim/default/data-0");
    let target = |id: &VolumeId| PathBuf::from(format!("../../volumes/{id}"));
    let old = pool.create(claimed("old"), exactly(GIB)).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&old.id));
    let new = pool.create(claimed("new"), exactly(GIB)).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&new.id));
    pool.delete(old.id.as_str()).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&new.id));
    pool.delete(new.id.as_str()).unwrap();
    assert!(bench.names("by-claim").is_empty());
    pool.undelete(new.id.as_str()).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&new.id));
    assert_consistent(&bench, &pool);
}

#[test]
fn who_looks_while_a_volume_is_deleted_does_not_miss_its_data() {
    let bench = Bench::new();
    let engine = Arc::new(bench.engine(false));
    let pool = engine.pool().unwrap();
    let look = |name: &str, look: &dyn Fn(&str)| {
        let id = pool.create(spec(name), exactly(GIB)).unwrap().id.clone();
        let deleted = id.clone();
        let pool = pool.clone();
        bench.backend.meanwhile(move || pool.delete(deleted.as_str()).unwrap());
        look(id.as_str());
    };
    look("a", &|id| {
        let error = pool.stats(id, &bench.target("a")).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    });
    look("b", &|id| assert!(engine.volume_health(id).unwrap().is_empty()));
    look("c", &|_| assert!(engine.unhealthy_volumes().unwrap().is_empty()));
}
